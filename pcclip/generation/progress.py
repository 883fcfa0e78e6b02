"""How a job is getting on: a live line on a terminal, a plain one every half minute elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from pcclip.data.progress import clock
from pcclip.quiet import lively

_WINDOW = 60.0
_QUIET_SECONDS = 30.0


class WriteProgress:
    """Counts what a run of the job does, and shows it on standard error.

    Args:
        show: False for no output at all.
        total: Rows of the whole job, if known.
        done: Rows that earlier runs did.
    """

    def __init__(self, show: bool, total: int | None, done: int) -> None:
        self.total, self.done = total, done
        self.rows = self.errors = self.rejected = 0
        self.prompt_tokens = self.answer_tokens = self.cached_tokens = 0
        self.notes: Mapping[str, int] = {}
        self._show = show
        self._start = self._told = self._drawn = time.monotonic()
        self._past: deque[tuple[float, int, int]] = deque([(self._start, 0, 0)])
        self._bar: Progress | None = None
        if show and lively():
            self._bar = Progress(
                TextColumn("write"),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TextColumn("{task.description}", markup=False),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task("", total=total, completed=done)

    def add(self, prompt_tokens: int, answer_tokens: int, cached_tokens: int) -> None:
        """Counts the tokens of one answer."""
        self.prompt_tokens += prompt_tokens
        self.answer_tokens += answer_tokens
        self.cached_tokens += cached_tokens

    def row(self, error: bool, rejected: bool) -> None:
        """Counts one finished row."""
        self.rows += 1
        self.errors += error
        self.rejected += rejected

    def tick(self) -> None:
        """Shows how far it is, when it is time to."""
        now = time.monotonic()
        if not self._show or now - self._drawn < (0.25 if self._bar else 1.0):
            return
        self._drawn = now
        self._past.append((now, self.rows, self.answer_tokens))
        while now - self._past[0][0] > _WINDOW and len(self._past) > 2:
            self._past.popleft()
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done + self.rows, description=self.describe())
        elif now - self._told >= _QUIET_SECONDS:
            self._told = now
            self.line()

    def line(self) -> None:
        """One plain line of the state."""
        of = f"/{self.total:,}" if self.total is not None else ""
        print(f"write: {self.done + self.rows:,}{of} rows, {self.describe()}", file=sys.stderr, flush=True)

    def describe(self) -> str:
        """Speed of late, cache, rejections, errors, time left."""
        then, rows, tokens = self._past[0]
        span = max(time.monotonic() - then, 1e-9)
        speed = (self.rows - rows) / span
        told = [f"{speed:,.1f} rows/s"]
        if self.answer_tokens:
            told.append(f"{(self.answer_tokens - tokens) / span:,.0f} tokens/s")
            told.append(f"prefix cache {self.cached_tokens / max(self.prompt_tokens, 1):.0%}")
        told.append(f"rejected {self.rejected / max(self.rows, 1):.1%}")
        if self.errors:
            told.append(f"{self.errors:,} errors")
        told += [f"{count:,} {what}" for what, count in self.notes.items() if count]
        left = None if self.total is None else self.total - self.done - self.rows
        if left and speed > 0:
            told.append(f"{clock(left / speed)} left")
        elif left == 0:
            told.append(f"in {clock(time.monotonic() - self._start)}")
        return ", ".join(told)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done + self.rows, description=self.describe())
            self._bar.stop()
        elif self._show and self.rows:
            self._past = deque([(self._start, 0, 0)])
            self.line()
