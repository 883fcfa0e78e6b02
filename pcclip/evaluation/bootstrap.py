"""Means over pictures and pairs with 95 % intervals, by the bootstrap over pictures.

A pair of pictures is not an independent observation: it shares its pictures with other pairs. Pictures are
therefore what is resampled, and a pair weighs the product of its pictures' weights (the pigeonhole bootstrap,
Owen 2007). Where pictures come in few pairs, that product alone makes intervals up to sqrt(3) too wide; their
width is set right by the dyadic cluster-robust variance (Aronow, Samii and Assenova 2015).

Few pictures make plain bootstrap intervals too narrow. They are therefore widened to Student's t (Hesterberg
2015); shares of right answers get Wilson's interval with the number of independent pictures that would have
the bootstrap's standard error, which holds near 0 and 1 too; and changes get two more pictures in their
standard error, one that gains and one that loses (Bonett and Price 2012), which holds where few pictures
change at all. `python -m tests.benchmarks.coverage` says how often all of these hold the truth.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping

import numpy as np
from scipy import special  # scipy.stats takes half a second to import

from pcclip.evaluation.statistics import (
    RESAMPLES,
    Doubles,
    Estimate,
    Floats,
    Indices,
    Observations,
    Parts,
    Statistic,
    replicate_weights,
)


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
        proportions: Scores are shares of right answers, in [0, 1]; False for changes. A metric whose scores
            are all 0, or all 1, then gets an exact (Clopper-Pearson) end; pairs count as pictures / 2 trials.
    """
    means = bootstrap_means(
        groups, metrics, pictures, resamples=resamples, seed=seed, changes=not proportions
    )
    estimates = {}
    for name, mean in means.items():
        parts = metrics[name]
        if not proportions or not all(_are_shares(groups[group].scores[column]) for group, column in parts):
            estimates[name] = mean.estimate(level)
        elif mean.value in (0.0, 1.0):
            ends = _exact_ends(mean.value, _independent(groups, parts), level)
            estimates[name] = Estimate(mean.value, *ends, mean.n)
        else:
            estimates[name] = Estimate(mean.value, *_wilson(mean, level), mean.n)
    return estimates


def bootstrap_means(
    groups: Mapping[str, Observations],
    metrics: Mapping[str, Parts],
    pictures: int,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    changes: bool = False,
) -> dict[str, Statistic]:
    """All metrics with replicates from one and the same resampling of the pictures.

    Args:
        groups: As in `bootstrap`.
        metrics: As in `bootstrap`.
        pictures: As in `bootstrap`.
        resamples: As in `bootstrap`.
        seed: As in `bootstrap`.
        changes: Scores are changes from one model to another.

    Returns:
        Replicates spread around the value as wide as its standard error is, pairs and rare changes heeded.
    """
    replicates = _replicates(groups, metrics, pictures, resamples, seed)
    found: dict[str, Statistic] = {}
    for name, parts in metrics.items():
        scores = [groups[group].scores[column] for group, column in parts]
        value = float(np.mean([part.mean(dtype=np.float64) for part in scores]))
        # A part that a replicate has drawn no picture of is NaN there and drops out of the mean.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Mean of empty slice")  # a replicate that has drawn none
            drawn = np.nanmean([replicates[group][column] for group, column in parts], axis=0)
        clusters = _clusters(groups, parts)
        scale = _pair_scale(groups, parts, pictures, clusters, float(np.nanstd(drawn)))
        if changes:
            most = max(float(np.abs(part).max()) for part in scores)
            scale *= _rare_scale(most, _independent(groups, parts), scale * float(np.nanstd(drawn)))
        drawn = value + scale * (drawn - value)
        found[name] = Statistic(value, drawn, sum(len(part) for part in scores), clusters)
    return found


