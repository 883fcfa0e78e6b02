"""Runs the trials of a sweep, several at once; whatever is killed, the same command goes on."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pcclip.data.files import write_atomically
from pcclip.errors import PcclipError
from pcclip.evaluation.measured import VALIDATION
from pcclip.sweep.configs import resolve, without_test_split
from pcclip.sweep.fits import Fit, stop_all
from pcclip.sweep.objectives import changes
from pcclip.sweep.settings import Sweep
from pcclip.sweep.study import Storage, Taken

_LOOK = 0.2  # seconds between two looks at the processes
_ASK = 2.0  # seconds between two looks at the storage, where nothing was left to do
_TRIES = 2  # of a fit that a signal ends


@dataclass
class _Work:
    """A trial of ours, and the fit of it that runs now."""

    taken: Taken
    waiting: list[Path]
    slot: int
    began: float = field(default_factory=time.monotonic)
    fit: Fit | None = None
    tries: int = 0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


@dataclass
class Runner:
    """Runs trials until there are enough.

    Attributes:
        sweep: Its settings.
        storage: Where trials are recorded.
        trials: How many there shall be in all.
        workers: How many are fitted at once.
        gpus: Of them the worker of each place gets one (`CUDA_VISIBLE_DEVICES`), round about; None: all.
        max_failures: With more failed trials the sweep stops.
        finished: Called after each trial.
        tick: Called often, with the number of trials that run here.
    """

    sweep: Sweep
    storage: Storage
    trials: int
    workers: int
    gpus: Sequence[int | str] | None
    max_failures: int
    finished: Callable[[], None]
    tick: Callable[[int], None]

    def run(self) -> None:
        """Returns when nothing is left to do here; other processes may still run trials.

        Raises:
            PcclipError: Too many trials have failed, or one cannot be judged.
            KeyboardInterrupt: A signal was heard. All fits have ended; the same command goes on.
        """
        working: list[_Work] = []
        look = 0.0
        try:
            while True:
                if len(working) < self.workers and time.monotonic() >= look:
                    while (
                        len(working) < self.workers and (taken := self.storage.take(self.trials)) is not None
                    ):
                        working.append(self._work(taken, working))
                    look = time.monotonic() + _ASK
                if not working:
                    return
                self.tick(len(working))
                time.sleep(_LOOK)
                for work in list(working):
                    if self._go_on(work):
                        working.remove(work)
                        os.close(work.taken.lock)
                        look = 0.0
                        self.finished()
                        self._limit_failures()
        finally:
            stop_all([work.fit for work in working if work.fit is not None])
            for work in working:
                os.close(work.taken.lock)

    def _work(self, taken: Taken, working: Sequence[_Work]) -> _Work:
        slot = min({*range(self.workers)} - {work.slot for work in working})
        return _Work(taken, list(self.sweep.runs(taken.number)), slot)

    def _go_on(self, work: _Work) -> bool:
        """Starts what is next of a trial, if nothing of it runs; True once the trial is over."""
        if work.fit is not None:
            if work.fit.ended() is None:
                return False
            if not _has_finished(work.waiting[0]):
                work.tries += 1
                if not work.fit.by_signal() or work.tries >= _TRIES:
                    self.storage.fail(work.taken, work.fit.why(), work.seconds)
                    return True
            work.fit = None
        while work.waiting and _has_finished(work.waiting[0]):
            del work.waiting[0]
            work.tries = 0
        if work.waiting:
            work.fit = self._start(work)
            return False
        return self._judge(work)

    def _judge(self, work: _Work) -> bool:
        globs = [self.sweep.gain, *([self.sweep.cost] if self.sweep.cost else [])]
        objectives = changes(list(self.sweep.runs(work.taken.number)), VALIDATION, globs)
        self.storage.tell(work.taken, objectives, work.seconds)
        return True

    def _start(self, work: _Work) -> Fit:
        run = work.waiting[0]
        if (run / "config.yaml").is_file():
            words = ["resume", str(run)]
        else:
            file = self.sweep.folder / "configs" / f"{run.name}.yaml"
            seed = self.sweep.runs(work.taken.number)[run]
            config = without_test_split(resolve(self.sweep.words(work.taken.params, seed)))
            file.parent.mkdir(exist_ok=True)
            write_atomically(file, json.dumps(config, indent=1).encode())  # JSON is YAML
            words = ["fit", f"--config={file}", *place(run)]
        log = self.sweep.folder / "logs" / f"{run.name}.log"
        return Fit(words, log, work.taken.lock, self._environment(work.slot))

    def _environment(self, slot: int) -> dict[str, str]:
        own = {} if self.gpus is None else {"CUDA_VISIBLE_DEVICES": str(self.gpus[slot % len(self.gpus)])}
        if self.workers > 1 and "OMP_NUM_THREADS" not in os.environ:
            own["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // self.workers))
        return own

    def _limit_failures(self) -> None:
        if len(failures := self.storage.failures()) > self.max_failures:
            raise PcclipError(
                f"{self.sweep.folder}: {len(failures)} trials have failed, more than --max_failures "
                f"{self.max_failures}; the last: {failures[-1]}. Mend the cause and remove the folder, or "
                "raise the limit; sweep.md there has all"
            )


def place(run: Path) -> list[str]:
    """Words of `pcclip fit` that put a run into a folder."""
    return [f"--runs={run.parent.parent}", f"--experiment={run.parent.name}", f"--version={run.name}"]


def _has_finished(run: Path) -> bool:
    return (run / "summary.json").is_file()
