"""Reading ahead: the shards of the present window of the order, then those of the next, in the background."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pcclip.data.index import ShardIndex
from pcclip.data.remote.index import RemoteIndex
from pcclip.errors import PcclipError

if TYPE_CHECKING:
    from pcclip.data.stream import GlobalOrder

_log = logging.getLogger(__name__)


class ReadAhead:
    """Fetches what the order will need, in a few threads of each process that reads from it.

    Processes share the work: what another one fetches already is left to it. An error is left to the read
    that will meet it again.

    Args:
        indexes: Of all shards of the order; those on this machine are left alone.
        order: Of the records.
        room: Bytes that the present window and what is read ahead may take of the cache.
        repeats: Whether another epoch follows.
    """

    def __init__(
        self, indexes: Sequence[ShardIndex], order: GlobalOrder, room: int, repeats: bool = True
    ) -> None:
        self._indexes = indexes
        self._order = order
        self._room = room
        self._repeats = repeats
        self._reset()

    def _reset(self) -> None:
        self._at: tuple[int, int] | None = None
        self._process: int | None = None
        self._wanted: deque[RemoteIndex] = deque()
        self._news = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []

    def enter(self, epoch: int, position: int) -> None:
        """Called before every batch with its first position in the epoch's order."""
        if self._process != os.getpid():  # made here, or forked: threads do not come along
            self._reset()
            self._process = os.getpid()
        window = self._order.window(epoch, position)
        if (epoch, window) == self._at:
            return
        self._at = epoch, window
        wanted = self._plan(epoch, window)
        if wanted and not self._threads:
            self._start(wanted[0].path.options.downloads)
        for index in wanted:
            index.touch()
        self._wanted.clear()
        self._wanted.extend(wanted)
        for _ in wanted:
            self._news.release()

    def _plan(self, epoch: int, window: int) -> list[RemoteIndex]:
        after = (epoch, window + 1)
        if window + 1 >= self._order.windows:
            after = (epoch + 1, 0)
        shards = self._order.window_shards(epoch, window)
        if after[0] == epoch or self._repeats:
            shards = shards + [s for s in self._order.window_shards(*after) if s not in shards]
        plan, room = [], self._room
        for shard in shards:
            index = self._indexes[shard]
            if not isinstance(index, RemoteIndex):
                continue
            room -= index.path.bytes
            if room < 0:
                break
            plan.append(index)
        return plan

    def _start(self, count: int) -> None:
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        while True:
            self._news.acquire()
            try:
                index = self._wanted.popleft()
            except IndexError:
                continue  # the window went on meanwhile
            try:
                index.fetch(wait=False)
            except Exception as error:  # the read that needs it meets it again, and raises it
                _log.debug("reading ahead: %s", error)

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in ("_indexes", "_order", "_room", "_repeats")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()


def room_for(streams: Sequence[tuple[str, Sequence[ShardIndex], int]]) -> int:
    """Bytes of the cache for the window and the read-ahead of each stream.

    Args:
        streams: For each: what it is, in errors; its shards; how many of them make a window.

    Raises:
        PcclipError: The windows do not fit into the cache; says the numbers.
    """
    needs = []
    for what, indexes, width in streams:
        remote = [index for index in indexes if isinstance(index, RemoteIndex)]
        largest = sorted((index.path.bytes for index in remote), reverse=True)[:width]
        if largest:
            needs.append((what, len(largest), sum(largest), remote[0].cache))
    if not needs:
        return 0
    needed, cache = sum(need for _, _, need, _ in needs), needs[0][3]
    if needed > cache.limit:
        listed = "; ".join(f"{what}: {count} shards, {need / 1e9:,.3f} GB" for what, count, need, _ in needs)
        raise PcclipError(
            f"the cache of fetched shards {cache.folder} may hold {cache.limit / 1e9:,.3f} GB, but the "
            f"shards whose records are mixed at a time have {needed / 1e9:,.3f} GB ({listed}). Raise "
            "data.remote.cache_gb (twice that lets the next ones come while these are read), or lower "
            "data.shuffle_shards."
        )
    return min(need + (cache.limit - needed) // len(needs) for _, _, need, _ in needs)


def ahead_in_order(indexes: Sequence[ShardIndex], sizes: Sequence[int]) -> ReadAhead | None:
    """For one pass over all shards in order; None where none is at a URL.

    Args:
        indexes: Of the shards.
        sizes: Records that are read of each.
    """
    from pcclip.data.stream import GlobalOrder

    room = room_for([("shards", indexes, 1)])
    if not room:
        return None
    return ReadAhead(indexes, GlobalOrder(sizes, shuffle=False, shuffle_shards=4), room, repeats=False)
