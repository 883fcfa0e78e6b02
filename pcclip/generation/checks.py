"""The seam between the job and its filter: what becomes of an answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from pcclip.generation.prompts import PromptTemplate
from pcclip.generation.rows import Described, Row
from pcclip.generation.writers.base import Answer


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of an answer: a text that is kept, or a reason why none is.

    Args:
        text: The accepted text, cut and stripped as the check sees fit; None where the answer is rejected.
        reason: Why it is rejected: a few words, the same for the same reason, since rejections are counted
            by them.
    """

    text: str | None
    reason: str = ""


class Check(Described, ABC):
    """Judges answers one by one; a dataclass, whose fields a recipe sets.

    It sees rows in any order and some of them twice (after a stop), so it must not remember rows.
    """

    def begin(self, prompt: PromptTemplate | None) -> None:
        """Told once, before all answers, how rows are asked: for checks that know an echo of the prompt."""

    @abstractmethod
    def __call__(self, answer: Answer, row: Row) -> Verdict:
        """Judges an answer.

        Args:
            answer: `text` is never empty, and already taken out of the JSON where JSON was asked for.
            row: What was asked about.
        """


class Repeats(Described, ABC):
    """Finds texts that repeat earlier ones; a dataclass, whose fields a recipe sets.

    It is asked once for every accepted text, in the order of the rows, when shards are made: so what it
    remembers does not depend on stops or on the order of answers.
    """

    @abstractmethod
    def __call__(self, text: str) -> str | None:
        """Returns None for a new text, which it remembers, or the reason why it is rejected."""
