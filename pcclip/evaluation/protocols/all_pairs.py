"""Scores over all pairs of pictures, counted by ranks: no pair is ever held in memory."""

from __future__ import annotations

import numpy as np

from pcclip.evaluation.statistics import Doubles, Indices


def ordered_wins(scores: Doubles, values: Doubles, margin: float) -> tuple[Doubles, Indices]:
    """How many of its pairs each item is on the right side in.

    A pair qualifies if its values differ by more than the margin; it is right if the item of the greater
    value scores higher (1/2 for equal scores). Takes O(n log n) per row of scores.

    Args:
        scores: (C, n), several scores of the same items.
        values: (n,) finite.
        margin: Not negative.

    Returns:
        Right pairs (C, n) and qualifying pairs (n,) of each item. A pair counts for both its items.
    """
    order = np.argsort(values, kind="stable")
    ranked, sorted_scores = values[order], scores[:, order]
    # The item of place i is the lesser one with all from place starts[i], the greater with all below ends[i].
    starts = np.searchsorted(ranked, ranked + margin, side="right")
    ends = np.searchsorted(starts, np.arange(len(values)), side="right")
    lower = int(ends.max(initial=0))
    right = np.zeros(scores.shape)
    if lower and np.isin(ends, (0, lower)).all() and (ends[lower:] == lower).all():
        right[:, order] = _two_groups(sorted_scores, lower)
    else:
        for row, of in zip(right, sorted_scores, strict=True):
            row[order] = _by_margin(of, starts, ends)
    pairs = np.zeros(len(values), np.int64)
    pairs[order] = ends + len(values) - starts
    return right, pairs


def pseudo_values(right: Doubles, pairs: Indices) -> Doubles:
    """One number per picture, whose mean is the share of right pairs and whose spread is that share's.

    The mean over all pairs is a U-statistic: to first order (Hajek's projection; for two groups DeLong's
    structural components) picture i moves it by psi_i = (right_i - share * pairs_i) / all pairs. Its
    pseudo-value is share + n * psi_i. The plain mean of pseudo-values is the share, exactly; their bootstrap
    over pictures is the interval clustered by picture; and the difference of two models' pseudo-values is
    that of their difference, so that comparisons stay paired. Left out is what single pairs vary by
    themselves: of the order 1/n beside the rest, it could only make the interval narrower.

    Args:
        right: (C, n) right pairs of each picture.
        pairs: (n,) its pairs; at least one is positive.

    Returns:
        (C, n); they may lie outside [0, 1].
    """
    total = pairs.sum() / 2
    share = right.sum(axis=1, keepdims=True) / pairs.sum()
    return share + len(pairs) * (right - share * pairs) / total


def _two_groups(scores: Doubles, lower: int) -> Doubles:
    """Right pairs (C, n) where the first `lower` items are the lesser ones, and all others the greater."""
    from scipy.stats import rankdata  # half a second, which fits that draw pairs spare

    inside = np.concatenate(
        [rankdata(scores[:, :lower], axis=1), rankdata(scores[:, lower:], axis=1)], axis=1
    )
    below = rankdata(scores, axis=1) - inside  # items of the other group that score less
    below[:, :lower] = scores.shape[1] - lower - below[:, :lower]
    return below


def _by_margin(scores: Doubles, starts: Indices, ends: Indices) -> Doubles:
    """Right pairs (n,) of items in the order of their values; places as in `ordered_wins`."""
    from scipy.stats import rankdata

    everywhere = rankdata(scores) - 0.5
    below = _below(scores, np.concatenate([ends, starts])).reshape(2, -1)
    # Of the greater items, those that score higher: all that do, less those at the places below `starts`.
    return below[0] + (len(scores) - everywhere) - (starts - below[1])


def _below(scores: Doubles, stops: Indices) -> Doubles:
    """(k * n,) how many of the first `stops` items score less than item 0 .. n - 1, k times; equals: half.

    Ranks are split by one binary digit after the other (a wavelet matrix), all questions going along.
    """
    levels, inverse = np.unique(scores, return_inverse=True)
    ranks = inverse.astype(np.int32)
    limits = np.tile(ranks, len(stops) // len(ranks))
    if len(levels) < len(scores):
        limits, stops = np.concatenate([limits, limits + 1]), np.tile(stops, 2)  # less; less or equal
    start, stop = np.zeros_like(limits), stops.astype(np.int32)
    found = np.zeros_like(limits)
    for bit in reversed(range(len(levels).bit_length())):
        digit = (ranks >> bit & 1).astype(bool)
        ones = np.concatenate([[0], np.cumsum(digit, dtype=np.int32)], dtype=np.int32)
        zeros = np.int32(len(ranks) - ones[-1])
        upper = (limits >> bit & 1).astype(bool)
        ones_start, ones_stop = ones[start], ones[stop]
        found += upper * (stop - start - ones_stop + ones_start)
        start = np.where(upper, zeros + ones_start, start - ones_start)
        stop = np.where(upper, zeros + ones_stop, stop - ones_stop)
        ranks = np.concatenate([ranks[~digit], ranks[digit]])
    if len(levels) < len(scores):
        return found.reshape(2, -1).mean(axis=0)
    places = np.tile(np.arange(len(scores)), len(stops) // len(scores))
    return found + (places < stops) / 2  # the one equal item: itself
