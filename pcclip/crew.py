"""Processes that do one piece of work together: the first leads, the others lend their hands.

The leading process runs the work as if it were alone; only what costs much (batches through a tower) is
shared out, whole batches at a time. So what is computed, decided and written does not depend on how many
there are, and no other process can take another branch.
"""

from __future__ import annotations

import atexit
import math
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from pcclip.errors import PcclipError
from pcclip.groups import before_groups

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

T = TypeVar("T")
In = TypeVar("In")
Rows = npt.NDArray[np.float32]

_PATIENCE = timedelta(days=365)  # others wait while the first computes statistics, or waits for a lock


@dataclass(frozen=True)
class Job(Generic[In]):
    """Batches that become rows.

    Attributes:
        count: Number of batches.
        prepare: Inputs of the batches whose numbers it is given, one by one in their order; may read ahead.
        encode: Rows of one input.
    """

    count: int
    prepare: Callable[[Sequence[int]], Iterator[In]]
    encode: Callable[[In], Rows]


class Crew:
    """One process alone, or the processes of a group.

    Args:
        group: Of the processes, able to move CPU tensors; None for one process alone.
    """

    def __init__(self, group: ProcessGroup | None = None) -> None:
        self._group = group
        self._running: Iterator[Rows] | None = None
        self.rank = 0 if group is None else group.rank()
        self.size = 1 if group is None else group.size()
        if group is not None:
            atexit.register(self.leave)  # before the handlers of those who made the group

    def leave(self) -> None:
        """Lets go of the group, with which nothing can be done together any longer.

        A group's threads end with the last reference to it; one that frees a tensor while the interpreter
        ends would abort the process.
        """
        atexit.unregister(self.leave)
        self._group = None

    @classmethod
    def of_job(cls) -> Crew:
        """All processes of the job, where torch.distributed is in use; every process must call this."""
        import torch.distributed as dist

        if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
            return cls()
        return cls(_group(list(range(dist.get_world_size()))))

    @classmethod
    def of_node(cls, size: int) -> Crew:
        """The processes of this node, `size` on each; every process of the job must call this."""
        import torch.distributed as dist

        if not dist.is_available() or not dist.is_initialized() or size == 1:
            return cls()
        mine = cls()
        for first in range(0, dist.get_world_size(), size):
            ranks = list(range(first, first + size))
            if (group := _group(ranks)) is not None:
                mine = cls(group)
        return mine

    @property
    def leads(self) -> bool:
        """Whether this process is the first."""
        return self.rank == 0

    def agree(self, value: T) -> T:
        """The first process's value, in all of them."""
        if self._group is None:
            return value
        import torch.distributed as dist

        box = [value]
        dist.broadcast_object_list(box, group=self._group, group_src=0)
        return box[0]

    def lead(self, work: Callable[[], T], serve: Callable[[Any], Job[Any]] | None = None) -> T | None:
        """Runs `work` in the first process while the others do their share of what it maps.

        Every process must call this. An error anywhere ends it everywhere.

        Args:
            work: May call `map`.
            serve: The same job as the leading process has, from the order given to `map`; None where `work`
                maps nothing.

        Returns:
            What `work` returns; None in the other processes.

        Raises:
            PcclipError: Another process met with an error of the user's files or settings.
            RuntimeError: Another process failed.
        """
        if self._group is None:
            return work()
        if self.leads:
            return self._lead(work)
        while (order := self.agree(None)) is not None:
            if isinstance(order, _Stop):
                raise order.error()
            assert serve is not None
            with suppress(_Ended):  # the first process says what comes of it
                for _ in self._share(serve, order):
                    pass
        return None

    def _lead(self, work: Callable[[], T]) -> T:
        try:
            result = work()
        except BaseException as error:
            self._end_job()
            with suppress(RuntimeError):  # a process that has gone
                self.agree(_Stop.of(error, "another process of this job stopped"))
            raise
        self.agree(None)
        return result

    def map(self, order: Any, job: Job[Any]) -> Iterator[Rows]:
        """Rows of all batches of a job in their order, each process making those of some batches.

        Every process makes the same number of calls of `job.encode`, so that sharded weights may be gathered
        in them; where batches do not suffice, the last one is made several times.

        Args:
            order: What `serve` makes the same job of in the other processes; None means that there are none
                to share with.
            job: The batches.
        """
        if self._group is None or order is None:
            yield from map(job.encode, job.prepare(range(job.count)))
            return
        if self._running is not None:
            raise RuntimeError("a job of this crew is still running")
        self.agree(order)
        self._running = self._share(lambda _: job, order)
        yield from self._running
        self._running = None

    def _end_job(self) -> None:
        """Tells the others that rows are wanted no longer."""
        if self._running is not None:
            with suppress(RuntimeError):
                self._running.close()  # type: ignore[attr-defined]
            self._running = None

    def _share(self, made: Callable[[Any], Job[Any]], order: Any) -> Iterator[Rows]:
        """All rows in the first process, none in the others."""
        with self._checked():
            job = made(order)
            rounds = math.ceil(job.count / self.size)
            inputs = job.prepare([min(self.size * turn + self.rank, job.count - 1) for turn in range(rounds)])
        for turn in range(rounds):
            with self._checked():  # before any process encodes: it might wait for the weights of another
                one = next(inputs)
            with self._checked():
                rows = job.encode(one)
            try:
                yield from self._gathered(rows)[: job.count - self.size * turn]
            except GeneratorExit:
                self._report(_Stop("rows are wanted no longer", None))
                raise
        self._report(None)  # so that one follows every `yield`

    @contextmanager
    def _checked(self) -> Iterator[None]:
        """Ends the job in every process where what stands in it fails in one."""
        mine: Exception | None = None
        try:
            yield
        except Exception as error:
            mine = error
        found = self._report(None if mine is None else _Stop.of(mine, f"rank {self.rank}"))
        if found is None:
            return
        if self.leads:
            raise mine or found.error()
        raise _Ended from mine

    def _report(self, mine: _Stop | None) -> _Stop | None:
        import torch
        import torch.distributed as dist

        failed = torch.tensor([int(mine is not None)])
        dist.all_reduce(failed, group=self._group)
        if not failed:
            return None
        reports: list[_Stop | None] = [None] * self.size
        dist.all_gather_object(reports, mine, group=self._group)
        return next(report for report in reports if report is not None)

    def _gathered(self, rows: Rows) -> list[Rows]:
        import torch.distributed as dist

        gathered: list[Any] | None = [None] * self.size if self.leads else None
        dist.gather_object(rows, gathered, group=self._group, group_dst=0)
        return gathered or []


