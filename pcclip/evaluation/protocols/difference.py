"""Difference-based classification: does a sentence point along the difference of two pictures?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from pcclip.errors import PcclipError
from pcclip.evaluation.protocol import EvaluationProtocol, Results, Subject
from pcclip.evaluation.protocols.contrasts import Contrast
from pcclip.evaluation.protocols.pair_draws import chance, count_pairs, listed_pairs, sample_pairs
from pcclip.evaluation.questions import Question
from pcclip.evaluation.sets import EvaluationSet
from pcclip.evaluation.statistics import Indices, Observations, Parts, mean_over_seeds

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

    Which pairs: `pairs: all` scores every pair that qualifies, in both orders, and keeps one number per
    picture; otherwise pairs are drawn, and which picture comes first is drawn too, so that its expectation is
    that of all pairs. Intervals resample pictures, never pairs: drawn pairs weigh the product of their
    pictures' weights; of all pairs each picture's pseudo-value is resampled (`all_pairs.pseudo_values`). Two
    models are compared on the same pairs, or on the pseudo-values of the same pictures.

    With several seeds a metric is the mean over them, and its interval says what other pictures would have
    changed. What other draws would have changed is in the notes: each metric by seed, with Student's t
    interval. The notes also count the pictures that lack an attribute, and the pairs.

    Attributes:
        pairs: Pairs drawn per attribute and seed (all, where there are fewer), or `all`.
        pictures: Pictures drawn per seed, among those that have an attribute that is asked about; the pairs
            are theirs, each in the order in which they were drawn. All pictures if null.
        seeds: Draws: seeds `seed`, `seed` + 1, ...
        seed: Of the first draw. Draws depend on it and on the pictures' keys and values, not on their order.
    """

    name: ClassVar[str] = "difference"

    pairs: int | Literal["all"] = 2000
    pictures: int | None = None
    seeds: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses settings that mean nothing."""
        few = (self.pairs != "all" and self.pairs < 1) or self.seeds < 1
        if few or (self.pictures is not None and self.pictures < 2):
            raise PcclipError(
                f"{self.name}: pairs {self.pairs}, pictures {self.pictures} and seeds {self.seeds} leave "
                "nothing to compare. It takes a pair, two pictures and a seed."
            )
        if self.exact and self.seeds > 1:
            raise PcclipError(
                f"{self.name}: all pairs of all pictures are the same for each of {self.seeds} seeds. Leave "
                "'seeds' at 1, or say how many 'pairs' or 'pictures' each seed draws."
            )

    @property
    def exact(self) -> bool:
        """Whether nothing is drawn."""
        return self.pairs == "all" and self.pictures is None

    def run(self, subject: Subject) -> Results:
        """Asks every question about its pairs.

        Raises:
            PcclipError: The set has no questions, or no two pictures differ in an attribute.
        """
        data = subject.data
        if not data.questions:
            raise PcclipError(
                f"{data.path}: has no 'questions', so difference-based classification does not "
                "apply to it. Write some, or leave this evaluation out."
            )
        contrasts = [Contrast.of(data, question) for question in data.questions]
        subject.encoders.texts([text for one in contrasts for text in one.texts()])  # at once: full batches
        drawn = self._drawn(data, contrasts)
        groups: dict[str, Observations] = {}
        where: dict[
            str, list[str | None]
        ] = {}  # the group of each attribute in each seed, where it has pairs
        counts: dict[str, dict[str, int]] = {}
        for one in contrasts:
            attribute = one.question.attribute
            found = self._score(one, subject, drawn)
            prefix = "" if self.name == "difference" else f"{self.name} "
            names = [
                f"{prefix}{attribute}{f' seed {seed}' if self.seeds > 1 else ''}" for seed in self._seeds
            ]
            groups |= {name: seen for name, seen in zip(names, found, strict=True) if seen is not None}
            where[attribute] = [name if name in groups else None for name in names]
            counts[attribute] = {
                "pictures": len(one.pictures),
                "pictures_without": len(data) - len(one.pictures),
                "pairs_that_qualify": count_pairs(one.values, one.question.margin),
            }
        per_seed = [
            _metrics(self.name, data.name, data.questions, {of: names[number] for of, names in where.items()})
            for number in range(self.seeds)
        ]
        # Seeds one after the other, attribute by attribute within a metric.
        metrics = {name: tuple(part for one in per_seed for part in one.get(name, ()))
                   for name in dict.fromkeys(name for one in per_seed for name in one)}  # fmt: skip
        notes: dict[str, Any] = {"attributes": counts}
        if self.seeds > 1:
            notes["by_seed"] = _by_seed(groups, per_seed)
        return Results(data.evaluated, len(data), groups, metrics, notes={f"{self.name}/{data.name}": notes})

    @property
    def _seeds(self) -> range:
        return range(self.seed, self.seed + self.seeds)

    def _score(
        self, contrast: Contrast, subject: Subject, drawn: Sequence[Indices | None]
    ) -> list[Observations | None]:
        """Scores by seed; None where none of the pictures drawn differ."""
        question, data = contrast.question, subject.data
        if not count_pairs(contrast.values, question.margin):
            raise PcclipError(
                f"{data.path}: no two pictures of split {data.split!r} differ in {question.attribute!r} by "
                f"more than {question.margin} ({len(contrast.pictures)} of {len(data)} pictures have it). "
                "Lower the margin or drop the question."
            )
        asks = contrast.asks(subject.encoders)
        if self.exact:
            return [contrast.score_all(asks, subject.features)]
        pairs = [self._pairs(contrast, seed, of) for seed, of in zip(self._seeds, drawn, strict=True)]
        scores = [contrast.score_pairs(asks, subject.features, *of) if len(of[0]) else None for of in pairs]
        if not any(scores):
            raise PcclipError(
                f"{data.path}: among {self.pictures} pictures of split {data.split!r} no two differ in "
                f"{question.attribute!r}. Draw more 'pictures', or drop the question."
            )
        return scores

    def _drawn(self, data: EvaluationSet, contrasts: Sequence[Contrast]) -> list[Indices | None]:
        """The pictures of each seed, in the order of the draw; None for all."""
        if self.pictures is None:
            return [None] * self.seeds
        able = np.unique(np.concatenate([one.pictures for one in contrasts]))
        able = np.array(sorted(able.tolist(), key=data.keys.__getitem__), np.int64)
        count = min(self.pictures, len(able))
        return [np.random.default_rng(seed).choice(able, count, replace=False) for seed in self._seeds]

    def _pairs(self, contrast: Contrast, seed: int, drawn: Indices | None) -> tuple[Indices, Indices]:
        """Places of pairs in `contrast.pictures`."""
        rng = chance(seed, contrast.question.attribute)
        values, margin = contrast.values, contrast.question.margin
        places = np.arange(len(values))
        if drawn is not None:
            place_of = {picture: place for place, picture in enumerate(contrast.pictures.tolist())}
            places = np.array([place_of[one] for one in drawn.tolist() if one in place_of], np.int64)
        if self.pairs != "all":
            first, second = sample_pairs(values[places], margin, self.pairs, rng)
            return places[first], places[second]
        first, second = listed_pairs(values[places], margin)
        return places[first], places[second]


@dataclass(frozen=True)
class PublishedDifference(DifferenceClassification):
    """The published protocol: 5 seeds, 100 pictures each, all pairs i < j of them that qualify.

    Its headline is `sign`, the score that was published; the other three stand beside it, on the same pairs.
    Metrics are those of `DifferenceClassification` under `difference_published/`. What was published about
    the wrong animals and flowers is a matter of the set: `sources.published.PublishedMistakes`.

    Attributes:
        pairs: As in `DifferenceClassification`; 5000, with `pictures` null, is what was drawn of CUB.
        pictures: Of each seed.
        seeds: Draws.
        seed: Of the first draw.
    """

    name: ClassVar[str] = "difference_published"

    pairs: int | Literal["all"] = "all"
    pictures: int | None = 100
    seeds: int = 5
    seed: int = 0


def _metrics(
    protocol: str, name: str, questions: Sequence[Question], groups: Mapping[str, str | None]
) -> dict[str, Parts]:
    """Every metric and its parts; `groups` tells the group of each attribute, if it has one."""
    parts: dict[str, list[tuple[str, str]]] = {}
    means: dict[str, list[tuple[str, str]]] = {}
    wordings: dict[str, list[tuple[str, str]]] = {}
    for question in questions:
        group = groups[question.attribute]
        if group is None:
            continue
        for suffix in ("", "-unseen"):
            asked = any(wording.held_out == bool(suffix) for wording in question.wordings)
            columns = [(score, f"{score}{suffix}") for score in WITH_WORDING if asked]
            if not suffix:
                columns += [(score, score) for score in WITHOUT_WORDING]
            for score, column in columns:
                parts[f"{protocol}/{name}-{question.attribute}{suffix}/{score}"] = [(group, column)]
                means.setdefault(f"{protocol}/{name}-mean{suffix}/{score}", []).append((group, column))
        for wording in question.wordings:
            metric = f"{protocol}/{name}-wording-{wording.id}{'-unseen' if wording.held_out else ''}"
            wordings.setdefault(f"{metric}/two_alternative", []).append((group, f"wording-{wording.id}"))
    return {metric: tuple(of) for metric, of in (parts | means | wordings).items()}


def _by_seed(groups: Mapping[str, Observations], per_seed: Sequence[Mapping[str, Parts]]) -> dict[str, Any]:
    """Of every metric but those of single wordings: its value by seed, and their mean with its interval."""
    values: dict[str, list[float]] = {}
    for metrics in per_seed:
        for name, parts in metrics.items():
            if "-wording-" not in name:
                scores = [groups[group].scores[column].mean(dtype=np.float64) for group, column in parts]
                values.setdefault(name, []).append(float(np.mean(scores)))
    return {
        name: {"values": of, **(mean_over_seeds(of).as_dict() if len(of) > 1 else {})}
        for name, of in values.items()
    }
