"""Difference-based classification: does a sentence point along the difference of two pictures?"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pcclip.errors import PcclipError
from pcclip.evaluation.encoders import unit
from pcclip.evaluation.protocol import EvaluationProtocol, Results, Subject
from pcclip.evaluation.questions import Question, Wording
from pcclip.evaluation.sets import EvaluationSet
from pcclip.evaluation.statistics import Doubles, Floats, Indices, Observations, Parts

WITH_WORDING = ("sign", "two_alternative")
WITHOUT_WORDING = ("text_difference", "absolute")


@dataclass(frozen=True)
class DifferenceClassification(EvaluationProtocol):
    """Scores sentences about ordered pairs of pictures (a, b) against d = unit(g(a) - g(b)).

    Four scores, each 1 for right, 0 for wrong and 1/2 for a tie:

    - `sign`: the sentence's embedding t has cos(t, d) > 0 (the published protocol);
    - `two_alternative`: cos(t, d) > cos(t', d), t' being the sentence about (b, a);
    - `text_difference` (training-free): (f(phrase of a) - f(phrase of b)) . d > 0;
    - `absolute`: each picture by itself against the attribute's phrase, then compared.

    Metrics, S being the set's name: `difference/S-ATTRIBUTE/SCORE` with the wordings seen in training,
    `difference/S-ATTRIBUTE-unseen/SCORE` with the held-out ones (for the two scores that read a wording),
    `difference/S-mean[-unseen]/SCORE` over attributes, and `difference/S-wording-ID[-unseen]/two_alternative`
    for one wording over the attributes that have it.

    Attributes:
        pairs: Pairs sampled per attribute; all, where there are fewer.
        seed: Of the sampling. Pairs depend on it and on the pictures' keys and values, not on their order.
    """

    name: ClassVar[str] = "difference"

    pairs: int = 2000
    seed: int = 0

    def run(self, subject: Subject) -> Results:
        """Asks every question about its pairs.

        Raises:
            PcclipError: The set has no questions, or no two pictures differ in an attribute.
        """
        evaluation_set = subject.data
        if not evaluation_set.questions:
            raise PcclipError(
                f"{evaluation_set.path}: has no 'questions', so difference-based classification does not "
                "apply to it. Write some, or leave this evaluation out."
            )
        cases = [self._cases(evaluation_set, question) for question in evaluation_set.questions]
        subject.encoders.texts([text for case in cases for text in case.texts()])  # all at once: full batches
        groups = {case.question.attribute: _score(case, subject) for case in cases}
        metrics = _metrics(evaluation_set.name, evaluation_set.questions)
        return Results(evaluation_set.evaluated, len(evaluation_set), groups, metrics)

    def _cases(self, evaluation_set: EvaluationSet, question: Question) -> _Cases:
        values, names = evaluation_set.values(question)
        # By key, so that the pairs do not depend on how pictures are spread over shards.
        order = np.array(sorted(range(len(values)), key=evaluation_set.keys.__getitem__))
        order = order[np.isfinite(values[order])]
        digest = hashlib.sha256(question.attribute.encode()).digest()[:8]
        rng = np.random.default_rng([self.seed, int.from_bytes(digest, "little")])
        pairs = sample_pairs(values[order], question.margin, self.pairs, rng)
        first, second = order[pairs[0]], order[pairs[1]]
        if not len(first):
            raise PcclipError(
                f"{evaluation_set.path}: no two pictures of split {evaluation_set.split!r} differ in "
                f"{question.attribute!r} by more than {question.margin} ({len(order)} of "
                f"{len(evaluation_set)} pictures have it). Lower the margin or drop the question."
            )
        if names:
            sides = np.stack([values[first], values[second]], axis=1).astype(np.int64)
        else:
            names = ("positive", "negative")
            greater = values[first] > values[second]
            sides = np.where(greater[:, None], [0, 1], [1, 0])
        kinds, kind = np.unique(sides, axis=0, return_inverse=True)
        return _Cases(question, names, first, second, kinds, kind.reshape(-1))


def sample_pairs(
    values: Doubles, margin: float, count: int, rng: np.random.Generator
) -> tuple[Indices, Indices]:
    """Pairs of items whose values differ by more than a margin, each unordered pair at most once.

    Args:
        values: (n,) finite.
        margin: Not negative.
        count: Pairs wanted; all qualifying pairs come where there are fewer.
        rng: Source of chance.

    Returns:
        The items of each pair, (P,) and (P,); which comes first is a fair draw.
    """
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    # Item i (by rank) qualifies with all of rank starts[i] and above: pairs are counted, not tried.
    starts = np.searchsorted(ranked, ranked + margin, side="right")
    ends = np.cumsum(len(values) - starts)
    total = int(ends[-1]) if len(ends) else 0
    chosen = rng.choice(total, count, replace=False) if total > count else rng.permutation(total)
    lower = np.searchsorted(ends, chosen, side="right")
    upper = len(values) - (ends[lower] - chosen)
    pairs = np.stack([order[lower], order[upper]]).astype(np.int64)
    swap = rng.random(pairs.shape[1]) < 0.5
    pairs[:, swap] = pairs[::-1, swap]
    return pairs[0], pairs[1]


@dataclass(frozen=True)
class _Cases:
    """The pairs of one question, sorted into kinds: pairs of which the same sentences are true.

    Attributes:
        question: What is asked.
        names: Names of the values.
        first: (P,) picture index.
        second: (P,) picture index.
        kinds: (K, 2) value of the first and of the second picture, as indices into `names`.
        kind: (P,) index into `kinds`.
    """

    question: Question
    names: Sequence[str]
    first: Indices
    second: Indices
    kinds: Indices
    kind: Indices

    def statements(self, wording: Wording, forward: bool) -> list[str]:
        """The sentence about each kind (K), or about the pair turned round."""
        sides = self.kinds if forward else self.kinds[:, ::-1]
        return [self.question.statement(wording, self.names[a], self.names[b]) for a, b in sides]

    def phrases(self, side: int) -> list[str]:
        """The plain phrase of each kind's first (0) or second (1) picture (K)."""
        return [self.question.phrases[self.names[value]] for value in self.kinds[:, side]]

    def texts(self) -> list[str]:
        """Everything that is to be encoded."""
        wordings = itertools.product(self.question.wordings, (True, False))
        sentences = [text for wording, forward in wordings for text in self.statements(wording, forward)]
        return sentences + self.phrases(0) + self.phrases(1)


def _score(cases: _Cases, subject: Subject) -> Observations:
    encoders, features = subject.encoders, subject.features
    direction = unit(features[cases.first] - features[cases.second])

    def correct(texts_KD: Floats) -> Floats:
        along = np.einsum("pd,pd->p", direction, texts_KD[cases.kind])
        return np.where(along == 0, 0.5, along > 0).astype(np.float32)

    phrase1, phrase2 = encoders.texts(cases.phrases(0)), encoders.texts(cases.phrases(1))
    absolute = phrase1
    if cases.question.kind == "degree":  # the greater picture is to fit the one phrase better
        positive = encoders.texts([cases.question.phrases["positive"]])
        absolute = np.where(cases.kinds[:, :1] == 0, positive, -positive)
    scores = {"text_difference": correct(phrase1 - phrase2), "absolute": correct(absolute)}
    sums: dict[str, list[Floats]] = {}
    for wording in cases.question.wordings:
        forward = encoders.texts(cases.statements(wording, True))
        reverse = encoders.texts(cases.statements(wording, False))
        suffix = "-unseen" if wording.held_out else ""
        # The difference first: sentences with one and the same embedding then tie exactly.
        scores[f"wording-{wording.id}"] = two_alternative = correct(forward - reverse)
        sums.setdefault(f"two_alternative{suffix}", []).append(two_alternative)
        sums.setdefault(f"sign{suffix}", []).append(correct(forward))
    for column, parts in sums.items():
        scores[column] = np.stack(parts).mean(axis=0, dtype=np.float64).astype(np.float32)
    return Observations(cases.first, cases.second, scores)


def _metrics(name: str, questions: Sequence[Question]) -> dict[str, Parts]:
    parts: dict[str, list[tuple[str, str]]] = {}
    means: dict[str, list[tuple[str, str]]] = {}
    wordings: dict[str, list[tuple[str, str]]] = {}
    for question in questions:
        attribute = question.attribute
        for suffix in ("", "-unseen"):
            asked = any(wording.held_out == bool(suffix) for wording in question.wordings)
            columns = [(score, f"{score}{suffix}") for score in WITH_WORDING if asked]
            if not suffix:
                columns += [(score, score) for score in WITHOUT_WORDING]
            for score, column in columns:
                parts[f"difference/{name}-{attribute}{suffix}/{score}"] = [(attribute, column)]
                mean = f"difference/{name}-mean{suffix}/{score}"
                means.setdefault(mean, []).append((attribute, column))
        for wording in question.wordings:
            metric = f"difference/{name}-wording-{wording.id}{'-unseen' if wording.held_out else ''}"
            wordings.setdefault(f"{metric}/two_alternative", []).append((attribute, f"wording-{wording.id}"))
    return {metric: tuple(of) for metric, of in (parts | means | wordings).items()}
