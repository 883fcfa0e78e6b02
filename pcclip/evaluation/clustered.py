"""Means over pairs of things that are few and shared (classes, questions), with replicates over the things."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pcclip.evaluation.statistics import RESAMPLES, Doubles, Indices, Statistic, replicate_weights

LEAST = 3
"""Of fewer things no interval can be given."""


def clustered_means(
    columns: Mapping[str, Doubles], things: int, first: Indices, second: Indices | None = None
) -> dict[str, Statistic]:
    """The mean of each column, with replicates that resample the things which the rows are about.

    A row about a pair weighs the product of its things' weights (pigeonhole bootstrap, Owen 2007), a row about
    one thing the weight of that. Where few of the possible pairs are there, intervals come out too wide.

    Args:
        columns: (n,) values by name; NaN for a row that a column does not have.
        things: Number of things; with fewer than three, replicates are NaN.
        first: (n,) index of the thing, or of the pair's first thing.
        second: (n,) index of the pair's second thing; None for rows about one thing.

    Returns:
        A statistic by name, for the columns that have a row.
    """
    second = first if second is None else second
    # Rows about the same things weigh the same: summed up before they are resampled.
    places, row = np.unique(first * things + second, return_inverse=True)
    found = {}
    for name, column in columns.items():
        has = np.isfinite(column)
        if has.any():
            sums = np.bincount(row[has], column[has], len(places))
            counts = np.bincount(row[has], minlength=len(places))
            found[name] = sums, counts.astype(np.float64)
    return {
        name: Statistic(float(sums.sum() / counts.sum()), drawn, int(counts.sum()))
        for (name, (sums, counts)), drawn in zip(
            found.items(),
            replicated(list(found.values()), things, places // things, places % things),
            strict=True,
        )
    }


def replicated(
    ratios: list[tuple[Doubles, Doubles]], things: int, first: Indices, second: Indices
) -> list[Doubles]:
    """Replicates (R,) of ratios of two sums over pairs of things, a thing with itself being a pair.

    Args:
        ratios: The (P,) terms of the sum above and of the sum below.
        things: Number of things; with fewer than three, replicates are NaN.
        first: (P,) index of each pair's first thing.
        second: (P,) index of its second thing.
    """
    if things < LEAST or not ratios:
        return [np.full(RESAMPLES, np.nan) for _ in ratios]
    above, below = (np.stack([ratio[side] for ratio in ratios]).astype(np.float64) for side in range(2))
    blocks = []
    for weights_TR in replicate_weights(things):
        # Two copies of one thing are no pair of different things: with itself it weighs what it weighs alone.
        weights = weights_TR[first] * np.where((first == second)[:, None], 1, weights_TR[second])
        with np.errstate(invalid="ignore"):
            blocks.append((above @ weights) / (below @ weights))
    return list(np.concatenate(blocks, axis=1))


def without_interval(value: float, n: int) -> Statistic:
    """A number for which the bootstrap gives no honest interval."""
    return Statistic(float(value), np.full(RESAMPLES, np.nan), n)
