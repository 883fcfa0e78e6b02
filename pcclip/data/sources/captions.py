"""Captions as people and crawlers leave them: which are texts, and what is counted of the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

_ENDS = " \t\r\n"


def usable(captions: Iterable[Any], skipped: Counter[str]) -> tuple[str, ...]:
    """The captions that are texts, unchanged but for white space at their ends.

    Args:
        captions: Whatever a file holds.
        skipped: Counts the others, by reason.
    """
    found = []
    for caption in captions:
        if caption is None or caption != caption:  # NaN, a table's empty cell, is not equal to itself
            skipped["caption empty"] += 1
        elif not isinstance(caption, str):
            skipped["caption is no text"] += 1
        elif not caption.isascii() and any("\ud800" <= c <= "\udfff" for c in caption):
            skipped["caption is no valid Unicode"] += 1
        elif caption.isspace() or not caption:
            skipped["caption empty"] += 1
        else:
            found.append(caption.strip(_ENDS))
    return tuple(found)


def told(skipped: Counter[str], kind: str) -> str:
    """The counts of "picture ..." or "caption ..." as words, such as "4,717 (file missing)"."""
    counts = {why.removeprefix(kind).strip(): n for why, n in skipped.items() if why.startswith(kind) and n}
    return ", ".join(f"{n:,} ({why})" for why, n in sorted(counts.items()))
