"""Numbers with confidence intervals: the bootstrap over pictures, and the mean over seeds.

A pair of pictures is not an independent observation: it shares its pictures with other pairs. Pictures are
therefore what is resampled, and a pair weighs the product of its pictures' weights (the pigeonhole bootstrap,
Owen 2007). Where pictures come in few pairs, that product alone makes intervals up to sqrt(3) too wide; their
width is set right by the dyadic cluster-robust variance (Aronow, Samii and Assenova 2015).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

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
    """A number that is no mean over pictures or pairs: a rank correlation, a median, a cosine of classes.

    Attributes:
        value: The number.
        replicates: (R,) the same of bootstrap replicates. Of two models they are drawn alike (by
            `replicate_weights` with the same arguments), so that their difference is paired.
        n: Observations that it rests on.
    """

    value: float
    replicates: Doubles
    n: int

    def estimate(self, level: float = 0.95) -> Estimate:
        """With the quantiles of the replicates; NaN ends where there are none."""
        if not np.isfinite(self.replicates).any():
            return Estimate(self.value, float("nan"), float("nan"), self.n)
        low, high = np.nanquantile(self.replicates, [(1 - level) / 2, (1 + level) / 2])
        return Estimate(self.value, float(low), float(high), self.n)

    def minus(self, base: Statistic) -> Statistic:
        """The change from `base` to this."""
        return Statistic(self.value - base.value, self.replicates - base.replicates, self.n)


Parts = tuple[tuple[str, str], ...]
"""(group, column) of each part of a metric; the metric is the plain mean of its parts' means."""


def bootstrap(
    groups: Mapping[str, Observations],
    metrics: Mapping[str, Parts],
    pictures: int,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
    proportions: bool = True,
) -> dict[str, Estimate]:
    """Intervals of all metrics from one and the same resampling of the pictures.

    Every replicate draws the set's pictures once, for all groups: a mean over attributes keeps the dependence
    between attributes that are read off the same pictures.

    Args:
        groups: Observations by name.
        metrics: Each metric as the parts that it is the mean of.
        pictures: Number of pictures in the set.
        resamples: Number of bootstrap replicates.
        seed: Of the resampling.
        level: Coverage of the intervals.
        proportions: Scores lie in [0, 1]. A metric whose scores are all 0, or all 1, then gets an exact
            (Clopper-Pearson) end instead of an interval of no width; pairs count as pictures / 2 trials.
    """
    replicates = _replicates(groups, pictures, resamples, seed)
    tails = [(1 - level) / 2, (1 + level) / 2]
    estimates: dict[str, Estimate] = {}
    for name, parts in metrics.items():
        scores = [groups[group].scores[column] for group, column in parts]
        value = float(np.mean([part.mean(dtype=np.float64) for part in scores]))
        count = sum(len(part) for part in scores)
        if proportions and value in (0.0, 1.0):
            low, high = _exact_ends(value, _independent(groups, parts), level)
        else:
            # A part that a replicate has drawn no picture of is NaN there and drops out of the mean.
            drawn = np.nanmean([replicates[group][column] for group, column in parts], axis=0)
            low, high = np.nanquantile(drawn, tails)
            shrink = _shrinkage(groups, parts, pictures, float(np.nanstd(drawn)))
            low, high = value + shrink * (low - value), value + shrink * (high - value)
        estimates[name] = Estimate(value, float(low), float(high), count)
    return estimates


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
    if not values:
        raise ValueError("no values to take the mean of")
    array = np.asarray(values, np.float64)
    if len(array) == 1:
        return Estimate(float(array[0]), float("nan"), float("nan"), 1)
    reach = stats.t.ppf((1 + level) / 2, len(array) - 1) * array.std(ddof=1) / np.sqrt(len(array))
    return Estimate(float(array.mean()), float(array.mean() - reach), float(array.mean() + reach), len(array))


def _replicates(
    groups: Mapping[str, Observations], pictures: int, resamples: int, seed: int
) -> dict[str, dict[str, Doubles]]:
    """Weighted mean of every column in every replicate: group -> column -> (resamples,)."""
    blocks: dict[str, list[Doubles]] = {group: [] for group in groups}
    columns = {group: np.stack(list(seen.scores.values())) for group, seen in groups.items() if seen.scores}
    for weights_NR in replicate_weights(pictures, resamples, seed):
        for group, scores_Kn in columns.items():
            seen = groups[group]
            weights_nR = weights_NR[seen.first]
            if seen.second is not None:
                weights_nR *= weights_NR[seen.second]
            with np.errstate(invalid="ignore"):
                means_KR = (scores_Kn @ weights_nR).astype(np.float64) / weights_nR.sum(axis=0)
            blocks[group].append(means_KR)
    return {
        group: dict(zip(groups[group].scores, np.concatenate(blocks[group], axis=1), strict=True))
        for group in columns
    }


def _shrinkage(groups: Mapping[str, Observations], parts: Parts, pictures: int, spread: float) -> float:
    """What the product-weight interval of a metric over pairs is to be multiplied by; 1 for single pictures.

    Args:
        groups: As in `bootstrap`.
        parts: Of the metric.
        pictures: Number of pictures in the set.
        spread: Standard deviation of the metric's replicates.
    """
    if spread == 0 or any(groups[group].second is None for group, _ in parts):
        return 1.0
    by_picture = np.zeros(pictures)
    alone = 0.0  # variance if pairs were independent
    for group, column in parts:
        seen = groups[group]
        scores = seen.scores[column].astype(np.float64)
        influence = (scores - scores.mean()) / (len(scores) * len(parts))
        by_picture += np.bincount(seen.first, influence, pictures)
        by_picture += np.bincount(seen.second, influence, pictures)  # type: ignore[arg-type]
        alone += float(influence @ influence)
    # Each pair stands in the sum of both its pictures: taken off once. Never below independent pairs.
    variance = max(float(by_picture @ by_picture) - alone, alone)
    return min(1.0, float(np.sqrt(variance)) / spread)


def _independent(groups: Mapping[str, Observations], parts: Parts) -> int:
    """Trials that surely do not depend on each other: the pictures, or half the pictures that pairs use."""
    first = np.concatenate([groups[group].first for group, _ in parts])
    seconds = [second for group, _ in parts if (second := groups[group].second) is not None]
    if not seconds:
        return len(np.unique(first))
    return max(1, len(np.unique(np.concatenate([first, *seconds]))) // 2)


def _exact_ends(value: float, trials: int, level: float) -> tuple[float, float]:
    reach = ((1 - level) / 2) ** (1 / trials)
    return (0.0, 1 - reach) if value == 0 else (reach, 1.0)
