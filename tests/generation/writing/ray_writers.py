"""Writers for the tests of the Ray pool; the cluster's workers import this file."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pcclip.generation.writers.base import Answer, Request, Writer
from pcclip.generation.writers.rule_writer import RuleTextWriter


@dataclass
class Slow(RuleTextWriter):
    """The rule-based writer at a pace that leaves time to kill it; notes what it answers, and where."""

    incidental: ClassVar[tuple[str, ...]] = ("pause", "notes")

    pause: float = 0.002
    notes: str = ""

    def describe(self) -> dict:
        return super().describe() | {"class": f"{RuleTextWriter.__module__}.{RuleTextWriter.__qualname__}"}

    def write(self, requests: Iterator[Request]) -> Iterator[Answer | None]:
        with (Path(self.notes) / f"{os.getpid()}.txt").open("a", buffering=1) as file:
            for answer in super().write(requests):
                time.sleep(self.pause)
                file.write(f"{answer.number}\n")
                yield answer


@dataclass
class Mortal(Writer):
    """Takes its process along at the tenth row."""

    name: ClassVar[str] = "mortal"
    needs_prompt: ClassVar[bool] = False

    def write(self, requests: Iterator[Request]) -> Iterator[Answer | None]:
        for request in requests:
            if request.row.number >= 10:
                time.sleep(0.5)  # until what was answered has been told
                os.kill(os.getpid(), signal.SIGKILL)
            yield Answer(request.row.number, "a text")
