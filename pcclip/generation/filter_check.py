"""The filter and the memory of repeats, as a recipe names them for a job."""

from __future__ import annotations

from dataclasses import dataclass, field

from pcclip.generation.checks import Check, Repeats, Verdict
from pcclip.generation.duplicates import DuplicateLimits, Duplicates
from pcclip.generation.filters import Accepted, Context, Limits, clean
from pcclip.generation.prompts import PromptTemplate
from pcclip.generation.rows import Row
from pcclip.generation.writers.base import Answer


@dataclass
class Filter(Check):
    """Cuts answers to what they say about the pictures, and rejects what is no difference.

    Args:
        limits: How strict to be.
    """

    limits: Limits = field(default_factory=Limits)
    prompt: tuple[str, ...] = field(default=(), init=False, repr=False)

    def __post_init__(self) -> None:
        """Makes limits of a recipe's mapping: jsonargparse leaves those of optional classes as they are."""
        self.limits = Limits(**self.limits) if isinstance(self.limits, dict) else self.limits

    def begin(self, prompt: PromptTemplate | None) -> None:
        """Notes what all prompts have in common, to know an echo of it."""
        if prompt is not None:
            shown = [text for e in prompt.examples for text in (*e.slots.values(), e.answer)]
            self.prompt = tuple(text for text in (prompt.system, prompt.question, *shown) if text.strip())

    def __call__(self, answer: Answer, row: Row) -> Verdict:
        """Judges an answer by the rules of `pcclip.generation.filters`."""
        context = Context((*row.captions1, *row.captions2), self.prompt)
        result = clean(answer.text, self.limits, context, answer.finish == "length")
        return Verdict(result.text) if isinstance(result, Accepted) else Verdict(None, result.reason.value)


@dataclass
class NoRepeats(Repeats):
    """Leaves out texts that came before, exactly or nearly.

    Args:
        limits: How often a text may come.
    """

    limits: DuplicateLimits = field(default_factory=DuplicateLimits)

    def __post_init__(self) -> None:
        """Remembers nothing yet; limits as for `Filter`."""
        self.limits = DuplicateLimits(**self.limits) if isinstance(self.limits, dict) else self.limits
        self._seen = Duplicates(self.limits)

    def __call__(self, text: str) -> str | None:
        """Returns None for a new text, or `duplicate` or `near_duplicate`."""
        rejected = self._seen.check(text)
        return None if rejected is None else rejected.reason.value
