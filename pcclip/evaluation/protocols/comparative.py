"""Comparative prompting: class embeddings moved by texts on how confused classes differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from pcclip.errors import PcclipError
from pcclip.evaluation.encoding.encoders import unit
from pcclip.evaluation.protocol import EvaluationProtocol, Results, Subject
from pcclip.evaluation.protocols.class_pairs import ClassPairs, PairTexts, confused_pairs, similar_pairs
from pcclip.evaluation.protocols.class_updates import SCORES, ClassUpdate, Trial
from pcclip.evaluation.protocols.gains import mean_statistics
from pcclip.evaluation.protocols.zero_shot import check_classes, class_embeddings
from pcclip.evaluation.statistics import Floats, Indices, Observations, Parts


@dataclass(frozen=True)
class ComparativePrompting(EvaluationProtocol):
    """Zero-shot classification before and after the comparative update (arXiv 2409.09721).

    Of two classes a and b that are easily confused, and a text c on how a differs from b,
    `t_b' = unit(alpha * t_b + (1 - alpha) * mean over b's pairs of (t_a - c))`; both classes of a pair are
    moved, each by the other. Three accuracies:

    - `all`: all pictures, among all classes;
    - `confused`: the pictures of the classes in the pairs, among all classes: it also rises where these
      classes take pictures from others, which `all` then shows (and `random-pairs` does as well);
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
        among: Classes that pairs are chosen of; null chooses of all. Random pairs are drawn of all.
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
    among: tuple[str, ...] | None = None
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
        apart = unit(weights_CD[pairs.reference] - weights_CD[pairs.updated])
        updates = {
            "after": ClassUpdate(weights_CD, pairs, texts.embeddings(subject.encoders, pairs)),
            "text-difference": ClassUpdate(weights_CD, pairs, apart),
        }
        drawn = texts.random_pairs(self.count, self.seed)
        updates["random-pairs"] = ClassUpdate(weights_CD, drawn, texts.embeddings(subject.encoders, drawn))
        place = self._place(subject)
        trials = {kind: self._trial(update, place, subject) for kind, update in updates.items()}
        if self.protocol == "paper":
            leaked = confused_pairs(subject, weights_CD, self.count, self.among)
            leak = ClassUpdate(weights_CD, leaked, texts.embeddings(subject.encoders, leaked))
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
            return similar_pairs(weights_CD, base.data.classes, self.count, self.among)
        return confused_pairs(base.split(self.pairs_split), weights_CD, self.count, self.among)

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

    def _trial(self, update: ClassUpdate, place: Subject, subject: Subject) -> Trial:
        """Chooses alpha in one place and measures in another (or, for the leak, in the same)."""
        grid: dict[float, float] = {}
        if self.alpha is None:
            for alpha in sorted(set(self.alphas), reverse=True):
                scores = update.scores(place, alpha)[self.choose_by]
                grid[alpha] = float(scores.mean(dtype=np.float64))
        alpha = max(grid, key=grid.__getitem__) if self.alpha is None else self.alpha
        before, after = update.scores(subject, 1.0), update.scores(subject, alpha)
        return Trial(update.pairs, alpha, grid, update.pictures(subject), before, after)

    def _results(self, subject: Subject, trials: dict[str, Trial], chosen_on: str, source: str) -> Results:
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
        if "published" in notes:
            notes["published"]["leak"] = (
                f"pairs, and alpha unless fixed, by the reported split {data.split!r}"
            )
        return Results(
            data.evaluated,
            len(data),
            groups,
            metrics,
            statistics=mean_statistics(columns, len(data)),
            notes={prefix: notes},
        )
