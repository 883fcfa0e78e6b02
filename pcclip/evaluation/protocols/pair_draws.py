"""Which pairs of pictures are compared: all that differ enough in a value, or a fair draw of them."""

from __future__ import annotations

import hashlib

import numpy as np

from pcclip.evaluation.statistics import Doubles, Indices


def chance(seed: int, attribute: str) -> np.random.Generator:
    """A source of chance of each attribute's own: what is drawn for one does not depend on the others."""
    digest = hashlib.sha256(attribute.encode()).digest()[:8]
    return np.random.default_rng([seed, int.from_bytes(digest, "little")])


def count_pairs(values: Doubles, margin: float) -> int:
    """How many unordered pairs of values (n,) differ by more than a margin."""
    ranked = np.sort(values)
    return int((len(ranked) - np.searchsorted(ranked, ranked + margin, side="right")).sum())


def sample_pairs(
    values: Doubles, margin: float, count: int, rng: np.random.Generator
) -> tuple[Indices, Indices]:
    """Pairs of items whose values differ by more than a margin, each unordered pair at most once.

    Args:
        values: (n,) finite.
        margin: Not negative.
        count: Pairs wanted; all qualifying pairs come where there are fewer.
        rng: Source of chance.

    Returns:
        The items of each pair, (P,) and (P,); which comes first is a fair draw.
    """
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    # Item i (by rank) qualifies with all of rank starts[i] and above: pairs are counted, not tried.
    starts = np.searchsorted(ranked, ranked + margin, side="right")
    ends = np.cumsum(len(values) - starts)
    total = int(ends[-1]) if len(ends) else 0
    chosen = rng.choice(total, count, replace=False) if total > count else rng.permutation(total)
    lower = np.searchsorted(ends, chosen, side="right")
    upper = len(values) - (ends[lower] - chosen)
    pairs = np.stack([order[lower], order[upper]]).astype(np.int64)
    swap = rng.random(pairs.shape[1]) < 0.5
    pairs[:, swap] = pairs[::-1, swap]
    return pairs[0], pairs[1]


def listed_pairs(values: Doubles, margin: float) -> tuple[Indices, Indices]:
    """All pairs i < j of items whose values (n,) differ by more than a margin: (P,) and (P,)."""
    first, second = np.triu_indices(len(values), 1)
    sides = np.sort([values[first], values[second]], axis=0)
    differ = sides[1] > sides[0] + margin
    return first[differ], second[differ]
