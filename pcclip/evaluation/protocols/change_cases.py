"""Pictures of which one attribute is to change, the words for it, and which other pictures show that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pcclip.evaluation.protocols.difference_cases import Claim, Truth
from pcclip.evaluation.protocols.pair_draws import chance
from pcclip.evaluation.questions import Question
from pcclip.evaluation.sets import EvaluationSet
from pcclip.evaluation.statistics import Doubles, Indices


@dataclass(frozen=True)
class ChangeCases:
    """Q pictures that are to change in the attribute of one question.

    Attributes:
        question: Whose.
        first: (Q,) picture index.
        claims: What is true of some changed picture (first) against the picture itself (second).
        claim: (Q,) index into `claims`.
        right: (Q, G) whether a candidate shows the change and everything else the same; some do.
        texts: (Q,) sentences by whether their wording, drawn by chance, is held out: how the changed picture
            differs from the picture, and how the picture differs from the changed one. Empty where the
            question has no such wording.
    """

    question: Question
    first: Indices
    claims: tuple[Claim, ...]
    claim: Indices
    right: Truth
    texts: dict[bool, list[tuple[str, str]]]


@dataclass(frozen=True)
class Others:
    """What stays while one attribute changes: the attributes of all questions.

    Attributes:
        values: (N,) by attribute, of all pictures of the set.
        names: Names of the values of a category, by attribute.
        tolerances: Two pictures are the same in an attribute if their values differ by at most this.
    """

    values: dict[str, Doubles]
    names: dict[str, tuple[str, ...]]
    tolerances: dict[str, float]

    @classmethod
    def of(cls, data: EvaluationSet, tolerance: float) -> Others:
        """The attributes of a set.

        Args:
            data: The set.
            tolerance: In margins of each question about a degree; categories are to be equal.
        """
        found = {question.attribute: data.values(question) for question in data.questions}
        return cls(
            {name: values for name, (values, _) in found.items()},
            {name: names for name, (_, names) in found.items()},
            {question.attribute: tolerance * question.margin for question in data.questions},
        )

    def same(self, pictures: Indices, but: str) -> Truth:
        """(G, G) whether two pictures are the same in all attributes but one; not where one is unknown."""
        same = np.ones((len(pictures), len(pictures)), np.bool_)
        for name, values in self.values.items():
            if name != but:
                of = values[pictures]
                same &= np.abs(of[:, None] - of) <= self.tolerances[name]
        return same


def change_cases(
    data: EvaluationSet, question: Question, others: Others, pictures: Indices, count: int, seed: int
) -> ChangeCases | None:
    """Draws pictures of which some other picture is a changed one, and a wording for each.

    A picture comes once for each of its changes (larger, smaller; each value of a category) that some
    candidate shows.

    Args:
        data: The set.
        question: One of its.
        others: The attributes of the set.
        pictures: (G,) candidates, of which the queries are drawn too, in an order that does not depend on
            the set's.
        count: Queries wanted; all, where there are fewer.
        seed: Of the draws.

    Returns:
        None where no picture is a changed one of another.
    """
    values = others.values[question.attribute][pictures]
    apart = np.abs(values[:, None] - values) > question.margin
    picture, changed = np.nonzero(apart & others.same(pictures, question.attribute))
    if not len(picture):
        return None
    sides = np.stack([values[changed], values[picture]])
    names = others.names[question.attribute]
    if not names:
        names, sides = ("negative", "positive"), (sides > sides[::-1]).astype(np.float64)
    asked, of = np.unique(np.concatenate([picture[None], sides]), axis=1, return_inverse=True)
    rng = chance(seed, question.attribute)
    drawn = np.sort(rng.choice(asked.shape[1], min(count, asked.shape[1]), replace=False))
    right = np.zeros((len(drawn), len(pictures)), np.bool_)
    place = np.full(asked.shape[1], -1)
    place[drawn] = np.arange(len(drawn))
    rows = place[of.reshape(-1)]
    right[rows[rows >= 0], changed[rows >= 0]] = True
    kinds, claim = np.unique(asked[1:, drawn], axis=1, return_inverse=True)
    claims = tuple(Claim(question, (names[int(a)], names[int(b)]), (a, b)) for a, b in kinds.T.tolist())
    claim = claim.reshape(-1)
    texts = {
        held_out: _texts(question, held_out, [claims[c] for c in claim], rng) for held_out in (False, True)
    }
    return ChangeCases(question, pictures[asked[0, drawn].astype(np.int64)], claims, claim, right, texts)


def _texts(
    question: Question, held_out: bool, claims: Sequence[Claim], rng: np.random.Generator
) -> list[tuple[str, str]]:
    wordings = [wording for wording in question.wordings if wording.held_out == held_out]
    drawn = rng.integers(0, max(1, len(wordings)), len(claims))
    return [
        (
            question.statement(wordings[number], *claim.names),
            question.statement(wordings[number], *claim.names[::-1]),
        )
        for number, claim in zip(drawn, claims, strict=True)
        if wordings
    ]