def _replicates(
    groups: Mapping[str, Observations],
    metrics: Mapping[str, Parts],
    pictures: int,
    resamples: int,
    seed: int,
) -> dict[str, dict[str, Doubles]]:
    """Weighted mean of every column that is needed in every replicate: group -> column -> (resamples,)."""
    needed: dict[str, dict[str, None]] = {}
    for parts in metrics.values():
        for group, column in parts:
            needed.setdefault(group, {})[column] = None
    blocks: dict[str, list[Doubles]] = {group: [] for group in needed}
    columns = {group: np.stack([groups[group].scores[c] for c in needed[group]]) for group in needed}
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
        group: dict(zip(needed[group], np.concatenate(blocks[group], axis=1), strict=True))
        for group in columns
    }


def _pair_scale(
    groups: Mapping[str, Observations], parts: Parts, pictures: int, clusters: int, spread: float
) -> float:
    """What the product-weight replicates of a metric over pairs are to be scaled by; 1 for single pictures.

    Args:
        groups: As in `bootstrap`.
        parts: Of the metric.
        pictures: Number of pictures in the set.
        clusters: Number of pictures that the metric rests on.
        spread: Standard deviation of the metric's replicates.
    """
    if spread == 0 or any(groups[group].second is None for group, _ in parts):
        return 1.0
    by_picture = np.zeros(pictures)
    pairs: list[Indices] = []
    influences: list[Doubles] = []
    for group, column in parts:
        first, second = groups[group].first, groups[group].second
        scores = groups[group].scores[column].astype(np.float64)
        influences.append((scores - scores.mean()) / (len(scores) * len(parts)))
        by_picture += np.bincount(first, influences[-1], pictures)
        by_picture += np.bincount(second, influences[-1], pictures)  # type: ignore[arg-type]
        pairs.append(np.minimum(first, second) * pictures + np.maximum(first, second))  # type: ignore[arg-type]
    _, place = np.unique(np.concatenate(pairs), return_inverse=True)
    by_pair = np.bincount(place.ravel(), np.concatenate(influences))
    alone = float(by_pair @ by_pair)  # variance if pairs were independent
    # Each pair stands in the sum of both its pictures: taken off once. Never below independent pairs.
    variance = max(float(by_picture @ by_picture) - alone, alone)
    few = (clusters - 1) / max(1, clusters - 2)  # a picture's mean over its pairs leans towards the whole's
    return min(1.0, math.sqrt(variance) / spread) * few


def _rare_scale(most: float, pictures: int, spread: float) -> float:
    """How much wider a change spreads with one more picture that gains and one more that loses."""
    if spread == 0:
        return 1.0
    shrunk = spread * pictures / (pictures + 2)
    return max(1.0, math.hypot(shrunk, math.sqrt(2) * most / (pictures + 2)) / spread)


def _are_shares(scores: Floats) -> bool:
    return bool(scores.min() >= 0 and scores.max() <= 1)


def _clusters(groups: Mapping[str, Observations], parts: Parts) -> int:
    """Number of pictures that a metric rests on."""
    seen = [groups[group] for group in dict.fromkeys(group for group, _ in parts)]
    sides = [one.first for one in seen] + [one.second for one in seen if one.second is not None]
    return len(np.unique(np.concatenate(sides)))


def _independent(groups: Mapping[str, Observations], parts: Parts) -> int:
    """Trials that surely do not depend on each other: the pictures, or half the pictures that pairs use."""
    count = _clusters(groups, parts)
    return count if all(groups[group].second is None for group, _ in parts) else max(1, count // 2)


def _wilson(mean: Statistic, level: float) -> tuple[float, float]:
    """Wilson's interval, for as many trials as would have the mean's standard error."""
    if mean.error == 0:
        return mean.value, mean.value
    share = (
        special.stdtrit(mean.freedom, (1 + level) / 2) ** 2 * mean.error**2 / (mean.value * (1 - mean.value))
    )
    centre = (mean.value + share / 2) / (1 + share)
    reach = math.sqrt(share * mean.value * (1 - mean.value) + share**2 / 4) / (1 + share)
    return centre - reach, centre + reach


def _exact_ends(value: float, trials: int, level: float) -> tuple[float, float]:
    reach = ((1 - level) / 2) ** (1 / trials)
    return (0.0, 1 - reach) if value == 0 else (reach, 1.0)
