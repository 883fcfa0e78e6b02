"""The sweep's storage, `SWEEP/sweep.db`: which trials there are, whose they are, what they found."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock

from pcclip.errors import PcclipError
from pcclip.sweep.database import DEFINITION, FILE, create, load, told
from pcclip.sweep.objectives import Objective
from pcclip.sweep.ranges import Value, grid
from pcclip.sweep.settings import Sweep

if TYPE_CHECKING:
    import optuna

_SHOWN = 3  # differences in an error


@dataclass(frozen=True)
class Taken:
    """A trial that this process works on, and no other.

    Attributes:
        number: Of the trial.
        params: Its settings.
        lock: Descriptor of its lock file. Processes that inherit it keep the trial as well: after a kill it
            is taken up again when the last of them is gone.
    """

    number: int
    params: dict[str, Value]
    lock: int


class Storage:
    """Proposes trials and records what they found; any number of processes may have it open.

    Args:
        sweep: Its settings.
        common: What all trials share besides; see `pcclip.sweep.configs.common`.

    Raises:
        PcclipError: The storage holds trials of other settings, or cannot be read.
    """

    def __init__(self, sweep: Sweep, common: Mapping[str, Any]) -> None:
        self.sweep = sweep
        self.grid = grid(sweep.ranges) if sweep.sampler == "grid" else None
        sweep.folder.mkdir(parents=True, exist_ok=True)
        definition = json.loads(json.dumps({**sweep.definition(), "common": dict(common)}))
        with self._alone():
            if not (sweep.folder / FILE).is_file():
                create(sweep.folder / FILE, definition, 2 if sweep.cost else 1)
            study = load(sweep.folder)
            assert study is not None, "made just now"
            self._study, known = study, study.user_attrs[DEFINITION]
            if known != definition:
                raise PcclipError(_refusal(sweep.folder, known, definition))

    def note(self, key: str, value: Any) -> None:
        """Keeps a word on the sweep as a whole, for its report."""
        if self._study.user_attrs.get(key) != value:
            self._study.set_user_attr(key, value)

    def take(self, trials: int) -> Taken | None:
        """A trial that a dead process has left, else a new one; None where nothing is left to do.

        Args:
            trials: How many there shall be in all, failed ones too.
        """
        import optuna

        with self._alone():
            there = self._study.get_trials(deepcopy=False)
            states = optuna.trial.TrialState
            for one in there:
                if one.state == states.RUNNING and (lock := self._lock(one.number)) is not None:
                    if self._study.get_trials(deepcopy=False)[one.number].state == states.RUNNING:
                        return self._taken(one.number, lock)
                    os.close(lock)  # told and let go of since we looked
            number = sum(one.state != states.WAITING for one in there)
            if number >= trials:
                return None
            self._prepare(number, waiting=len(there) > number)
            lock = self._lock(number)
            assert lock is not None, "trial without a record, but with a process"
            return self._taken(None, lock)

    def _prepare(self, number: int, waiting: bool) -> None:
        self._study.sampler = _sampler(self.sweep, number)
        if self.grid is not None and not waiting:
            order = np.random.default_rng(self.sweep.sampler_seed).permutation(len(self.grid))
            self._study.enqueue_trial(self.grid[order[number]])

    def _taken(self, number: int | None, lock: int) -> Taken:
        import optuna

        try:
            if number is None:
                trial = self._study.ask()
            else:  # it may lack values: its process may have been killed while it asked for them
                self._study.sampler = _sampler(self.sweep, number)
                frozen = self._study.get_trials(deepcopy=False)[number]
                trial = optuna.trial.Trial(self._study, frozen._trial_id)
            params = {}
            for place, (key, one) in enumerate(self.sweep.ranges.items(), 1):
                self._study.sampler = _sampler(self.sweep, trial.number, place)
                params[key] = one.suggest(trial, key)
        except BaseException:
            os.close(lock)
            raise
        return Taken(trial.number, params, lock)

    def tell(self, taken: Taken, objectives: Sequence[Objective], seconds: float) -> None:
        """Records what a trial found; its lock is the caller's to close."""
        notes = [{**one.mean.as_dict(), "by_run": list(one.by_run)} for one in objectives]
        with told(self.sweep.folder):
            self._annotate(taken, objectives=notes, seconds=seconds)
            self._study.tell(taken.number, [one.mean.value for one in objectives])

    def fail(self, taken: Taken, why: str, seconds: float) -> None:
        """Records that a trial has failed; its lock is the caller's to close."""
        import optuna

        with told(self.sweep.folder):
            self._annotate(taken, error=why, seconds=seconds)
            self._study.tell(taken.number, state=optuna.trial.TrialState.FAIL)

    def failures(self) -> list[str]:
        """Why trials have failed, whoever ran them, in their order."""
        import optuna

        failed = self._study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.FAIL,))
        return [trial.user_attrs.get("error", "for no known reason") for trial in failed]

    def _annotate(self, taken: Taken, **notes: Any) -> None:
        import optuna

        frozen = self._study.get_trials(deepcopy=False)[taken.number]
        trial = optuna.trial.Trial(self._study, frozen._trial_id)
        for key, value in notes.items():
            trial.set_user_attr(key, value)

    def _lock(self, number: int) -> int | None:
        path = self.sweep.folder / f".trial{number:03d}.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with told(self.sweep.folder), FileLock(self.sweep.folder / ".lock"):
            yield


def _sampler(sweep: Sweep, number: int, place: int = 0) -> optuna.samplers.BaseSampler:
    """One for every trial and every setting: what is proposed does not depend on kills."""
    import optuna

    seed = int(np.random.SeedSequence([sweep.sampler_seed, number, place]).generate_state(1)[0])
    if sweep.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True)
    if sweep.sampler == "nsga2":
        return optuna.samplers.NSGAIISampler(seed=seed, population_size=10)
    return optuna.samplers.RandomSampler(seed=seed)


def _refusal(folder: Path, known: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    kept, given = (
        {
            **one["ranges"],
            **{key: one[key] for key in one if key not in ("ranges", "common")},
            **one["common"],
        }
        for one in (known, now)
    )
    parts = [
        f"{key} was {_short(kept.get(key))} and is {_short(given.get(key))}"
        for key in {**kept, **given}
        if kept.get(key) != given.get(key)
    ]
    more = " ..." if len(parts) > _SHOWN else ""
    return (
        f"{folder}: holds trials of other settings: {'; '.join(parts[:_SHOWN])}{more}. Trials of different "
        "settings cannot be compared: take the former ones, or give this sweep another `name`"
    )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 90 else f"{text[:86]} ..."
