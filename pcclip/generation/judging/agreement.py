"""How far two raters agree, and shares, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pcclip.generation.judging.criteria import Criterion

_RESAMPLES = 2000
_Z = 1.959963984540054


@dataclass(frozen=True)
class Interval:
    """A number with its 95 % interval; all three NaN where it is not defined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Agreement:
    """Two raters on one criterion.

    Args:
        criterion: Its name.
        values: Its values, in the order of `counts`.
        counts: How often the first rater said the row's value and the second the column's, (V, V).
        kappa: Cohen's; with quadratic weights for a scale. NaN where both raters gave one and the same value
            to all texts, so that agreement by chance is certain.
        raw: Share of texts with the same value from both.
    """

    criterion: str
    values: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    kappa: Interval
    raw: Interval

    @property
    def texts(self) -> int:
        """How many texts both rated."""
        return int(self.counts.sum())

    def prevalence(self) -> tuple[dict[str, float], dict[str, float]]:
        """The share of every value with either rater."""
        total = max(self.texts, 1)
        first, second = self.counts.sum(axis=1) / total, self.counts.sum(axis=0) / total
        return dict(zip(self.values, first.tolist(), strict=True)), dict(
            zip(self.values, second.tolist(), strict=True)
        )


def agreement(criterion: Criterion, first: Sequence[str], second: Sequence[str], seed: int = 0) -> Agreement:
    """Compares two raters' values of the same texts, in the same order.

    The interval of kappa is the bootstrap's, by percentiles over texts; resamples in which kappa is not
    defined are left out.
    """
    at = {value: number for number, value in enumerate(criterion.values)}
    counts = np.zeros((len(at), len(at)), np.int64)
    for one, two in zip(first, second, strict=True):
        counts[at[one], at[two]] += 1
    total = int(counts.sum())
    same = int(np.trace(counts))
    raw = wilson(same, total)
    return Agreement(criterion.name, criterion.values, counts, _kappa(counts, criterion.ordinal, seed), raw)


def cohens_kappa(counts: npt.NDArray[np.int64], weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Cohen's kappa, 1 - observed / expected disagreement (Cohen 1960, 1968).

    Args:
        counts: Confusion counts, (..., V, V).
        weights: Disagreement of two values, (V, V): 0 on the diagonal.

    Returns:
        Kappa, (...); NaN where no disagreement is expected, or there are no counts.
    """
    shares = counts / np.maximum(counts.sum(axis=(-2, -1), keepdims=True), 1)
    chance = shares.sum(axis=-1, keepdims=True) * shares.sum(axis=-2, keepdims=True)
    observed, expected = (weights * shares).sum(axis=(-2, -1)), (weights * chance).sum(axis=(-2, -1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(expected > 1e-12, 1.0 - observed / expected, np.nan)


def disagreement(values: int, quadratic: bool) -> npt.NDArray[np.float64]:
    """Weights for `cohens_kappa`: 1 off the diagonal, or the squared distance on a scale."""
    steps = np.arange(values, dtype=np.float64)
    distance = np.abs(steps[:, None] - steps[None, :])
    return np.square(distance) if quadratic else np.sign(distance)


def wilson(hits: int, total: int) -> Interval:
    """A share with Wilson's 95 % score interval (Wilson 1927)."""
    if total == 0:
        return Interval(math.nan, math.nan, math.nan)
    share, squared = hits / total, _Z * _Z / total
    middle = (share + squared / 2) / (1 + squared)
    half = _Z * math.sqrt(share * (1 - share) / total + squared / (4 * total)) / (1 + squared)
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))


def mean(numbers: Sequence[float]) -> Interval:
    """A mean with its 95 % interval by the normal distribution."""
    if not numbers:
        return Interval(math.nan, math.nan, math.nan)
    values = np.asarray(numbers, np.float64)
    half = _Z * float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    value = float(values.mean())
    return Interval(value, value - half, value + half)


def _kappa(counts: npt.NDArray[np.int64], ordinal: bool, seed: int) -> Interval:
    total = int(counts.sum())
    weights = disagreement(len(counts), ordinal)
    value = float(cohens_kappa(counts, weights))
    if math.isnan(value):
        return Interval(math.nan, math.nan, math.nan)
    # Drawing texts anew, with replacement, is drawing the cells of their table.
    drawn = np.random.default_rng(seed).multinomial(total, counts.ravel() / total, _RESAMPLES)
    kappas = cohens_kappa(drawn.reshape(-1, *counts.shape), weights)
    low, high = np.nanpercentile(kappas, [2.5, 97.5])
    return Interval(value, float(low), float(high))
