"""Numbers with their intervals and bootstrap replicates, and the draws that all replicates share."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

RESAMPLES = 1000
_BLOCK = 2**24  # weights held at once: 64 MiB


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval.

    Attributes:
        value: The number itself.
        low: Lower end of the interval; NaN where none can be given (one seed).
        high: Upper end.
        n: Observations it rests on: pictures, pairs, or seeds.
    """

    value: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, float | int]:
        """The four fields as JSON takes them (summary.json)."""
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}


@dataclass(frozen=True)
class Observations:
    """Scores of the same pictures, or of the same pairs of pictures.

    Attributes:
        first: (n,) index of the picture, or of the pair's first picture.
        second: (n,) index of the pair's second picture; None for scores of single pictures.
        scores: Columns of (n,) scores, by name: between 0 and 1, or between -1 and 1 for a change.
    """

    first: Indices
    second: Indices | None
    scores: dict[str, Floats]

    def same_units(self, other: Observations) -> bool:
        """Whether both hold the same pictures, or pairs, in the same order."""
        if (self.second is None) != (other.second is None) or not np.array_equal(self.first, other.first):
            return False
        return self.second is None or other.second is None or np.array_equal(self.second, other.second)


@dataclass(frozen=True)
class Statistic:
    """A number with its bootstrap replicates: a rank correlation, a median, a cosine of classes, or a mean.

    Attributes:
        value: The number.
        replicates: (R,) the same of bootstrap replicates. Of two models they are drawn alike (by
            `replicate_weights` with the same arguments), so that their difference is paired.
        n: Observations that it rests on.
        clusters: How many independent things were resampled (pictures, classes); `n` if None.
    """

    value: float
    replicates: Doubles
    n: int
    clusters: int | None = None

    @property
    def freedom(self) -> int:
        """Degrees of freedom of Student's t."""
        return max(1, (self.n if self.clusters is None else self.clusters) - 1)

    @property
    def error(self) -> float:
        """Bootstrap standard error; NaN without replicates."""
        if not np.isfinite(self.replicates).any():
            return float("nan")
        return float(np.nanstd(self.replicates)) * math.sqrt((self.freedom + 1) / self.freedom)

    def estimate(self, level: float = 0.95) -> Estimate:
        """With the quantiles of the replicates, widened to Student's t; NaN ends where there are none."""
        if not np.isfinite(self.replicates).any():
            return Estimate(self.value, float("nan"), float("nan"), self.n)
        from scipy import special  # a quarter of a second, which a command that estimates nothing spares

        tails = (1 - level) / 2, (1 + level) / 2
        widen = special.stdtrit(self.freedom, tails[1]) / special.ndtri(tails[1])
        widen *= math.sqrt((self.freedom + 1) / self.freedom)
        low, high = self.value + widen * (np.nanquantile(self.replicates, tails) - self.value)
        return Estimate(self.value, float(low), float(high), self.n)

    def p_value(self) -> float:
        """Of the null hypothesis that the number is 0, two-sided.

        The number over its bootstrap standard error is compared with Student's t. Counting replicates
        beyond 0 instead could not go below 1 / R, too coarse for a correction over a table's tests.

        Returns:
            NaN without replicates; 1 for an exact 0.
        """
        from scipy import special

        if self.value == 0:
            return 1.0
        if self.error == 0:  # all replicates alike (a median): no less than they can resolve
            return 2 / (len(self.replicates) + 1)
        return float(2 * special.stdtr(self.freedom, -abs(self.value) / self.error))

    def minus(self, base: Statistic) -> Statistic:
        """The change from `base` to this."""
        return replace(self, value=self.value - base.value, replicates=self.replicates - base.replicates)


Parts = tuple[tuple[str, str], ...]
"""(group, column) of each part of a metric; the metric is the plain mean of its parts' means."""


def replicate_weights(
    pictures: int, resamples: int = RESAMPLES, seed: int = 0, block: int = _BLOCK
) -> Iterator[Floats]:
    """How often each bootstrap replicate draws each picture (or class, or whatever is resampled).

    Args:
        pictures: Number of things to draw from.
        resamples: Number of replicates.
        seed: Of the draws.
        block: Weights held at once.

    Yields:
        (pictures, replicates) blocks, `resamples` replicates in all; what is drawn does not depend on how
        many other things are computed from it, only on the arguments.
    """
    rng = np.random.default_rng(seed)
    step = max(1, min(resamples, block // pictures))
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        drawn = rng.integers(0, pictures, (pictures, count)) * count + np.arange(count)
        counts = np.bincount(drawn.ravel(), minlength=pictures * count)
        yield counts.reshape(pictures, count).astype(np.float32)


def mean_over_seeds(values: Sequence[float], level: float = 0.95) -> Estimate:
    """Mean of one number over runs that differ in their seed, with Student's t interval.

    Args:
        values: One number per seed.
        level: Coverage.

    Returns:
        The mean; `low` and `high` are NaN for a single seed, which says nothing about its spread.

    Raises:
        ValueError: There are no values.
    """
    from scipy import special

    if not values:
        raise ValueError("no values to take the mean of")
    array = np.asarray(values, np.float64)
    if len(array) == 1:
        return Estimate(float(array[0]), float("nan"), float("nan"), 1)
    reach = special.stdtrit(len(array) - 1, (1 + level) / 2) * array.std(ddof=1) / np.sqrt(len(array))
    return Estimate(float(array.mean()), float(array.mean() - reach), float(array.mean() + reach), len(array))
