"""The filter of one answer: cut first, then reject."""

from __future__ import annotations

from collections.abc import Iterator

from pcclip.generation.filters.copies import copy_fault, echo_fault, equal_fault
from pcclip.generation.filters.cuts import CUTS
from pcclip.generation.filters.language import language_fault
from pcclip.generation.filters.markup import code_fault, markup_fault
from pcclip.generation.filters.refusals import refusal_fault, same_fault
from pcclip.generation.filters.repetition import repetition_fault
from pcclip.generation.filters.truncation import cut_unfinished, truncation_fault
from pcclip.generation.filters.types import Accepted, Context, Limits, Reason, Rejected

_ROUNDS = 12
_LONGEST = 4000
_NOTHING = Context()


def clean(
    answer: str, limits: Limits, context: Context = _NOTHING, cut_off: bool = False
) -> Accepted | Rejected:
    """Cuts an answer to what it says about the pictures, and accepts or rejects that.

    What is accepted is accepted again, unchanged. Nothing is raised, whatever the answer is.

    Args:
        answer: As the model gave it.
        limits: How strict to be.
        context: What the model was shown; without it, echoes and copies are not seen.
        cut_off: The engine stopped the model at its most tokens (finish reason "length").
    """
    text, cuts, settled = _cut(answer[:_LONGEST], limits, context, cut_off)
    if not settled:
        return Rejected(answer, Reason.MARKUP, "marks within marks", text, cuts)
    for reason, fault in _faults(text, limits, context, cut_off):
        if fault is not None:
            return Rejected(answer, reason, fault, text, cuts)
    return Accepted(text, cuts)


def _cut(text: str, limits: Limits, context: Context, cut_off: bool) -> tuple[str, tuple[str, ...], bool]:
    """The text after all cuts, their names, and whether a further round would change nothing."""
    names: list[str] = []
    for _ in range(_ROUNDS):
        before = text
        for name, cut in CUTS.items():
            text = _apply(names, name, text, cut(text, context))
        text = _apply(names, "unfinished", text, cut_unfinished(text, limits, cut_off))
        if text == before:
            return text, tuple(dict.fromkeys(names)), True
    return text, tuple(dict.fromkeys(names)), False


def _apply(names: list[str], name: str, before: str, after: str) -> str:
    if before != after and before.split() != after.split():
        names.append(name)
    return after


def _faults(
    text: str, limits: Limits, context: Context, cut_off: bool
) -> Iterator[tuple[Reason, str | None]]:
    """What each rule finds, in the order in which a reader would rather be told of it."""
    yield Reason.EMPTY, None if any(map(str.isalpha, text)) else "no letter is left"
    yield Reason.MARKUP, markup_fault(text)
    yield Reason.CODE, code_fault(text, limits)
    yield Reason.REPETITION, repetition_fault(text, limits)
    yield Reason.NO_DIFFERENCE, same_fault(text) if limits.comparing else None
    yield Reason.REFUSAL, refusal_fault(text)
    copied = copy_fault(text, context, limits) if limits.comparing else equal_fault(text, context)
    yield Reason.COPIED_CAPTION, copied
    yield Reason.ECHO_OF_PROMPT, echo_fault(text, context, limits)
    yield Reason.NOT_LANGUAGE, language_fault(text, limits)
    yield Reason.TRUNCATED, truncation_fault(text, limits, context, cut_off)
    yield Reason.TOO_SHORT, f"{len(text)} characters" if len(text) < limits.min_chars else None
    yield Reason.TOO_LONG, f"{len(text)} characters" if len(text) > limits.max_chars else None
