from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pcclip.evaluation.bootstrap import bootstrap
from pcclip.evaluation.significance import mean_over_seeds
from pcclip.evaluation.statistics import Observations


def random_pairs(rng: np.random.Generator, pictures: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.triu_indices(pictures, 1)
    chosen = rng.choice(len(first), count, replace=False)
    return first[chosen], second[chosen]


@pytest.mark.parametrize(
    ("pictures", "pairs", "spread"),
    [(400, 150, 0.0), (150, 150, 0.7), (60, 600, 0.7), (60, 600, 0.0), (300, None, 0.0)],
    ids=["sparse", "shared", "dense-clustered", "dense", "single-pictures"],
)
def test_intervals_cover_the_truth_as_often_as_they_say(pictures: int, pairs: int | None, spread: float):
    rng = np.random.default_rng(1)
    # A pair is right when both pictures' ease plus chance is above 0, so truth is a normal distribution's.
    truth = stats.norm.cdf(0.8 / np.sqrt(1 + 2 * spread**2))
    covered = 0
    for simulation in range(200):
        ease = rng.normal(0, spread, pictures)
        if pairs is None:
            first, second = np.arange(pictures), None
            scores = rng.random(pictures) < truth
        else:
            first, second = random_pairs(rng, pictures, pairs)
            scores = ease[first] + ease[second] + 0.8 + rng.normal(size=pairs) > 0
        groups = {"g": Observations(first, second, {"s": scores.astype(np.float32)})}
        found = bootstrap(groups, {"m": (("g", "s"),)}, pictures, resamples=300, seed=simulation)["m"]
        covered += found.low <= truth <= found.high
        assert found.low <= found.value <= found.high
    assert 0.88 <= covered / 200 <= 0.99


def test_a_mean_over_attributes_keeps_their_dependence():
    rng = np.random.default_rng(0)
    first, second = random_pairs(rng, 50, 800)
    scores = {"s": (rng.random(50)[first] + rng.random(800) > 0.8).astype(np.float32)}
    groups = {name: Observations(first, second, scores) for name in ("a", "b")}
    metrics = {"one": (("a", "s"),), "mean": (("a", "s"), ("b", "s"))}
    found = bootstrap(groups, metrics, 50)
    # The same scores twice are no more evidence than once.
    width = {name: estimate.high - estimate.low for name, estimate in found.items()}
    assert width["mean"] == pytest.approx(width["one"], rel=0.05)
    assert (found["one"].n, found["mean"].n) == (800, 1600)


def test_the_same_seed_gives_the_same_interval_whatever_else_is_measured():
    rng = np.random.default_rng(0)
    scores = {"s": rng.random(40).astype(np.float32), "t": rng.random(40).astype(np.float32)}
    groups = {"g": Observations(np.arange(40), None, scores)}
    metrics = {"s": (("g", "s"),), "t": (("g", "t"),)}
    both = bootstrap(groups, metrics, 40, seed=3)
    alone = bootstrap(groups, {"t": metrics["t"]}, 40, seed=3)
    assert both["t"].as_dict() == pytest.approx(alone["t"].as_dict(), abs=1e-6)
    assert abs(both["t"].low - bootstrap(groups, metrics, 40, seed=4)["t"].low) > 1e-5


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_all_right_or_all_wrong_still_has_an_interval(value: float):
    groups = {"g": Observations(np.arange(100), None, {"s": np.full(100, value, np.float32)})}
    found = bootstrap(groups, {"m": (("g", "s"),)}, 100)["m"]
    exact = stats.binomtest(int(value * 100), 100).proportion_ci(method="exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))
    change = bootstrap(groups, {"m": (("g", "s"),)}, 100, proportions=False)["m"]
    assert (change.low, change.high) == (value, value)


def test_a_part_without_a_drawn_picture_drops_out_of_that_replicate():
    scores = {"s": np.array([1.0], np.float32)}
    groups = {
        "rare": Observations(np.array([0]), None, scores),
        "common": Observations(
            np.arange(1, 30), None, {"s": np.tile([0.0, 1.0, 0.0], 10)[:29].astype(np.float32)}
        ),
    }
    found = bootstrap(groups, {"m": (("rare", "s"), ("common", "s"))}, 30)["m"]
    assert np.isfinite([found.low, found.high]).all()


def test_many_pictures_are_resampled_in_blocks():
    scores = {"s": (np.arange(40_000) % 2).astype(np.float32)}
    groups = {"g": Observations(np.arange(40_000), None, scores)}
    found = bootstrap(groups, {"m": (("g", "s"),)}, 40_000, resamples=500)["m"]
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.5 / 200, rel=0.15)


def test_mean_over_seeds_is_students_t():
    found = mean_over_seeds([0.90, 0.93, 0.96])
    expected = stats.t.interval(0.95, 2, loc=0.93, scale=stats.sem([0.90, 0.93, 0.96]))
    assert (found.value, found.low, found.high, found.n) == pytest.approx((0.93, *expected, 3))
    single = mean_over_seeds([0.9])
    assert single.value == 0.9
    assert np.isnan([single.low, single.high]).all()