def _group(ranks: list[int]) -> ProcessGroup | None:
    """A new group of some ranks; None in the others, which must call this too."""
    import torch.distributed as dist

    group = dist.new_group(ranks, backend="gloo", timeout=_PATIENCE)
    return group if isinstance(group, dist.ProcessGroup) else None


class _Ended(Exception):
    """The job has ended because a process failed, or the first one wants no more of it."""


@dataclass(frozen=True)
class _Stop:
    """An error as other processes hear of it: of the user's files (without `trace`), or any other."""

    message: str
    trace: str | None

    @classmethod
    def of(cls, error: BaseException, where: str) -> _Stop:
        if isinstance(error, PcclipError):
            return cls(f"{where}: {error}", None)
        return cls(f"{where}: {error!r}", "".join(traceback.format_exception(error)))

    def error(self) -> Exception:
        return PcclipError(self.message) if self.trace is None else RuntimeError(self.trace)


@contextmanager
def launched_crew() -> Iterator[Crew]:
    """All processes of a job that `torchrun` (or another launcher that sets its variables) has started."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Crew()
        return
    import torch.distributed as dist

    if dist.is_initialized():  # by whoever called us
        yield Crew.of_job()
        return
    before_groups()
    dist.init_process_group("gloo", timeout=_PATIENCE)
    crew = Crew(dist.group.WORLD)
    try:
        yield crew
    finally:
        crew.leave()
        dist.destroy_process_group()


def launched_device() -> str | None:
    """The GPU of this process of a launched job; None where there is no GPU, or no job."""
    rank = os.environ.get("LOCAL_RANK")
    if rank is None:
        return None
    import torch

    if not torch.cuda.is_available():
        return None
    return f"cuda:{int(rank) % torch.cuda.device_count()}"
