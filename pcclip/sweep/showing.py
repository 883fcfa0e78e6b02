"""What people see of a sweep while it runs: on a terminal a line that moves, elsewhere a line per trial."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.text import Text

from pcclip.sweep.choosing import Found, Trial
from pcclip.sweep.lines import interval, names, points

_STEP = 1.0


class Shown:
    """Progress on standard error; standard output stays for the table.

    Args:
        trials: How many there shall be.
        workers: How many run at once, for the time left.
    """

    def __init__(self, trials: int, workers: int) -> None:
        self.console = Console(
            file=sys.stderr
        )  # as it is now: while a configuration is read, words are caught
        self.trials = trials
        self.workers = workers
        self.told: set[int] = set()
        self.found: Found | None = None
        self._status = self.console.status("reading the configuration of the fit")
        self._next = 0.0

    def __enter__(self) -> Shown:
        self._status.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._status.__exit__(*error)

    def know(self, found: Found | None) -> None:
        """Takes in how the sweep stands, without a word: what was there when we began."""
        self.found = found
        self.told |= {trial.number for trial in found.trials if trial.state != "running"} if found else set()

    def tell(self, found: Found) -> None:
        """Says what is new."""
        new = [trial for trial in found.trials if trial.state != "running" and trial.number not in self.told]
        self.know(found)
        for trial in new:
            self.console.print(Text(f"{_line(trial, names(found))}; {self._whole()}"), soft_wrap=True)

    def tick(self, running: int) -> None:
        """Moves the line on a terminal."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _STEP
            self._status.update(Text(f"{running} running; {self._whole()}"))

    def _whole(self) -> str:
        if self.found is None:
            return f"0 of {self.trials} trials"
        done = [trial for trial in self.found.trials if trial.state != "running"]
        chosen = self.found.chosen
        best = "none to choose yet" if chosen is None else f"best trial {chosen.number} {_change(chosen)}"
        seconds = [trial.seconds for trial in done if trial.seconds]
        left = max(0, self.trials - len(done))
        time_left = (
            f", {timedelta(seconds=round(left * sum(seconds) / len(seconds) / self.workers))} left"
            if seconds and left
            else ""
        )
        return f"{len(done)} of {self.trials} trials, {best}{time_left}"


def _line(trial: Trial, objectives: Sequence[str]) -> str:
    if trial.gain is None:
        return f"trial {trial.number} failed: {trial.error}"
    found = zip(objectives, (trial.gain, trial.cost), strict=False)
    return f"trial {trial.number}: " + ", ".join(f"{name} {interval(one.mean)}" for name, one in found if one)


def _change(trial: Trial) -> str:
    assert trial.gain is not None
    cost = "" if trial.cost is None else f" at {points(trial.cost.mean.value)}"
    return f"{points(trial.gain.mean.value)}{cost}"
