"""A worker of the Ray pool: one writer, fed from a queue, in an actor's process."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pcclip.errors import PcclipError
from pcclip.generation.writers.base import Answer, Request, Writer

_PATIENCE = 1.0
_GATHER = 0.1  # answers of so many seconds go back together


@dataclass(frozen=True, slots=True)
class Turn:
    """What a worker tells when it is asked.

    Args:
        answers: Those since the turn before.
        wanted: How many further requests it has room for.
        counts: The writer's own statistics.
        failed: Why its writer cannot go on, or None.
    """

    answers: list[Answer]
    wanted: int
    counts: dict[str, int]
    failed: str | None


class RayWorker:
    """Holds a writer and lets it write in a thread of its own, for as long as the process lives.

    Args:
        writer: Who writes.
        ahead: Requests that wait here beside those in the writer's hands, so that it never runs dry.
        folder: Relative paths are relative to it, where this node has it.
    """

    def __init__(self, writer: Writer, ahead: int, folder: str) -> None:
        if os.path.isdir(folder):
            os.chdir(folder)
        self._writer, self._ahead = writer, ahead
        self._inbox: deque[Request] = deque()
        self._answers: list[Answer] = []
        self._counts: dict[str, int] = {}
        self._unanswered = 0
        self._more = True
        self._takes = False  # false while an engine loads: rows given then would only wait
        self._failed: str | None = None
        self._changed = threading.Condition()
        threading.Thread(target=self._run, daemon=True).start()

    def turn(self, requests: Sequence[Request], more: bool) -> Turn:
        """Takes requests in, and waits until there is something to tell, or for a second.

        Args:
            requests: To be answered.
            more: Whether others could follow now. If not, the writer is told that these were the last, so
                that it answers what it holds and does not wait for more.
        """
        with self._changed:
            self._inbox.extend(requests)
            self._unanswered += len(requests)
            self._more = more
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._answers or self._is_urgent(), _PATIENCE)
            self._changed.wait_for(self._is_urgent, _GATHER if self._answers else 0)
            answers, self._answers = self._answers, []
            return Turn(answers, self._room(), self._counts, self._failed)

    def _is_urgent(self) -> bool:
        return self._failed is not None or (self._more and self._room() > 0)

    def _room(self) -> int:
        waiting = len(self._inbox)
        return self._ahead - waiting if self._takes and 2 * waiting <= self._ahead else 0

    def _run(self) -> None:
        try:
            while True:
                for answer in self._writer.write(self._requests()):
                    if answer is not None:
                        self._tell(answer)
                with self._changed:
                    if self._unanswered > len(self._inbox):
                        lost = self._unanswered - len(self._inbox)
                        raise PcclipError(f"writer {self._writer.name}: left {lost} rows unanswered")
                    self._changed.wait_for(lambda: self._inbox)
        except BaseException as error:  # told to the driver, which decides
            told = str(error) if isinstance(error, PcclipError) else f"{type(error).__name__}: {error}"
            with self._changed:
                self._failed = told
                self._changed.notify_all()

    def _tell(self, answer: Answer) -> None:
        with self._changed:
            self._answers.append(answer)
            self._unanswered -= 1
            self._counts = self._writer.statistics()
            self._changed.notify_all()

    def _requests(self) -> Iterator[Request]:
        """Requests as they come, up to a moment when none can follow."""
        while True:
            with self._changed:
                self._takes = True
                if 2 * len(self._inbox) <= self._ahead:
                    self._changed.notify_all()
                self._changed.wait_for(lambda: self._inbox or not self._more)
                if not self._inbox:
                    return
                request = self._inbox.popleft()
            yield request
