"""What changed from before to after on the same pictures, with a paired test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import binomtest

from pcclip.evaluation.statistics import RESAMPLES, Floats, Indices, Statistic, replicate_weights


def mean_statistics(
    columns: Mapping[str, tuple[Indices, Floats]], pictures: int, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Statistic]:
    """Means over pictures as statistics: for changes, and for means over other pictures for each model.

    Every replicate draws the set's pictures once, for all columns, and two models alike.

    Args:
        columns: By name the (n,) pictures and their (n,) scores.
        pictures: Number of pictures in the set.
        resamples: Number of replicates.
        seed: Of the draws.
    """
    replicates: dict[str, list[Floats]] = {name: [] for name in columns}
    for weights_NR in replicate_weights(pictures, resamples, seed):
        for name, (of, scores) in columns.items():
            weights_nR = weights_NR if len(of) == pictures else weights_NR[of]
            with np.errstate(invalid="ignore"):  # a replicate without any of few pictures
                replicates[name].append((scores @ weights_nR) / weights_nR.sum(axis=0))
    return {
        name: Statistic(
            float(scores.mean(dtype=np.float64)),
            np.concatenate(replicates[name]).astype(np.float64),
            len(scores),
        )
        for name, (_, scores) in columns.items()
    }


def mcnemar(before: Floats, after: Floats) -> dict[str, Any]:
    """McNemar's exact test of whether as many pictures were won as lost.

    Args:
        before: (n,) scores.
        after: (n,) scores of the same pictures.

    Returns:
        `won` and `lost`, numbers of pictures, and `p`, two-sided; 1 where nothing changed.
    """
    won, lost = int((after > before).sum()), int((after < before).sum())
    p = float(binomtest(won, won + lost).pvalue) if won + lost else 1.0
    return {"won": won, "lost": lost, "p": p}
