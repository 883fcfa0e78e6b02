"""Pictures against the embeddings of classes: which class is closest, and which is taken for which."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pcclip.evaluation.statistics import Doubles, Floats, Indices

_ROWS = 8192  # pictures compared with all classes at once


def top_scores(
    features: Floats, weights_CD: Floats, labels: Indices, ranks: Sequence[int] = (1,)
) -> tuple[Floats, ...]:
    """Score of each picture for its class being among the k closest, for each k.

    A picture that is equally close to several classes scores the chance of a fair draw among them, so that no
    order of the classes is favoured.

    Args:
        features: (N, D) of the pictures.
        weights_CD: (C, D) of the classes.
        labels: (N,) class of each picture.
        ranks: Values of k.

    Returns:
        (N,) scores in [0, 1] for each k.
    """
    scores = tuple(np.empty(len(labels), np.float32) for _ in ranks)
    for rows, similarity in _similarities(features, weights_CD):
        own = np.take_along_axis(similarity, labels[rows, None], axis=1)
        closer = (similarity > own).sum(axis=1)
        tied = (similarity == own).sum(axis=1)  # itself included
        for k, column in zip(ranks, scores, strict=True):
            column[rows] = np.clip((k - closer) / tied, 0, 1)
    return scores


def confusion_matrix(features: Floats, weights_CD: Floats, labels: Indices) -> Doubles:
    """Number of pictures by their class and the class closest to them; one that ties counts in parts.

    Args:
        features: (N, D) of the pictures.
        weights_CD: (C, D) of the classes.
        labels: (N,) class of each picture.

    Returns:
        (C, C): row the true class, column the predicted one.
    """
    classes = len(weights_CD)
    counts = np.zeros(classes * classes)
    for rows, similarity in _similarities(features, weights_CD):
        closest = similarity == similarity.max(axis=1, keepdims=True)
        picture, predicted = np.nonzero(closest)
        parts = 1 / closest.sum(axis=1)[picture]
        counts += np.bincount(labels[rows][picture] * classes + predicted, parts, classes * classes)
    return counts.reshape(classes, classes)


def confusion_shares(confusion_CC: Doubles) -> Doubles:
    """Each row of a confusion matrix as shares of its class's pictures; zeros for a class without any."""
    return confusion_CC / np.maximum(confusion_CC.sum(axis=1, keepdims=True), 1)


def confusion_notes(confusion_CC: Doubles, classes: Sequence[str], limit: int = 10) -> dict[str, Any]:
    """The classes with the lowest accuracy and the pairs that are confused most, for a reader.

    Args:
        confusion_CC: Of `confusion_matrix`.
        classes: C names.
        limit: Entries of each list.

    Returns:
        `worst_classes` (class, accuracy, pictures) and `confusions` (true, predicted, share of the true
        class's pictures, pictures), as JSON takes them; equal ones in the order of their names.
    """
    shares, pictures = confusion_shares(confusion_CC), confusion_CC.sum(axis=1)
    worst = sorted((float(shares[c, c]), name, c) for c, name in enumerate(classes) if pictures[c])
    confused = sorted(
        (-float(shares[true, predicted]), classes[true], classes[predicted], true, predicted)
        for true, predicted in zip(*np.nonzero(confusion_CC), strict=True)
        if true != predicted
    )
    return {
        "worst_classes": [
            {"class": name, "accuracy": accuracy, "pictures": round(float(pictures[c]))}
            for accuracy, name, c in worst[:limit]
        ],
        "confusions": [
            {"true": true, "predicted": predicted, "share": -share, "pictures": float(confusion_CC[t, p])}
            for share, true, predicted, t, p in confused[:limit]
        ],
    }


def _similarities(features: Floats, weights_CD: Floats) -> Iterator[tuple[slice, Floats]]:
    for start in range(0, len(features), _ROWS):
        rows = slice(start, start + _ROWS)
        yield rows, features[rows] @ weights_CD.T
