"""`python -m tests.benchmarks.coverage`: how often 95 % intervals hold the truth, on simulated data sets."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from jsonargparse import auto_cli
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy import stats

from pcclip.evaluation.bootstrap import bootstrap, bootstrap_means
from pcclip.evaluation.statistics import Estimate, Observations, Statistic, replicate_weights

Rng = np.random.Generator
Outcome = tuple[Estimate, float]
"""An interval, and the p-value of the true value (NaN where none is defined)."""


@dataclass(frozen=True)
class Case:
    """A kind of metric on simulated data.

    Attributes:
        name: What is simulated.
        truth: Value that the intervals should hold.
        simulate: Draws a data set and measures it, given chance, replicates and the bootstrap's seed.
    """

    name: str
    truth: float
    simulate: Callable[[Rng, int, int], Outcome]


def shares(
    make: Callable[[Rng], tuple[dict[str, Observations], int]], rng: Rng, replicates: int, seed: int
) -> Outcome:
    """The mean of all groups' scores."""
    groups, pictures = make(rng)
    metrics = {"m": tuple((group, "s") for group in groups)}
    found = bootstrap(groups, metrics, pictures, resamples=replicates, seed=seed)["m"]
    return found, math.nan


def changes(
    truth: float, make: Callable[[Rng], tuple[Observations, int]], rng: Rng, replicates: int, seed: int
) -> Outcome:
    """The mean of one group's changes; the p-value is of the hypothesis that is true."""
    seen, pictures = make(rng)
    groups, metrics = {"g": seen}, {"m": (("g", "s"),)}
    found = bootstrap_means(groups, metrics, pictures, resamples=replicates, seed=seed, changes=True)["m"]
    moved = Statistic(found.value - truth, found.replicates, found.n, found.clusters)
    return found.estimate(), moved.p_value()


def observed(scores: np.ndarray, first: np.ndarray, second: np.ndarray | None = None) -> Observations:
    return Observations(first, second, {"s": scores.astype(np.float32)})


def accuracy(pictures: int, right: float, rng: Rng) -> tuple[dict[str, Observations], int]:
    return {"g": observed(rng.random(pictures) < right, np.arange(pictures))}, pictures


def per_class(classes: int, each: int, rng: Rng) -> tuple[dict[str, Observations], int]:
    """Classes are right with shares from 0.5 to 0.95."""
    rows = np.arange(classes * each).reshape(classes, each)
    right = np.linspace(0.5, 0.95, classes)
    groups = {f"class {c}": observed(rng.random(each) < right[c], rows[c]) for c in range(classes)}
    return groups, rows.size


def pairs(
    pictures: int, count: int, spread: float, attributes: int, rng: Rng
) -> tuple[dict[str, Observations], int]:
    """A pair is right when both pictures' ease (normal, of this spread), 0.8 and noise add up to above 0."""
    everything = np.triu_indices(pictures, 1)
    groups = {}
    for number in range(attributes):
        ease = rng.normal(0, spread, pictures)
        chosen = rng.choice(len(everything[0]), count, replace=False)
        first, second = everything[0][chosen], everything[1][chosen]
        right = ease[first] + ease[second] + 0.8 + rng.normal(size=count) > 0
        groups[f"attribute {number}"] = observed(right, first, second)
    return groups, pictures


def recall(pictures: int, captions: int, rng: Rng) -> tuple[dict[str, Observations], int]:
    """Captions of one picture share its ease: half of what decides."""
    ease = np.repeat(rng.normal(size=pictures), captions)
    right = ease + 0.8 + rng.normal(size=len(ease)) > 0
    return {"g": observed(right, np.repeat(np.arange(pictures), captions))}, pictures


def picture_change(pictures: int, gain: float, loss: float, rng: Rng) -> tuple[Observations, int]:
    draw = rng.random(pictures)
    return observed((draw < gain) * 1.0 - (draw > 1 - loss), np.arange(pictures)), pictures


def pair_change(pictures: int, count: int, spread: float, rng: Rng) -> tuple[Observations, int]:
    """After minus before, alike in truth, by pictures whose ease changes."""
    before, after = rng.normal(0, spread, (2, pictures))
    everything = np.triu_indices(pictures, 1)
    chosen = rng.choice(len(everything[0]), count, replace=False)
    first, second = everything[0][chosen], everything[1][chosen]
    noise = rng.normal(size=count)
    right = [ease[first] + ease[second] + 0.8 + noise > 0 for ease in (before, after)]
    return observed(right[1] * 1.0 - right[0], first, second), pictures


def spearman(pictures: int, correlation: float, rng: Rng, replicates: int, seed: int) -> Outcome:
    """A rank correlation with weighted ranks in every replicate."""
    x, noise = rng.normal(size=(2, pictures))
    y = correlation * x + math.sqrt(1 - correlation**2) * noise
    weights = np.concatenate(list(replicate_weights(pictures, replicates, seed)), axis=1).astype(float)
    ranks = [weighted_ranks(values, weights) for values in (x, y)]
    drawn = weighted_correlation(ranks[0], ranks[1], weights)
    found = Statistic(float(stats.spearmanr(x, y).statistic), drawn, pictures)
    truth = 6 / math.pi * math.asin(correlation / 2)
    return found.estimate(), Statistic(found.value - truth, drawn, pictures).p_value()


