"""Arithmetic in the text space: analogies, and sentences that state two differences at once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import ClassVar

import numpy as np

from pcclip.errors import PcclipError
from pcclip.evaluation.clustered import clustered_means
from pcclip.evaluation.encoders import CachedEncoders, unit
from pcclip.evaluation.protocol import EvaluationProtocol, Results, Subject
from pcclip.evaluation.questions import Question
from pcclip.evaluation.sets import EvaluationSet
from pcclip.evaluation.statistics import Doubles, Floats, Indices, Statistic

_ROWS = 4096  # analogies compared with all candidates at once


@dataclass(frozen=True)
class Analogies(EvaluationProtocol):
    """Completes "class 1 with value v is to class 1 with value w as ... is to class 2 with value w".

    A class c with the value v of a question has the text T(c, v), as "forest, a dark photo". The answer to
    T(1, v) - T(1, w) + T(2, w) is the nearest of the texts of all classes and all values, without the three
    that were given (Mikolov et al. 2013); right is T(2, v). Metrics, S being the set's name:

    - `geometry/S/analogy/accuracy`; a tie scores the chance of a fair draw;
    - `geometry/S/analogy/nearest`: the same of the nearest to T(2, w) itself, without the offset: what the
      closeness of the texts gives away (Linzen 2016);
    - `geometry/S/analogy/offset_cosine`: cos(T(1, v) - T(1, w), T(2, v) - T(2, w)).

    Intervals resample the classes.

    Attributes:
        composition: Text of a class and a value, with `{name}` and `{phrase}`.
        questions: Attributes that are asked about; null for all questions but those with a value that is
            named in a class (the colour of "red circle"), since "a red circle, a blue object" is nothing.
        analogies: Analogies for each question, by a fair draw where there are more.
        seed: Of the draw, which depends on names and not on their order.
    """

    name: ClassVar[str] = "geometry"

    composition: str = "{name}, {phrase}"
    questions: tuple[str, ...] | None = None
    analogies: int = 2000
    seed: int = 0

    def run(self, subject: Subject) -> Results:
        """Asks all analogies.

        Raises:
            PcclipError: The set has no two classes, or no question that can be put together with them.
        """
        data = subject.data
        if "{name}" not in self.composition or "{phrase}" not in self.composition:
            raise PcclipError(f"geometry: {self.composition!r} should have {{name}} and {{phrase}}")
        classes, questions = sorted(data.classes), self._questions(data)
        if len(classes) < 2 or not questions:
            raise PcclipError(
                f"{data.path}: has no two classes, or no question about anything but the classes, so there "
                "are no analogies to ask. Name 'questions', or leave this evaluation out."
            )
        phrases = [[question.phrases[value] for value in sorted(question.phrases)] for question in questions]
        texts = [
            self.composition.replace("{name}", name).replace("{phrase}", phrase)
            for name in classes
            for of_question in phrases
            for phrase in of_question
        ]
        rows_CVD = subject.encoders.texts(texts).reshape(len(classes), sum(map(len, phrases)), -1)
        parts = []
        start = 0
        for question, of_question in zip(questions, phrases, strict=True):
            parts.append(
                self._draw(question.attribute, len(classes), len(of_question)) + [[0], [0], [start], [start]]
            )
            start += len(of_question)
        cases = np.concatenate(parts, axis=1)
        found = clustered_means(_complete(rows_CVD, cases), len(classes), cases[0], cases[1])
        statistics = {f"{self.name}/{data.name}/analogy/{score}": one for score, one in found.items()}
        return Results(data.evaluated, len(data), {}, {}, statistics=statistics)

    def _questions(self, data: EvaluationSet) -> list[Question]:
        asked = {question.attribute: question for question in data.questions}
        if self.questions is not None:
            strange = sorted(set(self.questions) - asked.keys())
            if strange:
                raise PcclipError(
                    f"{data.path}: has no question about {strange[0]!r}, only {', '.join(asked)}"
                )
            return [asked[attribute] for attribute in sorted(set(self.questions))]
        words = {word for name in data.classes for word in (name, *name.split())}
        return [
            asked[attribute]
            for attribute in sorted(asked)
            if asked[attribute].kind == "degree" or not words & asked[attribute].phrases.keys()
        ]

    def _draw(self, attribute: str, classes: int, values: int) -> Indices:
        """(4, n): class 1, class 2, value v, value w; classes and values differ."""
        total = classes * (classes - 1) * values * (values - 1)
        digest = int.from_bytes(hashlib.sha256(attribute.encode()).digest()[:8], "little")
        rng = np.random.default_rng([self.seed, digest])
        chosen = (
            rng.choice(total, self.analogies, replace=False) if total > self.analogies else np.arange(total)
        )
        class1, class2, v, w = np.unravel_index(chosen, (classes, classes - 1, values, values - 1))
        return np.stack([class1, class2 + (class2 >= class1), v, w + (w >= v)]).astype(np.int64)


def _complete(rows_CVD: Floats, cases: Indices) -> dict[str, Doubles]:
    """Scores of each analogy (class 1, class 2, value v, value w)."""
    class1, class2, v, w = cases
    values = rows_CVD.shape[1]
    candidates = rows_CVD.reshape(-1, rows_CVD.shape[2])
    given = np.stack([class1 * values + v, class1 * values + w, class2 * values + w], axis=1)
    right = class2 * values + v
    columns = {score: np.empty(len(right)) for score in ("accuracy", "nearest", "offset_cosine")}
    for start in range(0, len(right), _ROWS):
        block = slice(start, start + _ROWS)
        one, other, origin = (candidates[given[block, k]] for k in range(3))
        offset = one - other
        columns["accuracy"][block] = _nearest(offset + origin, candidates, given[block], right[block])
        columns["nearest"][block] = _nearest(origin, candidates, given[block], right[block])
        wanted = candidates[right[block]] - origin
        columns["offset_cosine"][block] = np.einsum("nd,nd->n", unit(offset), unit(wanted))
    return columns


def _nearest(queries: Floats, candidates: Floats, given: Indices, right: Indices) -> Doubles:
    similarity = queries @ candidates.T
    np.put_along_axis(similarity, given, -np.inf, axis=1)
    own = np.take_along_axis(similarity, right[:, None], axis=1)
    tied = (similarity == own).sum(axis=1)
    return np.where((similarity > own).any(axis=1), 0.0, 1 / tied)


@dataclass(frozen=True)
class Linearity(EvaluationProtocol):
    """Compares a sentence that states two differences with the sum of the two sentences that state one each.

    Two questions about a degree are combined in the wordings that they share: "picture one is larger and
    darker than picture two". Metrics, S being the set's name (`S-unseen` with the held-out wordings), p and q
    the two sentences and s their combination:

    - `geometry/S/linearity/cosine`: cos(f(s), f(p) + f(q)); 1 where f is linear;
    - `geometry/S/linearity/cosine_wrong`: the same with one of the two reversed ("larger and brighter");
    - `geometry/S/linearity/cosine_one`: cos(f(s), f(p)), the mean of both parts. Where it is no less than
      the first, the sum says nothing that one part does not say;
    - `geometry/S/linearity/accuracy`: whether of the four sums, both parts forward or reversed, the right one
      is the nearest; chance is 1/4.

    Intervals resample the questions; there is none for fewer than three.

    Attributes:
        conjunction: How two comparatives are joined, with two `{}`.
        question_pairs: Pairs of questions taken, by a fair draw; null for all.
        seed: Of the draw, which depends on names and not on their order.
    """

    name: ClassVar[str] = "geometry"

    conjunction: str = "{} and {}"
    question_pairs: int | None = 100
    seed: int = 0

    def run(self, subject: Subject) -> Results:
        """Combines all pairs of questions.

        Raises:
            PcclipError: No two questions of the set share a wording.
        """
        data = subject.data
        asked = sorted((q for q in data.questions if q.kind == "degree"), key=lambda q: q.attribute)
        cases = {
            suffix: self._cases(asked, held_out) for suffix, held_out in (("", False), ("-unseen", True))
        }
        if not any(cases.values()):
            raise PcclipError(
                f"{data.path}: no two questions about a degree share a wording, so there is nothing to "
                "combine. Leave this evaluation out."
            )
        statistics: dict[str, Statistic] = {}
        for suffix, of_suffix in cases.items():
            if of_suffix:
                found = _sums(subject.encoders, of_suffix, len(asked))
                prefix = f"{self.name}/{data.name}{suffix}/linearity"
                statistics |= {f"{prefix}/{score}": one for score, one in found.items()}
        return Results(data.evaluated, len(data), {}, {}, statistics=statistics)

    def _cases(self, asked: Sequence[Question], held_out: bool) -> list[_Combined]:
        texts = [{w.text for w in question.wordings if w.held_out == held_out} for question in asked]
        pairs = [(i, j) for i, j in combinations(range(len(asked)), 2) if texts[i] & texts[j]]
        if self.question_pairs is not None and self.question_pairs < len(pairs):
            rng = np.random.default_rng(self.seed)
            pairs = [pairs[k] for k in np.sort(rng.choice(len(pairs), self.question_pairs, replace=False))]
        return [
            _combine(self.conjunction, text, asked, (i, j), signs)
            for i, j in pairs
            for text in sorted(texts[i] & texts[j])
            for signs in product((1, -1), repeat=2)
        ]


@dataclass(frozen=True)
class _Combined:
    """A sentence about two attributes, and the sentences about each, forward and reversed."""

    questions: tuple[int, int]
    text: str
    first: tuple[str, str]
    second: tuple[str, str]


def _combine(
    conjunction: str, text: str, asked: Sequence[Question], pair: tuple[int, int], signs: tuple[int, ...]
) -> _Combined:
    words = [
        (asked[number].more, asked[number].less)[::sign] for number, sign in zip(pair, signs, strict=True)
    ]
    (more1, less1), (more2, less2) = words
    return _Combined(
        pair,
        text.format(more=conjunction.format(more1, more2), less=conjunction.format(less1, less2)),
        (text.format(more=more1, less=less1), text.format(more=less1, less=more1)),
        (text.format(more=more2, less=less2), text.format(more=less2, less=more2)),
    )


def _sums(encoders: CachedEncoders, cases: Sequence[_Combined], questions: int) -> dict[str, Statistic]:
    whole = encoders.texts([case.text for case in cases])
    part1 = [encoders.texts([case.first[k] for case in cases]) for k in range(2)]
    part2 = [encoders.texts([case.second[k] for case in cases]) for k in range(2)]
    along = np.stack(
        [np.einsum("nd,nd->n", whole, unit(part1[i] + part2[j])) for i, j in product(range(2), repeat=2)]
    ).astype(np.float64)
    ones = [np.einsum("nd,nd->n", whole, part[0]) for part in (part1, part2)]
    tied = (along == along[0]).sum(axis=0)
    columns = {
        "cosine": along[0],
        "cosine_wrong": (along[1] + along[2]) / 2,
        "cosine_one": np.mean(ones, axis=0, dtype=np.float64),
        "accuracy": np.where((along > along[0]).any(axis=0), 0.0, 1 / tied),
    }
    first, second = (np.array([case.questions[k] for case in cases], np.int64) for k in range(2))
    return clustered_means(columns, questions, first, second)
