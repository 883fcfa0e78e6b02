"""Scores of pictures by a direction, and the best of them: NumPy alone.

Shape letters: N pictures, D embedding width.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pcclip.evaluation.encoding.encoders import unit
from pcclip.evaluation.statistics import Floats, Indices

WEIGHT = 2.0
"""Of the change in a search, unless it is given: larger ones keep less of the picture.

Of the first ten pictures of generated shapes six show the change that one sentence asks for, and more than
seven that of two opposite ones; with weight 1 they are between four and five, and not quite seven.
"""


def rank_scores(features: Floats, direction: Floats) -> Floats:
    """How far each picture lies along a direction: `g(I) . direction`, as `AttributeRanking` ranks.

    Args:
        features: (N, D) unit embeddings of pictures.
        direction: (D,) of any length, which changes no order.

    Returns:
        (N,) float32.
    """
    return features @ np.asarray(direction, np.float32)


def search_scores(features: Floats, like: Floats, direction: Floats, weight: float) -> Floats:
    """Closeness of each picture to `unit(like + weight * direction)`.

    The query of `DifferenceRetrieval`, seen from the other end: there the text says how the picture at hand
    differs from the one that is looked for, so that it is taken off; here how the one that is looked for
    differs from the one at hand.

    Args:
        features: (N, D) unit embeddings of pictures.
        like: (D,) unit embedding of the picture to start from.
        direction: (D,) unit vector of the change.
        weight: Of the change; 0 finds the nearest pictures.

    Returns:
        (N,) float32 cosines.
    """
    query = np.asarray(like, np.float32) + np.float32(weight) * np.asarray(direction, np.float32)
    return features @ unit(query)


def best(scores: npt.NDArray[np.floating], count: int | None = None) -> Indices:
    """Indices of the highest scores, from the highest on; of equal ones the lower index comes first.

    Only what is asked for is sorted.

    Args:
        scores: (N,).
        count: How many, at most N; None for all.

    Returns:
        (min(count, N),) indices.
    """
    kept = len(scores) if count is None else max(0, min(count, len(scores)))
    chosen = np.arange(len(scores))
    if 0 < kept < len(scores):
        least = np.partition(scores, len(scores) - kept)[len(scores) - kept]
        above = np.flatnonzero(scores > least)
        level = np.flatnonzero(scores == least)[: kept - len(above)]
        chosen = np.sort(np.concatenate([above, level]))
    return chosen[np.argsort(-scores[chosen], kind="stable")][:kept]