def weighted_ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(N, R) middle ranks of (N,) different values, each standing there as often as it weighs."""
    order = np.argsort(values)
    ranks = np.empty_like(weights)
    ranks[order] = np.cumsum(weights[order], axis=0) - weights[order] / 2
    return ranks


def weighted_correlation(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    x, y = (values - (weights * values).sum(0) / weights.sum(0) for values in (x, y))
    return (weights * x * y).sum(0) / np.sqrt((weights * x * x).sum(0) * (weights * y * y).sum(0))


def pair_truth(spread: float) -> float:
    return float(stats.norm.cdf(0.8 / math.sqrt(1 + 2 * spread**2)))


def cases() -> list[Case]:
    """Every kind of metric, with many pictures and with few."""
    made = [
        Case(f"accuracy {p:.0%}, {n:,} pictures", p, partial(shares, partial(accuracy, n, p)))
        for n, p in ((1000, 0.9), (200, 0.9), (400, 0.99), (50, 0.98), (30, 0.7))
    ]
    made += [
        Case(f"mean per class, {c} x {n}", 0.725, partial(shares, partial(per_class, c, n)))
        for c, n in ((10, 100), (100, 5))
    ]
    for n, count, spread, attributes, kind in (
        (400, 150, 0.7, 1, "sparse"),
        (150, 150, 0.7, 1, "shared"),
        (60, 600, 0.7, 1, "dense"),
        (60, 600, 0.0, 1, "dense, pictures alike"),
        (20, 190, 0.7, 1, "all of few"),
        (200, 400, 0.7, 5, "5 attributes"),
    ):
        name = f"pairs, {kind}: {count} of {n} pictures"
        made.append(
            Case(name, pair_truth(spread), partial(shares, partial(pairs, n, count, spread, attributes)))
        )
    made += [
        Case(f"recall, {n} pictures x {k} captions", pair_truth(math.sqrt(0.5)),
             partial(shares, partial(recall, n, k)))
        for n, k in ((200, 5), (30, 5))
    ]  # fmt: skip
    made += [
        Case(f"change +{g:.1%} -{w:.1%}, {n:,} pictures", g - w,
             partial(changes, g - w, partial(picture_change, n, g, w)))
        for n, g, w in ((1000, 0.05, 0.05), (1000, 0.05, 0.03), (1000, 0.004, 0.002), (200, 0.02, 0.0),
                        (30, 0.2, 0.1))
    ]  # fmt: skip
    made += [
        Case(f"change of {count} pairs of {n} pictures", 0.0,
             partial(changes, 0.0, partial(pair_change, n, count, 0.7)))
        for n, count in ((400, 150), (60, 600), (20, 190))
    ]  # fmt: skip
    made += [
        Case(f"Spearman {6 / math.pi * math.asin(r / 2):.2f}, {n} pictures", 6 / math.pi * math.asin(r / 2),
             partial(spearman, n, r))
        for n, r in ((300, 0.0), (300, 0.9), (50, 0.5))
    ]  # fmt: skip
    return made


@dataclass(frozen=True)
class Coverage:
    """What simulations of a case found.

    Attributes:
        held: Share of intervals that hold the truth.
        above: Share that lie above it.
        below: Share that lie below it.
        rejected: Share of tests of the true value with p < 0.05; NaN where there are none.
        width: Mean width of the intervals.
        seconds: That it took.
    """

    held: float
    above: float
    below: float
    rejected: float
    width: float
    seconds: float


def measure(case: Case, simulations: int, replicates: int, seed: int = 0) -> Coverage:
    """Simulates data sets of a case."""
    start = time.perf_counter()
    rng = np.random.default_rng(seed)
    outcomes = [case.simulate(rng, replicates, number) for number in range(simulations)]
    low, high = np.array([(found.low, found.high) for found, _ in outcomes]).T
    p_values = np.array([p for _, p in outcomes])
    above, below = float((low > case.truth).mean()), float((high < case.truth).mean())
    rejected = math.nan if np.isnan(p_values).any() else float((p_values < 0.05).mean())
    seconds = time.perf_counter() - start
    return Coverage(1 - above - below, above, below, rejected, float((high - low).mean()), seconds)


def run(simulations: int = 1000, replicates: int = 1000, seed: int = 0) -> None:
    """Prints the coverage of every kind of metric.

    Args:
        simulations: Data sets of each kind.
        replicates: Of each bootstrap.
        seed: Of the data sets.
    """
    table = Table("simulated", "covered", "above", "below", "p < 0.05", "mean width", "s")
    for case in track(cases(), description="simulating"):
        found = measure(case, simulations, replicates, seed)
        error = math.sqrt(found.held * (1 - found.held) / simulations)
        table.add_row(
            case.name,
            f"{found.held:.1%} ± {error:.1%}",
            f"{found.above:.1%}",
            f"{found.below:.1%}",
            "" if math.isnan(found.rejected) else f"{found.rejected:.1%}",
            f"{found.width:.4f}",
            f"{found.seconds:.0f}",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    auto_cli(run, as_positional=False)
