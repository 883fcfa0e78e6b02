"""Whether a model declines, asks back or finds no difference, instead of telling one (English)."""

from __future__ import annotations

from pcclip.generation.filters.phrases import EXCEPT, REFUSAL, REFUSAL_WORDS, SAME, SAME_WORDS
from pcclip.generation.filters.text import is_question, plain, sentences, word_kinds


def refusal_fault(text: str) -> str | None:
    """The words in which the model declines or asks back; None: there are none."""
    match = None if REFUSAL_WORDS.isdisjoint(word_kinds(text)) else REFUSAL.search(plain(text))
    if match:
        return f"{match.group().strip()[:40]!r}"
    return "a question" if is_question(text) else None


def same_fault(text: str) -> str | None:
    """The words in which a text says that nothing differs; None: it does not, or names an exception."""
    if SAME_WORDS.isdisjoint(word_kinds(text)):
        return None
    match = SAME.search(plain(sentences(text)[0]))
    return f"{match.group().strip()[:40]!r}" if match and not EXCEPT.search(plain(text)) else None
