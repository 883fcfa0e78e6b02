"""Pairs of pictures with a text that says how they differ: from a set's questions, or from triple shards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pcclip.data.records import Triple, stable_hash
from pcclip.data.shards import ShardIndex, resolve_shards
from pcclip.errors import PcclipError
from pcclip.evaluation.protocols.pair_draws import chance, sample_pairs
from pcclip.evaluation.questions import Question
from pcclip.evaluation.sets import EvaluationSet
from pcclip.evaluation.statistics import Doubles, Indices

Truth = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Claim:
    """What sentences of a question say about an ordered pair of pictures, in whatever words.

    Attributes:
        question: Whose.
        names: Value of the first and of the second picture, as `Question.statement` takes them.
        sides: The same as numbers: of the values of a category; (1, 0) for the greater first (degree).
    """

    question: Question
    names: tuple[str, str]
    sides: tuple[float, float]

    def holds(self, first: Doubles, second: Doubles) -> Truth:
        """Whether it is true of pictures with these values of the attribute; arrays that broadcast."""
        if self.question.kind == "category":
            return (first == self.sides[0]) & (second == self.sides[1])
        greater, smaller = (first, second) if self.sides[0] else (second, first)
        return greater - smaller > self.question.margin

    def phrases(self) -> tuple[str, str]:
        """The plain phrase for the first picture, and for the second."""
        return self.question.phrases[self.names[0]], self.question.phrases[self.names[1]]


@dataclass(frozen=True)
class QuestionCases:
    """The pairs of one question.

    Attributes:
        question: Whose.
        first: (P,) picture index.
        second: (P,) picture index.
        claims: What is true of at least one pair.
        claim: (P,) index into `claims`.
        texts: (P,) a sentence per pair, its wording drawn by chance; by whether that is held out. Empty where
            the question has no such wording.
        values: (N,) the attribute of all pictures of the set.
    """

    question: Question
    first: Indices
    second: Indices
    claims: tuple[Claim, ...]
    claim: Indices
    texts: dict[bool, list[str]]
    values: Doubles


def draw_pictures(data: EvaluationSet, count: int, seed: int) -> Indices:
    """Some pictures of a set, sorted by key; the choice depends on their keys alone."""
    by_chance = sorted(range(len(data)), key=lambda index: stable_hash(f"{seed} {data.keys[index]}"))
    return np.array(sorted(by_chance[:count], key=data.keys.__getitem__), np.int64)


def question_cases(
    data: EvaluationSet, question: Question, pictures: Indices, count: int, seed: int
) -> QuestionCases:
    """Draws the pairs of a question among some pictures, and a wording for each.

    Args:
        data: The set.
        question: One of its.
        pictures: Of which the pairs are made, in an order that does not depend on the set's.
        count: Pairs wanted; all, where there are fewer.
        seed: Of the draws.

    Raises:
        PcclipError: No two of the pictures differ by the question's margin.
    """
    values, names = data.values(question)
    pictures = pictures[np.isfinite(values[pictures])]
    rng = chance(seed, question.attribute)
    pairs = sample_pairs(values[pictures], question.margin, count, rng)
    if not len(pairs[0]):
        raise PcclipError(
            f"{data.path}: no two of {len(pictures)} pictures of split {data.split!r} differ in "
            f"{question.attribute!r} by more than {question.margin}. Raise the number of candidates, lower "
            "the margin or drop the question."
        )
    first, second = pictures[pairs[0]], pictures[pairs[1]]
    sides = np.stack([values[first], values[second]], axis=1)
    if not names:
        names, sides = ("negative", "positive"), (sides > sides[:, ::-1]).astype(np.float64)
    kinds, claim = np.unique(sides, axis=0, return_inverse=True)
    claims = tuple(Claim(question, (names[int(a)], names[int(b)]), (a, b)) for a, b in kinds.tolist())
    claim = claim.reshape(-1)
    texts: dict[bool, list[str]] = {}
    for held_out in (False, True):
        wordings = [wording for wording in question.wordings if wording.held_out == held_out]
        drawn = rng.integers(0, max(1, len(wordings)), len(claim))
        texts[held_out] = [
            question.statement(wordings[number], *claims[kind].names)
            for number, kind in zip(drawn, claim, strict=True)
            if wordings
        ]
    return QuestionCases(question, first, second, claims, claim, texts, values)


@dataclass(frozen=True)
class TripleCases:
    """Pairs and texts from triple shards.

    Attributes:
        first: (P,) picture index.
        second: (P,) picture index.
        texts: (P,) how the first differs from the second.
        absent: Triples of which a picture is not in the set; they are left out.
    """

    first: Indices
    second: Indices
    texts: list[str]
    absent: int


def triple_cases(data: EvaluationSet, folder: str, count: int, seed: int) -> TripleCases:
    """Reads triples, at most `count`, chosen by their keys.

    Raises:
        PcclipError: There are none, or none of two pictures of the set, or one is broken.
    """
    numbers = {key: index for index, key in enumerate(data.keys)}
    triples: list[Triple] = []
    read = 0
    for path in resolve_shards(folder):
        shard = ShardIndex.load(path)
        for record, key in enumerate(shard.keys):
            triple = Triple.parse(key, shard.read(record, "json"), shard.path)
            read += 1
            if triple.image1 in numbers and triple.image2 in numbers:
                triples.append(triple)
    if not triples:
        raise PcclipError(
            f"{folder}: none of its {read} triples is of two pictures of {data.path}, split {data.split!r}. "
            "Name the triples of that split."
        )
    triples.sort(key=lambda triple: stable_hash(f"{seed} {triple.key}"))
    absent, triples = read - len(triples), triples[:count]
    return TripleCases(
        np.array([numbers[triple.image1] for triple in triples]),
        np.array([numbers[triple.image2] for triple in triples]),
        [triple.difference for triple in triples],
        absent,
    )
