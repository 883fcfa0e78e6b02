"""The index of a shard at a URL: fetches it when a record is read."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from pcclip.data.index import ShardIndex, layout_arrays, read_at, read_sidecar, sidecar_path
from pcclip.data.layout import Layout
from pcclip.data.progress import progress_bar
from pcclip.data.records import ShardError
from pcclip.data.remote.cache import ShardCache
from pcclip.data.remote.shard import RemoteShard

_KEPT = 64
_TOUCH_S = 1.0


class RemoteIndex(ShardIndex):
    """As `ShardIndex`, of a shard that is fetched when it is needed; pickles as what `set.json` says of it.

    Args:
        path: The shard.
        cache_dir: Of its index; the cache's folder if None.
    """

    path: RemoteShard

    def __init__(self, path: RemoteShard, cache_dir: Path | None = None) -> None:
        self.path = path
        self.stamp = (path.bytes, 0)
        self.cache = ShardCache(path.options.folder, path.options.limit)
        self.file = self.cache.path(path)
        self._cache_dir = cache_dir
        self._sidecar = sidecar_path(path, cache_dir, "index.npz")

    def __len__(self) -> int:
        return len(self.layout) if self.path.records is None else self.path.records

    @property
    def layout(self) -> Layout:
        """Keys and places; the first use may fetch the shard."""
        return _layouts.get(self)

    def fetch(self, wait: bool = True) -> Path | None:
        """Brings the shard into the cache, and its index; None where others fetch it and `wait` is false."""
        return self.cache.fetch(self.path, self._index, wait)

    def touch(self) -> None:
        """Says that it will be read soon: what was read last is evicted before it."""
        with contextlib.suppress(FileNotFoundError):
            os.utime(self.file, ns=(time.time_ns(), self.file.stat().st_mtime_ns))

    def _index(self, file: Path) -> None:
        records = len(Layout(layout_arrays(file, self.path, self.stamp, self._sidecar)))
        if self.path.records not in (None, records):
            raise ShardError(
                f"{self.path}: holds {records} records, but set.json lists {self.path.records}. Write the set"
                " again."
            )

    def is_indexed(self) -> bool:
        """Whether its index is there."""
        return read_sidecar(self._sidecar, self.stamp) is not None

    def read_layout(self) -> Layout:
        """From the sidecar, else from the shard."""
        while True:
            if (arrays := read_sidecar(self._sidecar, self.stamp)) is not None:
                return Layout(arrays)
            if (file := _files.open(self)).lock():  # against eviction while it is scanned
                try:
                    return Layout(layout_arrays(file.path, self.path, self.stamp, self._sidecar))
                finally:
                    file.unlock()
            _files.forget(file)

    def _pread(self, size: int, offset: int) -> bytes:
        while True:
            file = _files.open(self)
            if file.lock():
                try:
                    data = read_at(file.descriptor, size, offset)
                finally:
                    file.unlock()
                if len(data) == size:
                    return data
                raise ShardError(
                    f"{file.path}: is not the file that was fetched from {self.path}. Delete it; only pcclip "
                    "may write into its cache."
                )
            _files.forget(file)

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteIndex, (self.path, self._cache_dir)


class _File:
    """An open shard of the cache. Other processes may evict it whenever it is not locked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._turn = threading.Lock()
        self._touched = 0.0

    def lock(self) -> bool:
        """Keeps it from eviction; False where it has been evicted."""
        self._turn.acquire()
        fcntl.flock(self.descriptor, fcntl.LOCK_SH)
        if os.fstat(self.descriptor).st_nlink == 0:
            self.unlock()
            return False
        if (
            now := time.monotonic()
        ) - self._touched > _TOUCH_S:  # the least recently used one is evicted first
            self._touched = now
            os.utime(self.path, ns=(time.time_ns(), os.fstat(self.descriptor).st_mtime_ns))
        return True

    def unlock(self) -> None:
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        self._turn.release()

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


class _Files:
    """The open shards of this process; a forked one opens its own, because a lock belongs to both copies."""

    def __init__(self) -> None:
        self._open: OrderedDict[Path, _File] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, index: RemoteIndex) -> _File:
        path = index.file
        with self._lock:
            if path in self._open:
                self._open.move_to_end(path)
                return self._open[path]
        while True:
            index.fetch()
            try:
                file = _File(path)
                break
            except FileNotFoundError:
                continue  # evicted since
        with self._lock:
            self._open[path] = file
            while len(self._open) > _KEPT:
                self._open.popitem(last=False)
        return file

    def forget(self, file: _File) -> None:
        with self._lock:
            if self._open.get(file.path) is file:
                del self._open[file.path]


class _Layouts:
    """Layouts of the shards that were read last."""

    def __init__(self) -> None:
        self._known: OrderedDict[Path, Layout] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, index: RemoteIndex) -> Layout:
        key = index.file
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        layout = index.read_layout()
        with self._lock:
            self._known[key] = layout
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return layout


_files = _Files()
_layouts = _Layouts()


def _forked() -> None:
    global _files, _layouts
    _files, _layouts = _Files(), _Layouts()


os.register_at_fork(after_in_child=_forked)


def index_all(indexes: Sequence[ShardIndex], known_too: bool = False, progress: bool = True) -> None:
    """Fetches, several at a time, the shards of which no index is there: one pass, of which the indexes stay.

    Args:
        indexes: Of shards anywhere.
        known_too: Also where `set.json` says how many records a shard holds, for those who need the keys.
        progress: Whether to show a progress bar on standard error.

    Raises:
        PcclipError: A shard cannot be fetched or indexed.
    """
    remote = [i for i in indexes if isinstance(i, RemoteIndex) and (known_too or i.path.records is None)]
    missing = [index for index in remote if not index.is_indexed()]
    if not missing:
        return
    with (
        progress_bar(progress) as bar,
        ThreadPoolExecutor(missing[0].path.options.downloads) as pool,
    ):
        task = bar.add_task("indexing shards", total=len(missing))
        try:
            for done in as_completed([pool.submit(index.read_layout) for index in missing]):
                done.result()
                bar.advance(task)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
