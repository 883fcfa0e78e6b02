"""Sentences that state two differences at once: are they the sum of their parts?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import ClassVar

import numpy as np

from pcclip.errors import PcclipError
from pcclip.evaluation.encoding.encoders import CachedEncoders, unit
from pcclip.evaluation.protocol import EvaluationProtocol, Results, Subject
from pcclip.evaluation.protocols.clustered import clustered_means
from pcclip.evaluation.questions import Question
from pcclip.evaluation.statistics import Statistic


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
                found = _sums(subject.encoders, of_suffix)
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


def _sums(encoders: CachedEncoders, cases: Sequence[_Combined]) -> dict[str, Statistic]:
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
    return clustered_means(columns, first, second)
