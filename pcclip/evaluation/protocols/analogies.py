"""Analogies between texts of classes with attributes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pcclip.errors import PcclipError
from pcclip.evaluation.encoding.encoders import unit
from pcclip.evaluation.protocol import EvaluationProtocol, Results, Subject
from pcclip.evaluation.protocols.clustered import clustered_means
from pcclip.evaluation.protocols.pair_draws import chance
from pcclip.evaluation.questions import Question
from pcclip.evaluation.sets import EvaluationSet
from pcclip.evaluation.statistics import Doubles, Floats, Indices

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
            Every class is encoded with every value of these.
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
        drawn: list[Indices] = []
        start = 0
        for question, of_question in zip(questions, phrases, strict=True):
            case = self._draw(question.attribute, len(classes), len(of_question))
            case[2:] += start  # place of the question's first value among all values
            start += len(of_question)
            drawn.append(case)
        cases = np.concatenate(drawn, axis=1)
        found = clustered_means(_complete(rows_CVD, cases), cases[0], cases[1])
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
        rng = chance(self.seed, attribute)
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
