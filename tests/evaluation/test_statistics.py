from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from pcclip.evaluation.bootstrap import bootstrap
from pcclip.evaluation.protocol import Results
from pcclip.evaluation.significance import holm, mcnemar, seeds_p_value
from pcclip.evaluation.statistics import Observations, Statistic, mean_over_seeds
from tests.benchmarks.coverage import cases, measure


def random_pairs(rng: np.random.Generator, pictures: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.triu_indices(pictures, 1)
    chosen = rng.choice(len(first), count, replace=False)
    return first[chosen], second[chosen]


CASES = {case.name: case for case in cases()}


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("accuracy 99%, 400 pictures", 0.91, 0.985),
        ("accuracy 70%, 30 pictures", 0.92, 0.99),
        ("mean per class, 100 x 5", 0.92, 0.99),
        ("pairs, sparse: 150 of 400 pictures", 0.92, 0.985),
        ("pairs, dense: 600 of 60 pictures", 0.91, 0.985),
        ("pairs, all of few: 190 of 20 pictures", 0.91, 0.985),
        ("recall, 30 pictures x 5 captions", 0.91, 0.985),
        ("change +20.0% -10.0%, 30 pictures", 0.92, 0.99),
        ("change +2.0% -0.0%, 200 pictures", 0.93, 1.0),
        ("change of 150 pairs of 400 pictures", 0.92, 0.99),
        ("Spearman 0.48, 50 pictures", 0.90, 0.985),
    ],
)
def test_intervals_cover_the_truth_as_often_as_they_say(name: str, least: float, most: float):
    found = measure(CASES[name], simulations=250, replicates=250)
    assert least <= found.held <= most
    # The test of the true value rejects as often as its interval misses it, roughly.
    assert np.isnan(found.rejected) or found.rejected <= 1 - least + 0.02


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
    assert np.isnan(seeds_p_value([0.9]))
    assert seeds_p_value([0.02, 0.05, 0.03]) == pytest.approx(stats.ttest_1samp([0.02, 0.05, 0.03], 0).pvalue)
    assert (seeds_p_value([0.0, 0.0]), seeds_p_value([0.1, 0.1])) == (1, 0)
    with pytest.raises(ValueError, match="no values"):
        mean_over_seeds([])


def test_mcnemar_counts_the_pictures_whose_answer_changed():
    changes = np.array([1] * 9 + [-1] * 2 + [0] * 500)
    assert mcnemar(changes) == pytest.approx(stats.binomtest(2, 11).pvalue)
    assert mcnemar(-changes) == mcnemar(changes)
    assert mcnemar(np.zeros(5)) == 1
    with pytest.raises(ValueError, match="right or wrong"):
        mcnemar(np.array([0.5, 1]))


def test_holm_corrects_for_the_number_of_tests():
    # Holm's step-down by hand: 4 * 0.01, 3 * 0.013, 2 * 0.03, 1 * 0.4, each no less than the one before.
    assert holm([0.03, 0.01, 0.4, 0.013]) == pytest.approx([0.06, 0.04, 0.4, 0.04])
    assert holm([0.5, 0.6]) == [1, 1]
    corrected = holm([float("nan"), 0.02])  # no test counts for nothing
    assert np.isnan(corrected[0])
    assert corrected[1] == 0.02
    assert holm([]) == []


def test_the_p_value_of_a_change_agrees_with_students_and_mcnemars_test():
    rng = np.random.default_rng(0)
    for gain in (0.0, 0.02, 0.1):
        draw = rng.random(500)
        scores = ((draw < 0.05 + gain) * 1.0 - (draw > 0.95)).astype(np.float32)
        groups = {"g": Observations(np.arange(500), None, {"s": scores})}
        change = Results("s/test", 500, groups, {"m": (("g", "s"),)}, change=True).sampled()["m"]
        student = math.log10(stats.ttest_1samp(scores.astype(float), 0).pvalue)
        assert math.log10(change.p_value()) == pytest.approx(student, abs=0.1 - 0.1 * student)
        assert (change.p_value() < 0.05) == (mcnemar(scores) < 0.05)


def test_a_statistic_without_replicates_has_no_interval_and_no_test():
    none = Statistic(0.3, np.full(4, np.nan), 7)
    assert np.isnan([none.estimate().low, none.estimate().high, none.p_value()]).all()
    still = Statistic(2.0, np.full(999, 2.0), 50)  # a median that no replicate moves
    assert still.p_value() == pytest.approx(0.002)
    assert still.minus(still).p_value() == 1
