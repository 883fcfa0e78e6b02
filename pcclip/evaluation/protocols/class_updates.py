"""One comparative update of class embeddings: what it does to the scores of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pcclip.errors import PcclipError
from pcclip.evaluation.protocol import Subject
from pcclip.evaluation.protocols.class_pairs import ClassPairs
from pcclip.evaluation.protocols.classification import top_scores
from pcclip.evaluation.protocols.gains import won_and_lost
from pcclip.evaluation.statistics import Floats, Indices
from pcclip.geometry import comparative_update

SCORES = ("all", "confused", "subset")


@dataclass(frozen=True)
class ClassUpdate:
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
class Trial:
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
            "mcnemar": {score: won_and_lost(self.before[score], self.after[score]) for score in SCORES},
        }
