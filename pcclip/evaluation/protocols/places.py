"""Where the right items come in a ranking: recall, precision and median ranks, ties taken fairly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from pcclip.evaluation.statistics import (
    RESAMPLES,
    Doubles,
    Floats,
    Indices,
    Statistic,
    replicate_weights,
)

_BLOCK = 2**23  # scores held at once: 32 MiB


@dataclass(frozen=True)
class Places:
    """Where each of Q queries finds the best of its right items.

    Items with one and the same score come in a fair order, so that no order of the items is favoured.

    Attributes:
        closer: (Q,) items that score higher than it.
        tied: (Q,) items that score the same, itself included.
        right: (Q,) right items among those.
    """

    closer: Indices
    tied: Indices
    right: Indices

    def recall(self, k: int) -> Floats:
        """(Q,) chance that a right item is among the first k: 0 or 1 but for ties."""
        free = k - self.closer
        wrong = self.tied - self.right
        drawn = np.clip(free, 0, wrong)
        # All `drawn` places go to wrong items, of those that are tied.
        none = np.exp(
            gammaln(wrong + 1)
            - gammaln(wrong - drawn + 1)
            - gammaln(self.tied + 1)
            + gammaln(self.tied - drawn + 1)
        )
        return np.where(free <= 0, 0, np.where(free > wrong, 1, 1 - none)).astype(np.float32)

    def ranks(self) -> Doubles:
        """(Q,) expected rank of the first right item, from 1."""
        return self.closer + (self.tied + 1) / (self.right + 1)

    def __getitem__(self, queries: Indices) -> Places:
        """The places of some queries."""
        return Places(self.closer[queries], self.tied[queries], self.right[queries])


def places(scores_QI: Floats, query: Indices, item: Indices) -> Places:
    """Places by a matrix of scores.

    Args:
        scores_QI: Score of each of I items for each of Q queries; -inf for an item that is no candidate.
        query: (P,) query of each right item, ascending; every query has one.
        item: (P,) the right item.
    """
    own = scores_QI[query, item]
    starts = np.searchsorted(query, np.arange(len(scores_QI)))
    best = np.maximum.reduceat(own, starts)
    return Places(
        np.count_nonzero(scores_QI > best[:, None], axis=1),
        np.count_nonzero(scores_QI == best[:, None], axis=1),
        np.add.reduceat((own == best[query]).astype(np.int64), starts),
    )


@dataclass(frozen=True)
class Items:
    """Embeddings of things that may be equal, each distinct one held once: equals then tie exactly.

    Attributes:
        rows: (U, D) distinct rows.
        of: (I,) row of each thing.
    """

    rows: Floats
    of: Indices

    @classmethod
    def distinct(cls, rows: Floats) -> Items:
        """Things by their rows (I, D)."""
        rows = np.ascontiguousarray(rows)
        seen = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).reshape(-1)
        _, first, of = np.unique(seen, return_index=True, return_inverse=True)
        if len(first) == len(rows):
            return cls(rows, np.arange(len(rows)))
        return cls(rows[first], of.reshape(-1).astype(np.int64))

    def __len__(self) -> int:
        return len(self.of)

    def __getitem__(self, things: Indices) -> Items:
        """Some of the things."""
        return Items(self.rows, self.of[things])

    def scores(self, queries: Floats) -> Floats:
        """(Q, I) inner product with each of Q rows."""
        scores = queries @ self.rows.T
        return scores if len(self.rows) == len(self.of) else scores[:, self.of]


def places_in_blocks(
    queries: Items, items: Items, query: Indices, item: Indices, block: int = _BLOCK
) -> Places:
    """Places by inner product, never holding all scores.

    Args:
        queries: Q of them.
        items: I of them.
        query: As in `places`.
        item: As in `places`.
        block: Scores held at once.
    """
    order = np.argsort(queries.of, kind="stable")  # equal queries follow one another: multiplied once
    starts = np.searchsorted(query, np.arange(len(queries) + 1))
    step = max(1, block // len(items))
    found = []
    for begin in range(0, len(order), step):
        part = order[begin : begin + step]
        rows, row = np.unique(queries.of[part], return_inverse=True)
        counts = starts[part + 1] - starts[part]
        positions = np.repeat(starts[part] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        scores = items.scores(queries.rows[rows])
        scores = scores if len(rows) == len(part) else scores[row.reshape(-1)]
        found.append(places(scores, np.repeat(np.arange(len(part)), counts), item[positions]))
    back = np.argsort(order)
    whole = (np.concatenate([getattr(one, name) for one in found]) for name in ("closer", "tied", "right"))
    return Places(*whole)[back]


def precision(scores_QI: Floats, right_QI: npt.NDArray[np.bool_], k: int) -> Floats:
    """(Q,) share of right items among the first k; of items that tie for the last place, their mean.

    Args:
        scores_QI: As in `places`, at least k candidates for each query.
        right_QI: Whether an item is right.
        k: At least 1.
    """
    last = np.partition(scores_QI, -k, axis=1)[:, -k, None]
    sure, tied = scores_QI > last, scores_QI == last
    left = k - np.count_nonzero(sure, axis=1)
    share = np.count_nonzero(tied & right_QI, axis=1) / np.count_nonzero(tied, axis=1)
    return ((np.count_nonzero(sure & right_QI, axis=1) + left * share) / k).astype(np.float32)


def median_rank(
    ranks: Doubles,
    first: Indices,
    second: Indices | None,
    pictures: int,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Statistic:
    """Median of ranks, with replicates of a bootstrap over pictures.

    Args:
        ranks: (Q,) of the queries.
        first: (Q,) picture of each query, or the first of its pair.
        second: (Q,) second picture of its pair; None for single pictures.
        pictures: Number of pictures in the set.
        resamples: Number of replicates.
        seed: Of the resampling.
    """
    value = float(np.median(ranks))
    order = np.argsort(ranks, kind="stable")
    found = []
    for weights in replicate_weights(pictures, resamples, seed, block=max(1, 2**24 * pictures // len(ranks))):
        drawn = weights[first[order]]
        if second is not None:
            drawn *= weights[second[order]]
        found.append(_weighted_medians(ranks[order], drawn))
    replicates = np.concatenate(found)
    if second is not None:
        replicates = value + _shrinkage(ranks <= value, first, second, pictures) * (replicates - value)
    return Statistic(value, replicates, len(ranks))


def _weighted_medians(ordered: Doubles, weights_QR: Floats) -> Doubles:
    sums = np.cumsum(weights_QR, axis=0, dtype=np.float64)
    half = sums[-1] / 2
    low, high = (sums < half).sum(axis=0), (sums <= half).sum(axis=0)
    medians = (ordered[low.clip(max=len(ordered) - 1)] + ordered[high.clip(max=len(ordered) - 1)]) / 2
    return np.where(half > 0, medians, np.nan)


def _shrinkage(below: npt.NDArray[np.bool_], first: Indices, second: Indices, pictures: int) -> float:
    """By how much product weights overstate the spread of a share of pairs (`statistics`)."""
    influence = below - below.mean()
    alone = float(influence @ influence)
    if not alone:
        return 1.0
    sums = np.bincount(first, influence, pictures), np.bincount(second, influence, pictures)
    both = sums[0] + sums[1]
    # The variance under product weights: every pair that shares a picture, and the pair itself thrice.
    product = float(both @ both) + alone
    return min(1.0, float(np.sqrt(max(float(both @ both) - alone, alone) / product)))
