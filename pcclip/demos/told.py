"""What captions of the shapes world tell of a picture, and in what two pictures differ by their captions.

A language model that is given captions can only write truly about what these tell: a picture's `size`, for
instance, is told only where a caption says "large" or "small".
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

from pcclip.data.sources.shapes_drawing import BACKGROUNDS, COLOURS, KINDS

Known = str | tuple[float, float]
"""A value of kind, or the closed range that a value of degree lies in."""

SEVERAL = "objects"
"""1 where captions show a single object, 2 where they show several: they always tell that."""

_EVERYTHING = (-math.inf, math.inf)
# Words and the ranges that the world's captions use them for.
_RANGES: dict[str, tuple[tuple[str, tuple[float, float]], ...]] = {
    "size": (
        (r"small|little|tiny", (-math.inf, 0.235)),
        (r"medium-sized", (0.235, 0.295)),
        (r"large|big", (0.295, math.inf)),
    ),
    "brightness": ((r"dark|dim", (-math.inf, 0.6)), (r"bright|light", (0.8, math.inf))),
    "number": (
        (r"(?:a|an|one|single) (?:[a-z-]+ )*(?:THING)", (1, 1)),
        (r"two", (2, 2)),
        (r"three", (3, 3)),
        (r"four", (4, 4)),
        (r"several|group", (3, math.inf)),
        (r"(?:THING)s", (2, math.inf)),
    ),
    "horizontal": ((r"left", (0, 0.42)), (r"middle|centre", (0.42, 0.58)), (r"right", (0.58, 1))),
    "vertical": ((r"bottom", (0, 0.42)), (r"middle|centre", (0.42, 0.58)), (r"top", (0.58, 1))),
}
_THING = "|".join((*KINDS, "object", "shape"))
_WORDS = {
    name: [(re.compile(rf"\b(?:{words.replace('THING', _THING)})\b"), span) for words, span in ranges]
    for name, ranges in _RANGES.items()
}
_VALUES = {
    "kind": re.compile(rf"\b({'|'.join(KINDS)})s?\b"),
    "colour": re.compile(rf"\b({'|'.join(COLOURS)})\b"),
    "background": re.compile(rf"\b({'|'.join(BACKGROUNDS)}) (?:back)?ground\b"),
}


def told(captions: Iterable[str]) -> dict[str, Known]:
    """What all captions of a picture together tell of its attributes."""
    text = "\n".join(captions)
    known: dict[str, Known] = {}
    for name, pattern in _VALUES.items():
        if found := pattern.search(text):
            known[name] = found.group(1)
    for name, words in _WORDS.items():
        spans = [_EVERYTHING, *(span for pattern, span in words if pattern.search(text))]
        known[name] = (max(low for low, _ in spans), min(high for _, high in spans))
    return known


def differing(captions1: Iterable[str], captions2: Iterable[str]) -> set[str]:
    """The attributes in which two pictures surely differ by their captions."""
    one, two = told(captions1), told(captions2)
    found = set()
    for name in one.keys() & two.keys():
        a, b = one[name], two[name]
        if isinstance(a, str) or isinstance(b, str):
            apart = a != b
        else:
            apart = a[1] < b[0] or b[1] < a[0] or (a != b and (a[1] == b[0] or b[1] == a[0]))
        if apart:
            found.add(name)
    return found


def told_values(
    values: Mapping[str, float | str], captions: Iterable[str], names: Iterable[str]
) -> dict[str, float | str]:
    """The known values of some attributes, with `SEVERAL` as the captions tell it.

    Args:
        values: All that is known of the picture.
        captions: Of the picture.
        names: Which attributes may be spoken of.
    """
    number = told(captions)["number"]
    return {name: values[name] for name in names} | {SEVERAL: 1 if number == (1, 1) else 2}
