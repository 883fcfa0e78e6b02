"""Means over pairs of things that are few and shared (classes, questions), with replicates over those."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from pcclip.evaluation.statistics import RESAMPLES, Doubles, Indices, Statistic, replicate_weights

_BLOCK = 2**24  # weights of pairs held at once
_LEAST = 3  # things: of fewer no interval can be given


def clustered_means(
    columns: Mapping[str, Doubles], first: Indices, second: Indices | None = None
) -> dict[str, Statistic]:
    """The mean of each column, with replicates that resample the things which the rows are about.

    Args:
        columns: (n,) values by name; NaN for a row that a column does not have.
        first: (n,) index of the thing, or of the pair's first thing.
        second: (n,) index of the pair's second thing; None for rows about one thing.

    Returns:
        A statistic by name, for the columns that have a row; replicates as in `clustered_ratios`.
    """
    second = first if second is None else second
    # Rows about the same things weigh the same: summed up before they are resampled.
    places, row = np.unique(np.stack([first, second]), axis=1, return_inverse=True)
    row = row.reshape(-1)
    ratios: dict[str, tuple[Doubles, Doubles]] = {}
    for name, column in columns.items():
        has = np.isfinite(column)
        if has.any():
            counts = np.bincount(row[has], minlength=places.shape[1]).astype(np.float64)
            sums = np.bincount(row[has], column[has], places.shape[1]).astype(np.float64)
            ratios[name] = sums, counts
    found = clustered_ratios(list(ratios.values()), places[0], places[1])
    statistics = {}
    for (name, (_, counts)), (value, drawn) in zip(ratios.items(), found, strict=True):
        # No mean leaves the range of its values.
        drawn = np.clip(drawn, np.nanmin(columns[name]), np.nanmax(columns[name]))
        statistics[name] = Statistic(value, drawn, int(counts.sum()))
    return statistics


def clustered_ratios(
    ratios: Sequence[tuple[Doubles, Doubles]], first: Indices, second: Indices
) -> list[tuple[float, Doubles]]:
    """Ratios of two sums over pairs of things, with replicates (R,) that resample the things.

    A pair weighs the product of its things' weights (pigeonhole bootstrap, Owen 2007), a thing paired with
    itself the weight of that; replicates are `stretched`. Where pairs differ for themselves rather than by
    their things, and where few of the possible pairs are there, intervals come out too wide.

    Args:
        ratios: The (P,) terms of the sum above and of the sum below.
        first: (P,) index of each pair's first thing.
        second: (P,) index of its second thing.
    """
    if not ratios:
        return []
    used, place = np.unique(np.stack([first, second]), return_inverse=True)
    place = place.reshape(2, -1)
    above, below = (np.stack([ratio[side] for ratio in ratios]) for side in range(2))
    values = above.sum(axis=1) / below.sum(axis=1)
    blocks = []
    for weights_TR in replicate_weights(len(used), block=len(used) * max(1, _BLOCK // len(first))):
        weights = weights_TR[place[0]] * np.where((first == second)[:, None], 1, weights_TR[place[1]])
        with np.errstate(invalid="ignore"):
            blocks.append((above @ weights) / (below @ weights))
    drawn = np.concatenate(blocks, axis=1)
    return [
        (float(one), stretched(float(one), row, len(used))) for one, row in zip(values, drawn, strict=True)
    ]


def stretched(value: float, drawn: Doubles, things: int) -> Doubles:
    """Replicates set right for few things: their distances to the value as much wider as Student's t is.

    Without it ten things give intervals that hold the truth 86 times in 100 (Hesterberg 2015 on small
    samples). Of fewer than three things replicates are NaN.
    """
    if things < _LEAST:
        return np.full(len(drawn), np.nan)
    freedom = things - 1
    stretch = np.sqrt(things / freedom) * stats.t.ppf(0.975, freedom) / stats.norm.ppf(0.975)
    return value + stretch * (drawn - value)


def without_interval(value: float, n: int) -> Statistic:
    """A number for which the bootstrap gives no honest interval."""
    return Statistic(float(value), np.full(RESAMPLES, np.nan), n)
