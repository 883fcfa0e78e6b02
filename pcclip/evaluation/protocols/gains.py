"""What changed from before to after on the same pictures, with a paired test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pcclip.evaluation.bootstrap import bootstrap_means
from pcclip.evaluation.significance import mcnemar
from pcclip.evaluation.statistics import Floats, Indices, Observations, Statistic

_SCORE = "score"


def mean_statistics(columns: Mapping[str, tuple[Indices, Floats]], pictures: int) -> dict[str, Statistic]:
    """Means over pictures as statistics: for changes, and for means over other pictures for each model.

    Every replicate draws the set's pictures once, for all columns, and two models alike.

    Args:
        columns: By name the (n,) pictures and their (n,) scores.
        pictures: Number of pictures in the set.
    """
    groups = {name: Observations(of, None, {_SCORE: scores}) for name, (of, scores) in columns.items()}
    return bootstrap_means(groups, {name: ((name, _SCORE),) for name in columns}, pictures, changes=True)


def won_and_lost(before: Floats, after: Floats) -> dict[str, Any]:
    """McNemar's exact test of whether as many pictures were won as lost.

    Args:
        before: (n,) scores.
        after: (n,) scores of the same pictures.

    Returns:
        `won` and `lost`, numbers of pictures, and `p`, two-sided; 1 where nothing changed.
    """
    won, lost = int((after > before).sum()), int((after < before).sum())
    return {"won": won, "lost": lost, "p": mcnemar(np.sign(after - before))}
