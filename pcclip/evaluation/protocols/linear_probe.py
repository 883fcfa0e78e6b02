"""Linear probe: logistic regression on image embeddings, the check that the image tower did not move."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from pcclip.errors import PcclipError
from pcclip.evaluation.protocol import EvaluationProtocol, Results, Subject
from pcclip.evaluation.protocols.clustered import without_interval
from pcclip.evaluation.sets import EvaluationSet
from pcclip.evaluation.statistics import Floats, Indices, Observations


@dataclass(frozen=True)
class LinearProbe(EvaluationProtocol):
    """Fits scikit-learn's logistic regression to the standardised embeddings of the train split.

    It reads the image tower alone: with a frozen one, a model and its base cannot differ, and the probe only
    shows that the tower did not move. Metrics, S being the set's name: `linear_probe/S/top1`, and
    `linear_probe/S/features_changed`, the largest absolute difference of an embedding's component to the
    model before its finetuning: 0 for a frozen tower. C is chosen by the accuracy on the validation split,
    the smallest of equals; a result on that split itself is too good by this choice.

    Attributes:
        limit: Pictures of the train split, of each class its share; all, where there are fewer.
        grid: Values of C, the inverse strength of the L2 penalty.
        train: The split that is learned from.
        validation: The split by which C is chosen.
        max_iterations: Of the solver (L-BFGS).
        seed: Of the draw, which depends on the pictures' keys and not on their order.
    """

    name: ClassVar[str] = "linear_probe"

    limit: int = 4000
    grid: tuple[float, ...] = (0.0001, 0.001, 0.01, 0.1, 1.0)
    train: str = "train"
    validation: str = "validation"
    max_iterations: int = 500
    seed: int = 0

    def run(self, subject: Subject) -> Results:
        """Learns on the train split, chooses on the validation split, tests on the subject's.

        Raises:
            PcclipError: The set has no such splits, its train split has fewer than two classes, or it is the
                split that is to be tested.
        """
        data = subject.data
        if data.split == self.train:
            raise PcclipError(
                f"{data.path}: the linear probe learns from the split {self.train!r}, so it is no test. "
                "Choose another split."
            )
        learned, chosen = subject.split(self.train), subject.split(self.validation)
        rows = self._drawn(learned.data)
        labels = _by_name(learned.data)
        if len(np.unique(labels[rows])) < 2:
            raise PcclipError(
                f"{data.path}: the split {self.train!r} has no pictures of two classes, so the linear probe "
                "does not apply. Leave this evaluation out."
            )
        wanted = _by_name(chosen.data)
        probes = [self._fit(learned.features[rows], labels[rows], strength) for strength in sorted(self.grid)]
        scores = [float((probe.predict(chosen.features) == wanted).mean()) for probe in probes]
        best = int(np.argmax(scores))
        right = (probes[best].predict(subject.features) == _by_name(data)).astype(np.float32)
        group = self.name
        everything = np.arange(len(data), dtype=np.int64)
        changed = np.abs(subject.features - subject.base().features).max()
        notes = {
            "C": sorted(self.grid)[best],
            f"accuracy on {self.validation} by C": dict(
                zip(map(str, sorted(self.grid)), scores, strict=True)
            ),
            f"pictures of {self.train}": len(rows),
            "converged": bool(probes[best][-1].n_iter_.max() < self.max_iterations),
        }
        return Results(
            data.evaluated,
            len(data),
            {group: Observations(everything, None, {"top1": right})},
            {f"{self.name}/{data.name}/top1": ((group, "top1"),)},
            statistics={f"{self.name}/{data.name}/features_changed": without_interval(changed, len(data))},
            notes={f"{self.name}/{data.name}": notes},
        )

    def _drawn(self, data: EvaluationSet) -> Indices:
        """Pictures to learn from, in the order of their keys."""
        labels = _by_name(data)
        rank = [
            hashlib.sha256(f"{self.seed} {key}".encode("utf-8", "surrogateescape")).digest()
            for key in data.keys
        ]
        order = np.array(sorted(range(len(data)), key=rank.__getitem__))
        share = np.empty(len(data))
        for label in np.unique(labels):
            of_class = order[labels[order] == label]
            share[of_class] = np.arange(len(of_class)) / len(of_class)
        drawn = order[np.argsort(share[order], kind="stable")][: self.limit]
        return np.array(sorted(drawn, key=data.keys.__getitem__), np.int64)

    def _fit(self, features: Floats, labels: Indices, strength: float) -> Pipeline:
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=self.max_iterations))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # told in the notes
            return probe.fit(features, labels)


def _by_name(data: EvaluationSet) -> Indices:
    """Labels as places among the sorted class names, so that no order of the classes matters."""
    place = np.argsort(np.argsort(np.array(data.classes))) if data.classes else np.zeros(0, np.int64)
    return place[data.labels] if data.classes else data.labels
