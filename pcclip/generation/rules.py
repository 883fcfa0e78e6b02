"""Writes how two pictures differ from what is known about them: no model, the same text every time."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pcclip.generation.clauses import Named, fill_category, fill_degree, shown_phrase
from pcclip.generation.compositions import CATEGORY_COMPOSED, DEGREE_COMPOSED
from pcclip.generation.vocabulary import Attribute, Category, Degree, NounPhrase, References, Term
from pcclip.generation.wordings import (
    CATEGORY_TRAINING,
    DEGREE_TRAINING,
    LIST_TRAINING,
    Frame,
)

Values = Mapping[str, float | str]

_BARE_SHARE = 0.18
_COMPOSED_SHARE = 0.75
_JOINTS = ("; ", ". ", ", and ")
_NOTHING = NounPhrase("")


def material() -> dict[str, Any]:
    """What decides the texts besides a writer's settings, for the fingerprint of a recipe."""
    frames = (*DEGREE_TRAINING, *DEGREE_COMPOSED, *CATEGORY_TRAINING, *CATEGORY_COMPOSED)
    return {
        "frames": [asdict(frame) for frame in frames],
        "lists": LIST_TRAINING,
        "shares": {"bare": _BARE_SHARE, "composed": _COMPOSED_SHARE},
    }


@dataclass(frozen=True)
class Written:
    """A difference text and how it came about.

    Args:
        text: How image1 differs from image2.
        attributes: What it speaks of.
        frames: The names of its frames.
    """

    text: str
    attributes: tuple[str, ...]
    frames: tuple[str, ...]


@dataclass(frozen=True)
class RuleWriter:
    """Writes differences from attributes, in the training frames.

    Args:
        attributes: What can differ, with words; margins in units of the values.
        references: Ways to call the two pictures.
        seed: With the pair's key it decides every choice.
        clause_shares: Shares of texts with one, two, three ... differences.
        category_weight: How often an attribute of kind is spoken of, relative to one of degree. Kinds nearly
            always differ, so that at equal weights they would crowd out the degrees.
        count: The attribute that says how many objects a picture shows, for "object" or "objects".
    """

    attributes: Sequence[Attribute]
    references: Sequence[References]
    seed: int
    clause_shares: Sequence[float] = (0.6, 0.28, 0.12)
    category_weight: float = 0.4
    count: str = "number"

    def differing(self, image1: Values, image2: Values) -> list[Attribute]:
        """The attributes in which two pictures differ by at least the margin."""
        return [attribute for attribute in self.attributes if differs(attribute, image1, image2)]

    def write(self, key: str, image1: Values, image2: Values) -> Written | None:
        """Writes how image1 differs from image2, or returns None where they differ in nothing.

        Args:
            key: Of the pair; with the seed it decides the wording.
            image1: Attributes of the first picture.
            image2: Attributes of the second picture.
        """
        candidates = self.differing(image1, image2)
        if not candidates:
            return None
        # Seeding by a text goes through sha512: the same on every machine and in every Python.
        rng = random.Random(f"{self.seed}/{key}")
        wanted = rng.choices(range(1, len(self.clause_shares) + 1), self.clause_shares)[0]
        chosen = self._choose(rng, candidates, wanted)
        pair = _Pair(rng, image1, image2, rng.choice(self.references), self.count)
        names = tuple(attribute.name for attribute in chosen)
        mode = rng.random()
        if len(chosen) == 1:
            text, frame = pair.clause(chosen[0], rng.choice((1, 2)), bare=mode < _BARE_SHARE)
            return Written(text, names, (frame,))
        if mode < 0.5:
            subject = rng.choice((0, 1, 2))
            clauses = [pair.clause(a, subject or rng.choice((1, 2)), bare=False) for a in chosen]
            return Written(
                rng.choice(_JOINTS).join(text for text, _ in clauses),
                names,
                tuple(frame for _, frame in clauses),
            )
        if mode < 0.82:
            return Written(pair.listing(chosen, rng.choice((1, 2))), names, ("list",))
        return Written(pair.bare_list(chosen), names, ("bare-list",))

    def _choose(self, rng: random.Random, candidates: list[Attribute], wanted: int) -> list[Attribute]:
        left, chosen = list(candidates), list[Attribute]()
        while left and len(chosen) < wanted:
            weights = [self.category_weight if isinstance(a, Category) else 1.0 for a in left]
            chosen.append(left.pop(rng.choices(range(len(left)), weights)[0]))
        return chosen


