"""Which records come in which batch, and how far a run has come: order, cut, cursor and loader.

The order of an epoch is a function of (seed, epoch) alone, and a batch is a slice of it. So ranks and
workers are disjoint by construction under every start method, nothing depends on their number, and resuming
is a seek.
"""

from __future__ import annotations

import atexit
import multiprocessing.util  # noqa: F401  registers its exit first, so that ours runs before it
import os
import signal
import time
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import DataLoader, Dataset, Sampler

from pcclip.data.records import stable_hash
from pcclip.data.workers import check_temporary_folder
from pcclip.errors import PcclipError

Integers = npt.NDArray[np.int64]
At = tuple[int, int]
"""Epoch, and number of the batch within the epoch."""


class GlobalOrder:
    """The order of all records in every epoch.

    Shuffling permutes the shards, then the records within each window of `shuffle_shards` shards: reads stay
    near one another, and memory is that of one window (8 bytes per record).

    Args:
        shard_sizes: Number of records of each shard.
        seed: Of the shuffling.
        shuffle: False for the order of the files, the same in every epoch.
        shuffle_shards: Shards per window.
    """

    def __init__(
        self, shard_sizes: Sequence[int], seed: int = 0, shuffle: bool = True, shuffle_shards: int = 16
    ) -> None:
        if shuffle_shards < 1:
            raise PcclipError(f"data.shuffle_shards is {shuffle_shards}: it must be at least 1")
        self._sizes = np.asarray(shard_sizes, np.int64)
        self._seed = seed
        self._shuffle = shuffle
        self._width = shuffle_shards
        self._epoch: int | None = None
        self._shards = np.arange(len(self._sizes))
        self._ends = np.cumsum(self._sizes)
        self._window: tuple[int, Integers] | None = None

    def __len__(self) -> int:
        return int(self._sizes.sum())

    def locate(self, epoch: int, positions: Integers) -> tuple[Integers, Integers]:
        """Finds the records at `positions` of an epoch's order.

        Args:
            epoch: From 0.
            positions: (N,) in [0, len).

        Returns:
            Shard numbers (N,) and record numbers within the shard (N,).
        """
        self._enter(epoch)
        if self._shuffle:
            positions = self._permuted(epoch, positions)
        slots = np.searchsorted(self._ends, positions, side="right")
        shards = self._shards[slots]
        return shards, positions - (self._ends[slots] - self._sizes[shards])

    @property
    def windows(self) -> int:
        """Windows per epoch; without shuffling, groups of as many shards in a row."""
        return -(-len(self._sizes) // self._width)

    def window(self, epoch: int, position: int) -> int:
        """In which window of an epoch a position lies."""
        self._enter(epoch)
        return int(np.searchsorted(self._ends, position, side="right")) // self._width

    def window_shards(self, epoch: int, window: int) -> list[int]:
        """The numbers of a window's shards, in any epoch, whatever is being read."""
        shards = np.arange(len(self._sizes))
        if self._shuffle:
            shards = _permutation(len(self._sizes), f"shards {self._seed} {epoch}")
        return shards[window * self._width : (window + 1) * self._width].tolist()

    def _enter(self, epoch: int) -> None:
        if self._shuffle and epoch != self._epoch:
            self._shards = _permutation(len(self._sizes), f"shards {self._seed} {epoch}")
            self._ends = np.cumsum(self._sizes[self._shards])
            self._window = None
            self._epoch = epoch

    def _permuted(self, epoch: int, positions: Integers) -> Integers:
        bounds = np.concatenate(([0], self._ends[self._width - 1 : -1 : self._width], self._ends[-1:]))
        windows = np.searchsorted(bounds, positions, side="right") - 1
        result = np.empty_like(positions)
        for window in np.unique(windows):
            if self._window is None or self._window[0] != window:
                size = int(bounds[window + 1] - bounds[window])
                self._window = int(window), _permutation(size, f"records {self._seed} {epoch} {window}")
            here = windows == window
            result[here] = bounds[window] + self._window[1][positions[here] - bounds[window]]
        return result

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_window": None}


def _permutation(size: int, name: str) -> Integers:
    # Raw bits: numpy keeps those of a bit generator for good, but not Generator.permutation's result.
    bits = np.random.Philox(key=stable_hash(name)).random_raw(size)
    return np.argsort(bits, kind="stable").astype(np.int64)


@dataclass(frozen=True)
class Cut:
    """How an order is cut into batches, and which of them are this rank's.

    Training: all ranks' batch b together are positions [b*G, (b+1)*G) with G = batch_size * world; the rest
    of the epoch that fills no such batch is left out. Validation (`whole`): batch j goes to rank j mod world,
    the last one is short, nothing is left out or repeated. Where that gave a rank nothing, there are `world`
    smaller batches instead, because a rank without any has nothing to bring to the mean over ranks.

    Args:
        records: In all shards.
        batch_size: Records per rank and batch.
        rank: This process.
        world: Number of processes.
        whole: Every record once, instead of full batches only.
    """

    records: int
    batch_size: int
    rank: int = 0
    world: int = 1
    whole: bool = False

    @property
    def global_batch(self) -> int:
        """Records of one step over all ranks."""
        return self.batch_size * self.world

    def __len__(self) -> int:
        if not self.whole:
            return self.records // self.global_batch
        return len(range(self.rank, len(self._ends()), self.world))

    def positions(self, batch: int) -> Integers:
        """Positions in the epoch's order of this rank's batch number `batch`."""
        if not self.whole:
            start = batch * self.global_batch + self.rank * self.batch_size
            return np.arange(start, start + self.batch_size)
        ends = self._ends()
        number = batch * self.world + self.rank
        return np.arange(ends[number - 1] if number else 0, ends[number])

    def check(self, what: str, shards: int) -> None:
        """Raises PcclipError where there are too few records for a single step."""
        needed = self.world if self.whole else self.global_batch
        if self.records >= needed:
            return
        step = f"{self.world} ranks, each of which needs one"
        if not self.whole:
            step = f"one step: a batch of {self.batch_size} per rank x {self.world} ranks = {needed}"
        raise PcclipError(
            f"{what}: too few records: {self.records} in {shards} shards, but {needed} are needed for "
            f"{step}. Lower the batch size, use fewer devices, or write more records."
        )

    def _ends(self) -> Integers:
        ends = np.append(np.arange(self.batch_size, self.records, self.batch_size), self.records)
        if len(ends) >= self.world:
            return ends
        return np.arange(1, self.world + 1) * self.records // self.world


class BatchCursor(Sampler[At]):
    """Yields (epoch, batch) from where the run stands.

    `set_epoch` of another epoch starts at its first batch; of the present one, changes nothing. So Lightning,
    which calls it before every epoch and after a restart, does not undo a restored position.

    Args:
        batches: Per epoch.
    """

    def __init__(self, batches: int) -> None:
        self.batches = batches
        self.epoch = 0
        self.position = 0

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[At]:
        epoch = self.epoch
        return ((epoch, batch) for batch in range(self.position, self.batches))

    def set_epoch(self, epoch: int) -> None:
        """Goes to an epoch; called by the trainer."""
        if epoch != self.epoch:
            self.epoch, self.position = epoch, 0


@dataclass(frozen=True)
class Failure:
    """A user's error that happened in a worker; raised in the main process without the worker's traceback."""

    error: PcclipError


def _as_it_is(batch: Any) -> Any:
    return batch


def leave_signals_to_the_main_process(worker: int) -> None:
    """Schedulers and terminals signal all processes of a job; a worker must not die before the main one."""

    def heard_again(*_: Any) -> None:
        os._exit(0)  # torch takes another status for a failure, and raises it amidst the trainer's saving

    def heard(*_: Any) -> None:
        # A loader that is collected in a reference cycle, and Python's exit, end workers by this signal only:
        # were it always ignored, the process would wait for them forever.
        signal.signal(signal.SIGTERM, heard_again)

    signal.signal(signal.SIGTERM, heard)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


_WITH_WORKERS: weakref.WeakSet[BatchLoader] = weakref.WeakSet()


@atexit.register
def _end_workers() -> None:
    # Before Python's own exit, which waits for children that it could end by one signal only.
    for loader in list(_WITH_WORKERS):
        loader.close()


class BatchLoader(DataLoader[Any]):
    """A DataLoader over whole batches: an item of the dataset is a batch.

    Args:
        dataset: `dataset[(epoch, batch)]` is a batch, or a `Failure`.
        cursor: What to load; every batch of epoch 0 by default, which is what validation takes.
        num_workers: Worker processes.
        start_method: `fork`, `spawn` or `forkserver`; None for Python's default.
        pin_memory: Copy batches to pinned memory.

    Raises:
        PcclipError: On iteration: a `Failure` came, or workers have no use of the temporary folder.

    Attributes:
        waited: Seconds that those who iterate have waited for batches so far.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        cursor: BatchCursor | Sequence[At],
        num_workers: int = 0,
        start_method: str | None = None,
        pin_memory: bool = False,
    ) -> None:
        super().__init__(
            dataset,
            batch_size=None,
            sampler=cursor,
            collate_fn=_as_it_is,
            worker_init_fn=leave_signals_to_the_main_process,
            num_workers=num_workers,
            multiprocessing_context=start_method if num_workers else None,
            persistent_workers=num_workers > 0,
            pin_memory=pin_memory,
        )
        self.waited = 0.0
        if num_workers:
            _WITH_WORKERS.add(self)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        if self.num_workers:
            check_temporary_folder()
        for batch in self._timed(super().__iter__()):
            if isinstance(batch, Failure):
                self.close()
                raise batch.error
            yield batch

    def _timed(self, batches: Iterator[Any]) -> Iterator[Any]:
        while True:
            start = time.perf_counter()
            batch = next(batches, None)
            self.waited += time.perf_counter() - start
            if batch is None:
                return
            yield batch

    def close(self) -> None:
        """Ends the workers; the next iteration starts new ones."""
        iterator, self._iterator = self._iterator, None
        if iterator is not None:
            iterator._shutdown_workers()  # type: ignore[attr-defined]
            for worker in iterator._workers:  # type: ignore[attr-defined]
                if worker.is_alive():
                    worker.kill()


class ResumableLoader(BatchLoader):
    """The training loader: knows how many batches it has handed out, and goes on from there.

    What workers prefetched does not count. Nothing is read before the first `next`: Lightning makes the
    iterator before it says which epoch it is. `len` is that of a full epoch. An iteration that was left goes
    on at the next batch; one that reached the end is followed by the next epoch.

    Args:
        dataset: See `BatchLoader`.
        batches: Per epoch on this rank.
        identity: What the order depends on (seed, global batch, fingerprint of the data); a state with
            another identity is refused.
        num_workers: Worker processes.
        start_method: See `BatchLoader`.
        pin_memory: See `BatchLoader`.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batches: int,
        identity: dict[str, Any],
        num_workers: int = 0,
        start_method: str | None = None,
        pin_memory: bool = False,
    ) -> None:
        self.cursor = BatchCursor(batches)
        self.identity = identity
        super().__init__(dataset, self.cursor, num_workers, start_method, pin_memory)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        cursor = self.cursor
        if cursor.position >= cursor.batches:
            cursor.set_epoch(cursor.epoch + 1)
        for batch in super().__iter__():
            cursor.position += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Epoch, batches and samples handed out in it, and what the order depends on."""
        samples = self.cursor.position * int(self.identity.get("global_batch", 0))
        return {"epoch": self.cursor.epoch, "batch": self.cursor.position, "samples": samples} | self.identity

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes to where `state` was taken.

        Raises:
            PcclipError: It was taken with other data, another seed or another global batch.
        """
        check_identity(state, self.identity)
        self.cursor.epoch, self.cursor.position = int(state["epoch"]), int(state["batch"])


def check_identity(saved: dict[str, Any], present: dict[str, Any]) -> None:
    """Raises PcclipError where a saved position belongs to another order of samples."""
    differing = [
        f"{name} {saved.get(name)!r}, now {present[name]!r}"
        for name in present
        if saved.get(name) != present[name]
    ]
    if differing:
        raise PcclipError(
            f"the checkpoint cannot be resumed with this data: it was saved with {'; '.join(differing)}. "
            "Resume with the settings and shards of that run (another number of ranks is fine if batch_size "
            "x ranks stays the same; gradient accumulation does not count, as texts are compared within one "
            "batch only), or start a new run from its weights."
        )
