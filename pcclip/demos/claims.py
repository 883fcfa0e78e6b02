"""Reads what a difference text of the shapes world claims, and judges it by the known attributes.

The reader knows words of comparison and English word order, not the frames that rules write in, so that it
reads a model's own wordings too. What it cannot read without guessing it refuses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pcclip.data.sources.shapes_drawing import BACKGROUNDS, COLOURS, KINDS

Values = Mapping[str, float | str]

_MORE = {
    "size": "larger|bigger",
    "number": "(?:more|a greater number of) (?:objects|shapes)|more crowded|fuller",
    "brightness": "brighter|lighter|more light",
    "horizontal": "(?:further|more) to the right|closer to the right",
    "vertical": "higher(?: up)?|closer to the top",
}
_LESS = {
    "size": "smaller|tinier",
    "number": "(?:fewer|a smaller number of) (?:objects|shapes)|less crowded|less full",
    "brightness": "darker|dimmer|less light",
    "horizontal": "(?:further|more) to the left|closer to the left",
    "vertical": "lower(?: down)?|closer to the bottom",
}
_KINDS = {"kind": KINDS, "colour": tuple(COLOURS), "background": BACKGROUNDS}
_SHOWN = {
    "kind": "(?:{w})s?",
    "colour": "(?:{w}) (?:object|shape)s?",
    "background": "(?:{w}) (?:back)?ground",
}
_PHRASE = re.compile(
    "|".join(
        [rf"\b(?P<more_{name}>{words})\b" for name, words in _MORE.items()]
        + [rf"\b(?P<less_{name}>{words})\b" for name, words in _LESS.items()]
        + [rf"\b(?P<is_{name}>{shown.format(w='|'.join(_KINDS[name]))})\b" for name, shown in _SHOWN.items()]
    )
)
_NOUN = "(?:picture|image)"
_NAME = re.compile(
    rf"\b(?:(?P<one>the first(?: {_NOUN}| one)?|{_NOUN} (?:one|1|A)|the former)"
    rf"|(?P<two>the second(?: {_NOUN}| one)?|{_NOUN} (?:two|2|B)|the latter)"
    rf"|(?P<other>the other(?: {_NOUN}| one)?))\b"
)
# After these a picture is named that the subject is compared with.
_COMPARED = re.compile(
    r"\b(?:than|compared with|compared to|in contrast to|in comparison with|relative to|against|unlike"
    r"|not like|differs from|from|and not)(?: in)?(?: the (?:object|shape|one)s? in)? $"
)
_DENIED = re.compile(r"\b(?:not|instead of|rather than)(?: an?)? $")
_FROM_TO = re.compile(r"(?:going )?from\b")
_SENTENCES = re.compile(r"[;.]\s+\S")


class Judgement(StrEnum):
    """What became of a text."""

    RIGHT = "right"
    WRONG = "wrong"
    UNREADABLE = "unreadable"


class Unreadable(Exception):
    """A text that cannot be read without guessing; the message says why."""


@dataclass(frozen=True)
class Claim:
    """What a text says of one picture.

    Args:
        attribute: Of the shapes world.
        picture: 1 or 2.
        says: `more`, `less`, or a value of kind.
        holds: False where the text denies it.
    """

    attribute: str
    picture: int
    says: str
    holds: bool = True

    def is_true(self, image1: Values, image2: Values) -> bool:
        """Whether the pictures' attributes agree."""
        mine, other = (image1, image2) if self.picture == 1 else (image2, image1)
        x, y = mine[self.attribute], other[self.attribute]
        if isinstance(x, str) or isinstance(y, str):
            return (x == self.says) is self.holds
        return x > y if self.says == "more" else x < y


def judge(text: str, image1: Values, image2: Values) -> tuple[Judgement, str | None]:
    """Judges a text by the attributes of both pictures.

    Returns:
        The judgement, and the attribute that is spoken of; None for unreadable texts.
    """
    try:
        claims = read(text)
    except Unreadable:
        return Judgement.UNREADABLE, None
    true = all(claim.is_true(image1, image2) for claim in claims)
    return Judgement.RIGHT if true else Judgement.WRONG, claims[0].attribute


def decisive(text: str) -> list[tuple[int, int]]:
    """Where a text says what differs, as places in it: its words of comparison and values of kind."""
    return [found.span() for found in _PHRASE.finditer(text)]


def read(text: str) -> list[Claim]:
    """Everything that a text claims, about one attribute.

    Raises:
        Unreadable: It says nothing, speaks of several attributes or in several sentences, or it does not show
            which picture is meant.
    """
    text = text.strip().rstrip(".")
    text = text[:1].lower() + text[1:]
    if _SENTENCES.search(text):
        raise Unreadable("several sentences")
    said = [(found.start(), *_said(found)) for found in _PHRASE.finditer(text)]
    names = _names(text)
    if len(attributes := {attribute for _, attribute, _ in said}) != 1:
        raise Unreadable(f"speaks of {len(attributes)} attributes")
    attribute = attributes.pop()
    denied = [says for at, _, says in said if _DENIED.search(text[:at])]
    plain = [says for at, _, says in said if not _DENIED.search(text[:at])]
    if len(plain) == 2 and not denied:
        order = "".join(
            kind for _, kind in sorted([(at, "s") for at, *_ in said] + [(at, "n") for at, _ in names])
        )
        told_apart = order in ("nsns", "snsn") or (order == "nnss" and _FROM_TO.match(text))
        if not told_apart or names[0][1] == names[1][1] or plain[0] == plain[1]:
            raise Unreadable("two things are said, but not one of each picture")
        return [Claim(attribute, names[at][1], plain[at]) for at in (0, 1)]
    if len(plain) != 1 or len(denied) > 1 or plain == denied or (denied and attribute not in _KINDS):
        raise Unreadable("says too much, or too little")
    subject = _subject(text, names)
    claims = [Claim(attribute, subject, plain[0])]
    for says in denied:  # "a star, not a ring" says what the other picture shows
        claims += [Claim(attribute, subject, says, holds=False), Claim(attribute, 3 - subject, says)]
    return claims


def _said(found: re.Match[str]) -> tuple[str, str]:
    """Attribute and claim of a phrase."""
    how, _, attribute = (found.lastgroup or "").partition("_")
    if how != "is":
        return attribute, how
    words = found.group().split()[0]
    return attribute, words if words in _KINDS[attribute] else words.removesuffix("s")


def _names(text: str) -> list[tuple[int, int]]:
    """Where pictures are named, and which."""
    found = [(match.start(), match.lastgroup) for match in _NAME.finditer(text)]
    known = {name for _, name in found} - {"other"}
    if len(found) > 2 or (found and not known):
        raise Unreadable("does not show which pictures are named")
    numbers = {"one": 1, "two": 2, "other": 2 if known == {"one"} else 1}
    return [(at, numbers[name or ""]) for at, name in found]


def _subject(text: str, names: list[tuple[int, int]]) -> int:
    """The picture that a text with one claim speaks of."""
    compared = [number for at, number in names if _COMPARED.search(text[:at])]
    subjects = [number for at, number in names if not _COMPARED.search(text[:at])]
    if len(subjects) > 1 or len(compared) > 1 or (subjects and subjects == compared):
        raise Unreadable("does not show which picture is the subject")
    if subjects:
        return subjects[0]
    if compared not in ([], [2]):  # without a subject image1 is meant
        raise Unreadable("compares with image1, but names no subject")
    return 1
