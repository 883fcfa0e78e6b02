"""Words for what differs: attributes of degree and of kind, and names for the two pictures of a pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class NounPhrase:
    """Something that a picture shows, with a slot `{w}` for the word that says how it differs.

    Args:
        one: The phrase for one object, such as `"a {w} object"`; None where only the plural makes sense.
        many: The phrase for several objects, such as `"{w} objects"`; None where the phrase has no plural.
    """

    one: str | None
    many: str | None = None

    def choose(self, several: bool) -> tuple[str, bool]:
        """Returns the template for one or several objects, and whether it is plural."""
        if self.many is not None and (several or self.one is None):
            return self.many, True
        assert self.one is not None
        return self.one, False


@dataclass(frozen=True)
class Term:
    """A pair of opposite comparatives and the phrases that they stand in.

    Args:
        more: The word for the picture with the larger value, such as "larger".
        less: The word for the picture with the smaller value, such as "smaller".
        shown: Noun phrases of what a picture shows ("a {w} object").
        predicate: What follows "is" ("{w}"), or "has" where `possessive`.
        one: What follows "is the" in "is the larger one"; singular and plural.
        possessive: The predicate is something that the subject has ("more objects"), not what it is.
    """

    more: str
    less: str
    shown: tuple[NounPhrase, ...]
    predicate: str = "{w}"
    one: tuple[str, str] = ("the {w} one", "the {w} ones")
    possessive: bool = False


@dataclass(frozen=True)
class Subject:
    """What a clause speaks of, as templates with a slot `{ref}` for the picture's name.

    Args:
        one: For one object ("the object in {ref}"), or for the picture itself ("{ref}").
        many: For several objects ("the objects in {ref}").
        again: For one object named a second time ("the one in {ref}").
        again_many: For several objects named a second time.
        inside: It is something in the picture, so that "larger than in picture two" is said, not "larger than
            picture two".
    """

    one: str = "{ref}"
    many: str | None = None
    again: str = "{ref}"
    again_many: str | None = None
    inside: bool = False

    def phrase(self, ref: str, several: bool, again: bool) -> tuple[str, bool]:
        """Returns the phrase for the picture called `ref`, and whether it is plural."""
        plural = several and self.many is not None
        if again:
            template = self.again_many if plural and self.again_many is not None else self.again
        else:
            template = self.many if plural and self.many is not None else self.one
        return template.format(ref=ref), plural


@dataclass(frozen=True)
class Degree:
    """An attribute with a number for each picture, such as size.

    Args:
        name: Its key in a picture's attributes.
        terms: The comparatives; evaluation uses the first.
        positive: A caption of a picture with a large value, for training-free baselines.
        negative: A caption of a picture with a small value.
        subjects: What clauses speak of; evaluation uses the first.
        topic: What changes from one picture to the other, singular ("the object").
        margin: The smallest difference that is talked about.
        margin_unit: `value`, or `deviation` for standard deviations over the training pictures.
    """

    name: str
    terms: tuple[Term, ...]
    positive: str
    negative: str
    subjects: tuple[Subject, ...] = (Subject(),)
    topic: str = "the picture"
    margin: float = 0.0
    margin_unit: Literal["value", "deviation"] = "value"


@dataclass(frozen=True)
class Category:
    """An attribute with one of several values for each picture, such as colour.

    Args:
        name: Its key in a picture's attributes.
        values: The values, as they stand in texts.
        shown: Noun phrases of what a picture shows, with `{w}` for the value; evaluation uses the first.
        caption: A caption of a picture with the value `{w}`, for training-free baselines.
    """

    name: str
    values: tuple[str, ...]
    shown: tuple[NounPhrase, ...]
    caption: str = field(default="{w}")


Attribute = Degree | Category


@dataclass(frozen=True)
class References:
    """How a text calls the two pictures.

    Args:
        first: Name of image1.
        second: Name of image2.
        short: Shorter names for the one that is named last, or None for the same names again.
        other: A name of the one that is named last, whichever it is ("the other"), or None.
    """

    first: str
    second: str
    short: tuple[str, str] | None = None
    other: str | None = None


def references(nouns: Sequence[str]) -> tuple[References, ...]:
    """Ways to call two pictures, given the words for a picture ("picture", "photo")."""
    found: list[References] = []
    for noun in nouns:
        short = ("the first", "the second")
        found.append(References(f"the first {noun}", f"the second {noun}", short, "the other"))
        found.append(References(f"the first {noun}", f"the second {noun}", short, f"the other {noun}"))
        found.append(References(f"{noun} one", f"{noun} two"))
        found.append(References(f"{noun} 1", f"{noun} 2"))
        found.append(References(f"{noun} A", f"{noun} B"))
    found.append(References("the first", "the second", None, "the other"))
    found.append(References("the first one", "the second one", short, "the other one"))
    found.append(References("the former", "the latter"))
    return tuple(found)
