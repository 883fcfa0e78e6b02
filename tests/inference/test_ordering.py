from __future__ import annotations

import numpy as np
import pytest

from pcclip.evaluation.encoding.encoders import unit
from pcclip.evaluation.protocols.difference_tasks import Gallery as Candidates
from pcclip.evaluation.protocols.difference_tasks import PictureSearch
from pcclip.inference.ordering import best, rank_scores, search_scores


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    return unit(np.random.default_rng(0).standard_normal((100_000, 32)).astype(np.float32))


@pytest.mark.parametrize("count", [0, 1, 7, 499, 500, 501, None])
def test_the_best_are_those_of_a_stable_sort_whatever_ties(count: int | None):
    rng = np.random.default_rng(1)
    for distinct in (1, 3, 20, 10_000):
        scores = rng.integers(0, distinct, 500).astype(np.float32)
        everything = sorted(range(500), key=lambda index: (-scores[index], index))
        assert best(scores, count).tolist() == everything[:count]


def test_the_best_where_a_score_is_minus_infinity():
    assert best(np.array([1, -np.inf, 2], np.float32)).tolist() == [2, 0, 1]
    assert best(np.empty(0, np.float32), 3).tolist() == []


def test_planted_pictures_are_found_among_a_hundred_thousand(features: np.ndarray):
    direction = features[17]
    planted = np.array([4, 99_999, 50_000])
    rows = features.copy()
    rows[planted] = unit(direction + np.float32([[0.1], [0.2], [0.3]]) * features[18])
    assert best(rank_scores(rows, direction), 4).tolist() == [17, 4, 99_999, 50_000]
    scores = rank_scores(rows, 5 * direction)
    assert np.array_equal(best(scores), np.argsort(-scores, kind="stable"))


@pytest.mark.parametrize("weight", [0.0, 0.5, 3.0])
def test_search_orders_as_the_protocol_of_difference_retrieval(features: np.ndarray, weight: float):
    rows = features[:300]
    text = features[400]
    ours = search_scores(rows, rows[0], text, weight)
    assert np.abs(ours).max() <= 1 + 1e-6
    candidates = Candidates.of(np.arange(300), rows)
    first, second = np.zeros(299, np.int64), np.arange(1, 300)
    # The protocol's text says how picture 1 differs from the one that is looked for; ours the reverse.
    search = PictureSearch.of(candidates, rows, first, second, None)
    found = search.find(search.likeness(np.repeat(-text[None], 299, axis=0)), weight, ())
    order = best(np.where(np.arange(300) == 0, -np.inf, ours))[:299]
    assert found.places.ranks()[order - 1].tolist() == list(range(1, 300))


def test_weight_goes_from_the_nearest_picture_to_the_text_alone(features: np.ndarray):
    like, text = features[0], features[1]
    assert np.allclose(search_scores(features, like, text, 0), features @ like, atol=1e-6)
    assert np.allclose(search_scores(features, like, text, 1e6), features @ text, atol=1e-4)