def differs(attribute: Attribute, image1: Values, image2: Values) -> bool:
    """Whether two pictures differ in an attribute by at least its margin; False where a value is missing."""
    if attribute.name not in image1 or attribute.name not in image2:
        return False
    a, b = image1[attribute.name], image2[attribute.name]
    if isinstance(attribute, Category):
        return a != b
    return a != b and abs(float(a) - float(b)) >= attribute.margin


class _Pair:
    """The choices for one pair: its values, its names, its stream of random numbers."""

    def __init__(
        self, rng: random.Random, image1: Values, image2: Values, names: References, count: str
    ) -> None:
        self.rng = rng
        self.values = (image1, image2)
        self.names = names
        self.several = tuple(float(v.get(count, 1)) > 1 for v in self.values)

    def clause(self, attribute: Attribute, subject: int, bare: bool) -> tuple[str, str]:
        """One clause, and its frame's name; bare clauses are always about image1."""
        rng = self.rng
        subject = 1 if bare else subject
        if isinstance(attribute, Category):
            frame = self._frame(CATEGORY_TRAINING, CATEGORY_COMPOSED, "bare" if bare else "shown")
            words = self._values(attribute, subject)
            return fill_category(frame, words, self._named(subject), rng.choice(attribute.shown)), frame.name
        form = "bare" if bare else rng.choices(("predicate", "shown"), (0.55, 0.45))[0]
        frame = self._frame(DEGREE_TRAINING, DEGREE_COMPOSED, form)
        term = rng.choice(attribute.terms)
        text = fill_degree(
            frame,
            attribute,
            term,
            self._words(attribute, term, subject),
            self._named(subject),
            rng.choice(term.shown),
            rng.choice(attribute.subjects),
        )
        return text, frame.name

    def listing(self, attributes: Sequence[Attribute], subject: int) -> str:
        """Several differences in one sentence: "compared with y, x shows a larger object and a star"."""
        named = self._named(subject)
        frame = Frame("list", self.rng.choice(LIST_TRAINING).replace("{LIST}", "{{LIST}}"), "shown")
        sentence = fill_category(frame, ("", ""), named, _NOTHING)
        shown = [self._shown(attribute, subject) for attribute in attributes]
        return sentence.format(LIST=", ".join(shown[:-1]) + " and " + shown[-1])

    def bare_list(self, attributes: Sequence[Attribute]) -> str:
        """A list of image1's sides of the differences: "larger, darker, a star"."""
        parts = []
        for attribute in attributes:
            if isinstance(attribute, Degree) and self.rng.random() < 0.6:
                term = self.rng.choice(attribute.terms)
                parts.append(term.predicate.format(w=self._words(attribute, term, 1)[0]))
            else:
                parts.append(self._shown(attribute, 1))
        if self.rng.random() < 0.5:
            return ", ".join(parts)
        return ", ".join(parts[:-1]) + " and " + parts[-1]

    def _shown(self, attribute: Attribute, subject: int) -> str:
        several = self.several[subject - 1]
        choice = self.rng.randrange(60)
        if isinstance(attribute, Category):
            return shown_phrase(attribute, None, self._values(attribute, subject)[0], choice, several)
        term = self.rng.choice(attribute.terms)
        return shown_phrase(attribute, term, self._words(attribute, term, subject)[0], choice, several)

    def _frame(self, core: Sequence[Frame], composed: Sequence[Frame], form: str) -> Frame:
        frames = composed if form != "bare" and self.rng.random() < _COMPOSED_SHARE else core
        return self.rng.choice([frame for frame in frames if frame.form == form])

    def _named(self, subject: int) -> Named:
        draw = self.rng.random()
        return Named.of(
            self.names,
            subject,
            several=(self.several[0], self.several[1]),
            short=draw < 0.5,
            other=draw > 0.85,
            again=self.rng.random() < 0.4,
        )

    def _words(self, attribute: Degree, term: Term, subject: int) -> tuple[str, str]:
        """The comparatives of the subject and of the other picture."""
        x, y = (float(self.values[at][attribute.name]) for at in (subject - 1, 2 - subject))
        return (term.more, term.less) if x > y else (term.less, term.more)

    def _values(self, attribute: Category, subject: int) -> tuple[str, str]:
        x, y = (str(self.values[at][attribute.name]) for at in (subject - 1, 2 - subject))
        return x, y
