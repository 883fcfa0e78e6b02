"""What a text is rated by: the criteria, their values, and one rating."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pcclip.generation.checks import Check, Verdict
from pcclip.generation.rows import Row
from pcclip.generation.writers.base import Answer

MAX_OBJECTS = 8


@dataclass(frozen=True)
class Criterion:
    """One question that is asked about a text.

    Args:
        name: In files and in a model's JSON.
        question: As people are asked.
        values: The possible answers, from best to worst, or from least to most where they are `ordinal`.
        words: What each value means, for people.
        good: The value that one wants; None where there is no such value.
        ordinal: Whether the values are a scale, whose distances count in kappa.
    """

    name: str
    question: str
    values: tuple[str, ...]
    words: tuple[str, ...]
    good: str | None = None
    ordinal: bool = False


CRITERIA = (
    Criterion(
        "follows",
        "Does what the text says follow from the pictures?",
        ("yes", "no"),
        ("all of it", "something in it is wrong or made up"),
        "yes",
    ),
    Criterion(
        "direction",
        "Is it the right way round: the FIRST picture against the second?",
        ("right", "reversed", "unclear"),
        ("first against second", "the two are swapped", "names no difference, or cannot be told"),
        "right",
    ),
    Criterion(
        "specific",
        "How specific is it?",
        ("1", "2", "3", "4", "5"),
        ("fits any two pictures", "vague", "one plain difference", "detailed", "only these two pictures"),
        ordinal=True,
    ),
    Criterion(
        "hallucinated",
        "Does it name objects that are in neither picture?",
        ("no", "yes"),
        ("none", "name them below"),
        "no",
    ),
)
NAMES = tuple(criterion.name for criterion in CRITERIA)


@dataclass(frozen=True)
class Rating:
    """What one rater says of one text.

    Args:
        values: Value by criterion; criteria that were left open are missing.
        objects: The objects that are not there.
        reason: In the rater's words.
    """

    values: Mapping[str, str]
    objects: tuple[str, ...] = ()
    reason: str = ""

    @property
    def contradictory(self) -> bool:
        """Whether it names objects that are not there and says that there are none, or the reverse."""
        return self.values.get("hallucinated") == ("no" if self.objects else "yes")

    def to_json(self) -> str:
        """As a model answers it."""
        specific = int(self.values["specific"])
        values = {**self.values, "specific": specific}
        return json.dumps({"reason": self.reason, "objects": self.objects} | values, ensure_ascii=False)


def is_sound(values: Mapping[str, str]) -> bool | None:
    """Whether a text follows, in the right direction, without hallucinations; None where that is open."""
    wanted = {criterion.name: criterion.good for criterion in CRITERIA if criterion.good is not None}
    if any(name in values and values[name] != good for name, good in wanted.items()):
        return False
    return True if all(name in values for name in wanted) else None


def badness(values: Mapping[str, str]) -> float:
    """0 for the best possible rating; a point for each criterion that fails, a part of one for vagueness."""
    missed = sum(c.good is not None and values.get(c.name, c.good) != c.good for c in CRITERIA)
    return missed + (5 - int(values.get("specific", "5"))) / 5


def parse_rating(text: str) -> Rating:
    """Reads a model's JSON.

    Raises:
        ValueError: It is no rating; the message says what is wrong in a few words.
    """
    try:
        raw: Any = json.loads(text, strict=False)
    except (ValueError, RecursionError) as error:
        raise ValueError("no JSON") from error
    if not isinstance(raw, dict):
        raise ValueError("no JSON object")
    values = {}
    for criterion in CRITERIA:
        value = raw.get(criterion.name)
        told = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if told not in criterion.values:
            raise ValueError(f"{criterion.name!r} is missing or has no such value")
        values[criterion.name] = told
    objects = raw.get("objects", [])
    if not isinstance(objects, list) or not all(isinstance(name, str) for name in objects):
        raise ValueError("'objects' is no list of texts")
    named = tuple(" ".join(name.split()) for name in objects if name.strip())
    reason = raw.get("reason", "")
    return Rating(values, named[:MAX_OBJECTS], reason.strip() if isinstance(reason, str) else "")


@dataclass
class RatingCheck(Check):
    """Takes answers that are ratings, whatever the engine's schema let through."""

    def __call__(self, answer: Answer, row: Row) -> Verdict:
        """Accepts a rating, in its canonical form."""
        try:
            return Verdict(parse_rating(answer.text).to_json())
        except ValueError as error:
            return Verdict(None, f"not a rating: {error}")
