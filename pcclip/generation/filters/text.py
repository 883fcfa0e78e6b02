"""Words and sentences of an answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

# Every rule asks for the words of the same text: they are found once.
_remembered = lru_cache(maxsize=64)
END_MARKS = ".!?\u2026\u3002\uff01\uff1f\u061f\u0964"
_CLOSERS = "\"'\u201d\u2019\xbb)]}*_ \n"
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
# A full stop after these, or after a single letter, ends no sentence.
_ABBREVIATION = re.compile(
    r"\b(?:[a-z]|mr|mrs|ms|dr|st|vs|no|inc|jr|sr|etc|e\.g|i\.e|approx|fig)\.$", re.IGNORECASE
)
_NAMED = frozenset({"image", "picture", "photo", "photograph", "scene", "frame", "panel", "option"})
_LONGEST_ABBREVIATION = 12
_BOUNDARY = re.compile(r"(?<![.!?\u2026])[.!?\u2026]+[\"'\u201d\u2019)\]*_]*\s+(?=[^a-z\s])|\n+")


@_remembered
def plain(text: str) -> str:
    """The text in lower case, with one kind of apostrophe."""
    return text.lower().replace("\u2019", "'")


@_remembered
def words(text: str) -> tuple[str, ...]:
    """The words in lower case: runs of letters, with apostrophes inside."""
    return tuple(_WORD.findall(plain(text)))


@_remembered
def word_kinds(text: str) -> frozenset[str]:
    """The different words in lower case."""
    return frozenset(words(text))


@_remembered
def sentences(text: str) -> tuple[str, ...]:
    """The text in pieces that end with an end mark or a line break; joined they are the text."""
    pieces, start = [], 0
    for match in _BOUNDARY.finditer(text):
        end = match.end()
        before = text[max(start, end - _LONGEST_ABBREVIATION) : end].rstrip()
        if "\n" in match.group() or not _ABBREVIATION.search(before):
            pieces.append(text[start:end])
            start = end
    if start < len(text):
        pieces.append(text[start:])
    return tuple(pieces)


def has_end_mark(text: str) -> bool:
    """Whether a text ends with an end mark, perhaps inside of quotes or brackets."""
    return text.rstrip(_CLOSERS).endswith(tuple(END_MARKS))


def is_question(text: str) -> bool:
    """Whether a text ends with a question mark, perhaps inside of quotes or brackets."""
    return text.rstrip(_CLOSERS).endswith(("?", "\uff1f", "\u061f"))


def is_name(letter: str, before: str) -> bool:
    """Whether a single letter is a name after the word before it, as in "picture A"."""
    return len(letter) == 1 and (
        before.lower() in _NAMED or (letter.isupper() and before != "" and before[-1] not in ".!?:")
    )


def runs(items: Sequence[str], length: int) -> list[tuple[str, ...]]:
    """All runs of so many neighbouring items."""
    return list(zip(*(items[at:] for at in range(length)), strict=False))
