"""Kappa and intervals against published values and other formulas."""

import math

import numpy as np
import pytest

from pcclip.generation.judging.agreement import agreement, cohens_kappa, disagreement, wilson
from pcclip.generation.judging.criteria import CRITERIA

FOLLOWS, _, SPECIFIC, _ = CRITERIA


def raters(counts: list[list[int]], values: tuple[str, ...]) -> tuple[list[str], list[str]]:
    cells = [(a, b) for i, a in enumerate(values) for j, b in enumerate(values) for _ in range(counts[i][j])]
    return [a for a, _ in cells], [b for _, b in cells]


@pytest.mark.parametrize(
    ("counts", "kappa"),
    [
        ([[20, 5], [10, 15]], 0.4),  # Wikipedia, "Cohen's kappa", and its two of equal raw agreement
        ([[45, 15], [25, 15]], 0.1304),
        ([[25, 35], [5, 35]], 0.2593),
        ([[118, 5], [2, 0]], -0.0234),  # nearly all one value: 94 % the same, kappa below chance
    ],
)
def test_kappa_of_two_values(counts: list[list[int]], kappa: float) -> None:
    found = agreement(FOLLOWS, *raters(counts, FOLLOWS.values))
    assert found.kappa.value == pytest.approx(kappa, abs=5e-5)
    assert found.counts.tolist() == counts
    assert found.raw.value == pytest.approx((counts[0][0] + counts[1][1]) / np.sum(counts))


def test_weighted_kappa_as_cohen_1968_has_it() -> None:
    counts = np.array([[88, 10, 2], [14, 40, 6], [18, 10, 12]])
    weights = np.array([[0.0, 1, 3], [1, 0, 6], [3, 6, 0]])
    assert float(cohens_kappa(counts, weights)) == pytest.approx(0.348, abs=5e-4)
    assert float(cohens_kappa(counts, disagreement(3, False))) == pytest.approx(0.492, abs=5e-4)


def test_quadratic_weights_equal_the_formula_by_moments() -> None:
    rng = np.random.default_rng(3)
    one = rng.integers(1, 6, 300)
    two = np.clip(one + rng.integers(-1, 3, 300), 1, 5)
    found = agreement(SPECIFIC, [str(v) for v in one], [str(v) for v in two])
    # Fleiss and Cohen 1973: the intraclass correlation of the two raters
    moments = 2 * np.cov(one, two, ddof=0)[0, 1] / (one.var() + two.var() + (one.mean() - two.mean()) ** 2)
    assert found.kappa.value == pytest.approx(moments)
    assert found.kappa.low < moments < found.kappa.high


def test_the_bootstrap_agrees_with_the_asymptotic_error() -> None:
    found = agreement(FOLLOWS, *raters([[80, 20], [40, 60]], FOLLOWS.values))
    p, chance, n = 0.7, 0.5, 200
    error = math.sqrt(p * (1 - p) / n) / (1 - chance)
    assert found.kappa.value == pytest.approx(0.4)
    assert found.kappa.high - found.kappa.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    again = agreement(FOLLOWS, *raters([[80, 20], [40, 60]], FOLLOWS.values))
    assert again.kappa == found.kappa


def test_what_is_not_defined_is_nan() -> None:
    same = agreement(FOLLOWS, ["yes"] * 9, ["yes"] * 9)
    assert math.isnan(same.kappa.value)
    assert same.raw.value == 1
    nothing = agreement(FOLLOWS, [], [])
    assert math.isnan(nothing.kappa.value)
    assert math.isnan(nothing.raw.low)


@pytest.mark.parametrize(  # Newcombe 1998, table I, method 3
    ("hits", "total", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilsons_interval(hits: int, total: int, low: float, high: float) -> None:
    found = wilson(hits, total)
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))
