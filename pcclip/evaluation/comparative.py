"""Comparative prompting: class embeddings moved by texts on how confused classes differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from pcclip.errors import PcclipError
from pcclip.evaluation.class_pairs import ClassPairs, PairTexts, confused_pairs, similar_pairs
from pcclip.evaluation.classification import top_scores
from pcclip.evaluation.encoders import unit
from pcclip.evaluation.gains import mcnemar, mean_statistics
from pcclip.evaluation.protocol import EvaluationProtocol, Results, Subject
from pcclip.evaluation.statistics import Floats, Indices, Observations, Parts
from pcclip.evaluation.zero_shot import check_classes, class_embeddings
from pcclip.geometry import comparative_update

SCORES = ("all", "confused", "subset")


@dataclass(frozen=True)
class ComparativePrompting(EvaluationProtocol):
    """Zero-shot classification before and after the comparative update (arXiv 2409.09721).

    Of two classes a and b that are easily confused, and a text c on how a differs from b,
    `t_b' = unit(alpha * t_b + (1 - alpha) * mean over b's pairs of (t_a - c))`; both classes of a pair are
    moved, each by the other. Three accuracies:

    - `all`: all pictures, among all classes;
    - `confused`: the pictures of the classes in the pairs, among all classes;
    - `subset`: the same pictures, among the classes in the pairs only, which forgives every picture that
      these classes take from others.

    The pairs are chosen by the model before its finetuning and never on the reported split, so that they are
    the same for every model; alpha is chosen on another split than the reported one, from a grid that may
    hold 1, no change. Metrics, S being the set's name (and label): `comparative/S-KIND/SCORE_top1`, and
    `SCORE_gain`, the change from before to after on the same pictures (paired intervals). KIND is

    - `before`: no update (no gain);
    - `after`: the update;
    - `text-difference` (training-free): c replaced by `unit(t_a - t_b)`. With `t_a - t_b` itself the update
      would change nothing; at the length 1 that c has, it pushes a pair's classes apart;
    - `random-pairs`: the update for as many pairs drawn at random, on the classes in these;
    - `published` (with `protocol: paper` only): pairs most confused by the model itself on the reported
      split, and alpha chosen there too: a gain to be expected even of a method that does nothing.

    The base model's own figures, with its own alpha and the same pairs, are its results by this protocol.
    Notes (`comparative/S`): the pairs, the alphas with their grids, and McNemar's exact test for each gain.

    Attributes:
        texts: A `texts.json` of pair texts (`pcclip write` makes them); several of a pair are averaged. Null
            words them by `templates`.
        templates: Texts with `{a}` and `{b}`. Null takes the wordings that training has seen of the question
            whose values are the classes.
        pairs: By the cosine of class embeddings (`similarity`), or by confusion on `pairs_split`.
        count: Number of pairs.
        pairs_split: Where confusion is counted.
        alphas: The grid; of equally good ones the greatest is taken.
        alpha: This one, instead of a choice (0.8 to 0.9 in the published code).
        choose_on: Where alpha is chosen: the first of these that is not the reported split.
        choose_by: The accuracy that it is chosen by.
        protocol: `paper` reports the published protocol beside the corrected one.
        seed: Of the random pairs.
        label: Tells variants on one set apart.
    """

    name: ClassVar[str] = "comparative"

    texts: str | None = None
    templates: tuple[str, ...] | None = None
    pairs: Literal["similarity", "confusion"] = "similarity"
    count: int = 5
    pairs_split: str = "train"
    alphas: tuple[float, ...] = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)
    alpha: float | None = None
    choose_on: tuple[str, ...] = ("validation", "train")
    choose_by: Literal["all", "confused", "subset"] = "all"
    protocol: Literal["corrected", "paper"] = "corrected"
    seed: int = 0
    label: str | None = None

    def run(self, subject: Subject) -> Results:
        """Chooses pairs and alpha, updates, and classifies every picture of the set.

        Raises:
            PcclipError: The set has no classes, prompts or other split to choose on; there is no text on a
                pair; or a setting is out of range.
        """
        self._check(subject)
        data = subject.data
        texts = PairTexts(data, self.texts, self.templates)
        weights_CD = class_embeddings(subject.encoders, data.classes, data.prompts)
        pairs = self._pairs(subject)
        drawn = texts.random_pairs(self.count, self.seed)
        apart = unit(weights_CD[pairs.reference] - weights_CD[pairs.updated])
        updates = {
            "after": _Update(weights_CD, pairs, texts.embeddings(subject.encoders, pairs)),
            "text-difference": _Update(weights_CD, pairs, apart),
            "random-pairs": _Update(weights_CD, drawn, texts.embeddings(subject.encoders, drawn)),
        }
        place = self._place(subject)
        trials = {kind: self._trial(update, place, subject) for kind, update in updates.items()}
        if self.protocol == "paper":
            leaked = confused_pairs(subject, weights_CD, self.count)
            leak = _Update(weights_CD, leaked, texts.embeddings(subject.encoders, leaked))
            trials["published"] = self._trial(leak, subject, subject)
        return self._results(subject, trials, place.data.split, texts.source)

    def _check(self, subject: Subject) -> None:
        check_classes(subject.data)
        tried = self.alphas if self.alpha is None else (self.alpha,)
        if not tried or not all(0 <= alpha <= 1 for alpha in tried):
            raise PcclipError(f"comparative prompting: alpha should be between 0 and 1, is {tried}")
        if self.count < 1 or len(subject.data.classes) < 2:
            raise PcclipError(f"{subject.data.path}: comparative prompting needs a pair of classes or more")
        if self.pairs == "confusion" and self.pairs_split == subject.data.split:
            raise PcclipError(
                f"comparative prompting: pairs would be chosen by confusion on {subject.data.split!r}, the "
                "split that is reported. Name another pairs_split, or choose pairs by similarity."
            )

    def _pairs(self, subject: Subject) -> ClassPairs:
        base = subject.base()
        weights_CD = class_embeddings(base.encoders, base.data.classes, base.data.prompts)
        if self.pairs == "similarity":
            return similar_pairs(weights_CD, base.data.classes, self.count)
        return confused_pairs(base.split(self.pairs_split), weights_CD, self.count)

    def _place(self, subject: Subject) -> Subject:
        """Where alpha is chosen; the subject itself where nothing is."""
        if self.alpha is not None:
            return subject
        for split in self.choose_on:
            if split != subject.data.split:
                return subject.split(split)
        raise PcclipError(
            f"comparative prompting: alpha would be chosen on {subject.data.split!r}, the split that is "
            "reported. Name another split in choose_on, or fix alpha."
        )

    def _trial(self, update: _Update, place: Subject, subject: Subject) -> _Trial:
        """Chooses alpha in one place and measures in another (or, for the leak, in the same)."""
        grid: dict[float, float] = {}
        if self.alpha is None:
            for alpha in sorted(set(self.alphas), reverse=True):
                scores = update.scores(place, alpha)[self.choose_by]
                grid[alpha] = float(scores.mean(dtype=np.float64))
        alpha = max(grid, key=grid.__getitem__) if self.alpha is None else self.alpha
        shown = update.pictures(subject)
        return _Trial(
            update.pairs, alpha, grid, shown, update.scores(subject, 1.0), update.scores(subject, alpha)
        )

    def _results(self, subject: Subject, trials: dict[str, _Trial], chosen_on: str, source: str) -> Results:
        data = subject.data
        prefix = f"{self.name}/{data.name}{f'-{self.label}' if self.label else ''}"
        groups: dict[str, Observations] = {}
        metrics: dict[str, Parts] = {}
        columns: dict[str, tuple[Indices, Floats]] = {}
        for kind, trial in trials.items():
            for score in SCORES:
                before, after = trial.before[score], trial.after[score]
                columns[f"{prefix}-{kind}/{score}_gain"] = trial.pictures[score], after - before
                if kind == "published":  # on other pictures for each model
                    columns[f"{prefix}-{kind}/{score}_before"] = trial.pictures[score], before
                    columns[f"{prefix}-{kind}/{score}_top1"] = trial.pictures[score], after
                    continue
                group = f"{prefix}-{kind} {score}"
                groups[group] = Observations(trial.pictures[score], None, {"before": before, "after": after})
                metrics[f"{prefix}-{kind}/{score}_top1"] = ((group, "after"),)
                if kind == "after":
                    metrics[f"{prefix}-before/{score}_top1"] = ((group, "before"),)
        notes: dict[str, Any] = {
            "texts": source,
            "pairs_by": self.pairs if self.pairs == "similarity" else f"confusion on {self.pairs_split}",
            "alpha": f"by {self.choose_by} on {chosen_on}" if self.alpha is None else "fixed",
        }
        notes |= {kind: trial.notes(data.classes) for kind, trial in trials.items()}
        return Results(
            data.evaluated,
            len(data),
            groups,
            metrics,
            statistics=mean_statistics(columns, len(data)),
            notes={prefix: notes},
        )


@dataclass(frozen=True)
class _Update:
    """Class embeddings, and the comparisons that move them.

    Attributes:
        weights_CD: (C, D) as they were.
        pairs: K ordered pairs.
        comparisons_KD: (K, D) what stands for the texts.
    """

    weights_CD: Floats
    pairs: ClassPairs
    comparisons_KD: Floats

    def pictures(self, subject: Subject) -> dict[str, Indices]:
        """The pictures that each score is about.

        Raises:
            PcclipError: The split has none of the confused classes.
        """
        labels = subject.data.labels
        confused = np.flatnonzero(np.isin(labels, self.pairs.classes))
        if not len(confused):
            raise PcclipError(
                f"{subject.data.path}: split {subject.data.split!r} has no picture of the classes that "
                "comparative prompting is about. Choose more pairs, or another split."
            )
        return {"all": np.arange(len(labels)), "confused": confused, "subset": confused}

    def scores(self, subject: Subject, alpha: float) -> dict[str, Floats]:
        """Of each picture, by name of the score.

        Raises:
            PcclipError: As `pictures`.
        """
        updated_CD = comparative_update(
            torch.from_numpy(self.weights_CD),
            torch.from_numpy(self.pairs.reference),
            torch.from_numpy(self.pairs.updated),
            torch.from_numpy(self.comparisons_KD),
            alpha,
        ).numpy()
        confused, classes = self.pictures(subject)["confused"], self.pairs.classes
        labels = subject.data.labels
        (among_all,) = top_scores(subject.features, updated_CD, labels)
        (among_few,) = top_scores(
            subject.features[confused], updated_CD[classes], np.searchsorted(classes, labels[confused])
        )
        return {"all": among_all, "confused": among_all[confused], "subset": among_few}


@dataclass(frozen=True)
class _Trial:
    """One kind of update, measured.

    Attributes:
        pairs: Of the update.
        alpha: That was chosen or given.
        grid: What it was chosen from: accuracy by alpha.
        pictures: By score.
        before: Scores of these, by score.
        after: The same after the update.
    """

    pairs: ClassPairs
    alpha: float
    grid: dict[float, float]
    pictures: dict[str, Indices]
    before: dict[str, Floats]
    after: dict[str, Floats]

    def notes(self, classes: Sequence[str]) -> dict[str, Any]:
        """What was chosen, and the paired tests."""
        return {
            "alpha": self.alpha,
            "grid": {f"{alpha:g}": round(accuracy, 6) for alpha, accuracy in self.grid.items()},
            "pairs": self.pairs.notes(classes),
            "mcnemar": {score: mcnemar(self.before[score], self.after[score]) for score in SCORES},
        }
