"""The one look of progress: what, how far, how fast, how long still.

A bar on a terminal; a few plain lines elsewhere (a file, a scheduler's log, a CI), of what takes seconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from pcclip.quiet import lively

_CONSOLE = Console(stderr=True)  # one for all, so that bars within bars stand below one another
_FIRST_SECONDS = 5.0
_EVERY_SECONDS = 30.0
_LONG_SECONDS = 3.0
_MEGABYTE = 1e6


def clock(seconds: float) -> str:
    """A time as people write it: `0:07`, `1:02:03`."""
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02}"
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def duration(seconds: float) -> str:
    """A time within a sentence: `12.5 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 100:
        return f"{seconds:.3g} s"
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"


class RateColumn(ProgressColumn):
    """Steps per second."""

    def render(self, task: Task) -> Text:
        """Shows the speed of late, or over all once finished."""
        return Text(_rate(task.finished_speed or task.speed))


def _rate(speed: float | None) -> str:
    return "" if speed is None else f"{speed:,.0f}/s" if speed >= 10 else f"{speed:.2f}/s"


class Lines(Progress):
    """Progress where nothing may be drawn: a line after five seconds, every half minute, and at a task's end.

    What ends within three seconds says nothing.
    """

    def __init__(self) -> None:
        super().__init__(disable=True)
        self._due: dict[TaskID, float] = {}
        self._began: dict[TaskID, float] = {}

    def add_task(self, *args: Any, **kwargs: Any) -> TaskID:
        """As on a terminal."""
        task = super().add_task(*args, **kwargs)
        self._began[task] = time.monotonic()
        self._due[task] = self._began[task] + _FIRST_SECONDS
        return task

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """As on a terminal."""
        super().advance(task_id, advance)
        self._tell(task_id)

    def update(self, task_id: TaskID, **kwargs: Any) -> None:
        """As on a terminal."""
        super().update(task_id, **kwargs)
        self._tell(task_id)

    def _tell(self, at: TaskID) -> None:
        task, now = self._tasks[at], time.monotonic()
        done = task.total is not None and task.completed >= task.total
        if done:
            self._due.pop(at, None)
            if (began := self._began.pop(at, None)) is not None and now - began >= _LONG_SECONDS:
                self._print(task, f"in {clock(now - began)}")
        elif now >= self._due.get(at, now + 1):
            self._due[at] = now + _EVERY_SECONDS
            left = task.time_remaining
            self._print(task, "" if left is None else f"{clock(left)} left")

    def _print(self, task: Task, when: str) -> None:
        of = "" if task.total is None else f" of {task.total:,.0f}"
        told = [
            f"{task.description}: {task.completed:,.0f}{of}",
            _rate(task.finished_speed or task.speed),
            when,
        ]
        print(", ".join(part for part in told if part), file=sys.stderr, flush=True)


def progress_bar(show: bool = True, transient: bool = False) -> Progress:
    """A progress display on standard error; standard output stays for results.

    Args:
        show: False for none at all.
        transient: Whether a bar goes away once it is full.
    """
    if show and not lively():
        return Lines()
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=_CONSOLE,
        disable=not show,
        transient=transient,
        redirect_stdout=sys.stdout.isatty(),  # else what is printed meanwhile would miss its file
    )


@contextmanager
def reading(files: Sequence[Path], show: bool = True) -> Iterator[Callable[[int], None]]:
    """Shows, in megabytes, how much of some files has been read.

    Args:
        files: Which.
        show: False for nothing at all.

    Yields:
        What is to be told the number of bytes after every part.
    """
    with progress_bar(show, transient=True) as bar:
        done = 0
        task = bar.add_task("checksums, MB", total=sum(file.stat().st_size for file in files) / _MEGABYTE)

        def read(count: int) -> None:
            nonlocal done
            done += count
            bar.update(task, completed=done / _MEGABYTE)

        yield read
