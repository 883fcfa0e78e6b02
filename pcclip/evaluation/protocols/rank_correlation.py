"""Rank correlations with the influence of every item, in O(n log n).

A correlation of a bootstrap replicate is, to first order, the correlation plus the mean of the influences of
the items drawn (the delta method), so that a thousand replicates cost one matrix product. With replicates
through Fisher's z they stay within [-1, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pcclip.evaluation.statistics import Doubles, Indices


@dataclass(frozen=True)
class Ranked:
    """Numbers by rank.

    Attributes:
        order: (n,) items from the smallest to the greatest; of equals the earlier item first.
        dense: (n,) rank of each item among the u distinct values, from 0.
        below: (u + 1,) number of items below each distinct value; n at the end.
    """

    order: Indices
    dense: Indices
    below: Indices

    @classmethod
    def of(cls, values: npt.NDArray[np.floating]) -> Ranked:
        """Ranks (n,) finite numbers."""
        order = np.argsort(values, kind="stable")
        ordered = values[order]
        new = np.concatenate([[True], ordered[1:] != ordered[:-1]])
        dense = np.empty(len(values), np.int64)
        dense[order] = np.cumsum(new) - 1
        return cls(order, dense, np.append(np.flatnonzero(new), len(values)))

    def __len__(self) -> int:
        return len(self.order)

    @cached_property
    def centred(self) -> Doubles:
        """(n,) share of items below each, equals counted half, less 1/2: midranks with mean 0."""
        return ((self.below[:-1] + self.below[1:]) / (2 * len(self)) - 0.5)[self.dense]

    @cached_property
    def unequal(self) -> Doubles:
        """(n,) share of items that differ from each."""
        return (1 - np.diff(self.below) / len(self))[self.dense]

    def above(self, weights: Doubles) -> Doubles:
        """(n,) weight, per item, of what lies above each item; equals count half."""
        sums = np.bincount(self.dense, weights, len(self.below) - 1)
        return ((sums.sum() - np.cumsum(sums) + sums / 2) / len(self))[self.dense]

    def mean_among_equals(self, values: Doubles) -> Doubles:
        """(n,) mean value of the items equal to each, itself included: what a fair draw expects."""
        return (np.bincount(self.dense, values) / np.diff(self.below))[self.dense]


@dataclass(frozen=True)
class Correlation:
    """A rank correlation.

    Attributes:
        value: -1 .. 1.
        influence: (n,) of each item, with mean 0.
    """

    value: float
    influence: Doubles

    def replicates(self, shifts: Doubles) -> Doubles:
        """Correlations of bootstrap replicates, each from the mean influence of what it drew.

        Args:
            shifts: (R,) weighted means of the influences.
        """
        room = 1 - self.value**2
        if room < 1e-12:  # all in order: no replicate says otherwise
            return np.full(len(shifts), self.value)
        return np.tanh(np.arctanh(self.value) + shifts / room)


def spearman(x: Ranked, y: Ranked) -> Correlation:
    """Spearman's rho, as `scipy.stats.spearmanr`; 0 where all of x, or all of y, are equal."""
    a, b = x.centred, y.centred
    product, square_a, square_b = float(a @ b), float(a @ a), float(b @ b)
    if not square_a or not square_b:
        return Correlation(0.0, np.zeros(len(x)))
    n, scale = len(x), np.sqrt(square_a * square_b) / len(x)
    value = product / (n * scale)
    # An item moves a moment by its own term and, through the ranks, by the terms of all items above it.
    of_product = a * b + x.above(b) + y.above(a) - 3 * product / n
    of_a = (a * a + 2 * x.above(a)) * n / square_a - 3
    of_b = (b * b + 2 * y.above(b)) * n / square_b - 3
    return Correlation(float(np.clip(value, -1, 1)), of_product / scale - value / 2 * (of_a + of_b))


def kendall(x: Ranked, y: Ranked) -> Correlation:
    """Kendall's tau-b, as `scipy.stats.kendalltau`; 0 where all of x, or all of y, are equal."""
    a, b = float(x.unequal.mean()), float(y.unequal.mean())
    if not a or not b:
        return Correlation(0.0, np.zeros(len(x)))
    concordance = _concordance(x, y) / len(x)
    scale, mean = np.sqrt(a * b), float(concordance.mean())
    value = mean / scale
    of_scale = 2 * (x.unequal / a - 1) + 2 * (y.unequal / b - 1)
    return Correlation(float(np.clip(value, -1, 1)), 2 * (concordance - mean) / scale - value / 2 * of_scale)


def _concordance(x: Ranked, y: Ranked) -> Indices:
    """(n,) items that each is concordant with, less those that it is discordant with."""
    n = len(x)
    keys = x.dense * n + y.dense
    order = np.argsort(keys, kind="stable")
    group, ranks, keys = x.dense[order], y.dense[order], keys[order]
    signs = _signs_before(ranks, y.below)  # over all items before, those with the same x included
    first = x.below[group], np.searchsorted(keys, keys, side="left")
    last = x.below[group + 1], np.searchsorted(keys, keys, side="right")
    smaller, greater = first[1] - first[0], last[0] - last[1]  # among those with the same x
    everything = (y.below[:-1] + y.below[1:])[ranks] - n  # over all items, before and after
    concordance = np.empty(n, np.int64)
    concordance[order] = 2 * (signs - smaller) + smaller - greater - everything
    return concordance


def _signs_before(ranks: Indices, below: Indices) -> Indices:
    """Smaller items less greater items before each, in a list of dense ranks.

    Items are sorted by the bits of their rank, the highest first; where two items part, at the first bit that
    differs, the earlier one is counted for the later one.

    Args:
        ranks: (n,) dense ranks.
        below: As in `Ranked`.
    """
    n, top = len(ranks), len(below) - 2
    below, ranks = below.astype(np.int32), ranks.astype(np.int32)
    counts = np.zeros(n, np.int64)
    items, place = np.arange(n), np.arange(n, dtype=np.int32)
    zeros = np.zeros(n + 1, np.int32)
    for bit in reversed(range(top.bit_length())):
        zero = (ranks >> bit) & 1 == 0
        np.cumsum(zero, out=zeros[1:])
        start = below[(ranks >> (bit + 1)) << (bit + 1)]
        zeros_before = zeros[:-1] - zeros[start]
        ones_before = place - start - zeros_before
        counts[items] += np.where(zero, -ones_before, zeros_before)
        # A stable sort by the bits read so far.
        target = below[(ranks >> bit) << bit] + np.where(zero, zeros_before, ones_before)
        moved_items, moved_ranks = np.empty_like(items), np.empty_like(ranks)
        moved_items[target], moved_ranks[target] = items, ranks
        items, ranks = moved_items, moved_ranks
    return counts
