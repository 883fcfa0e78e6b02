from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from planted import (
    DIM,
    PlantedEncoders,
    load_prepared,
    pictures,
    planted_features,
    random_row,
    subject,
    write,
)
from scipy import stats

from pcclip.errors import PcclipError
from pcclip.evaluation.rank_correlation import Correlation, Ranked, kendall, spearman
from pcclip.evaluation.ranking import AttributeRanking
from pcclip.evaluation.sets import EvaluationSet

SCORES = ("spearman", "kendall", "precision_at_10")
SCIPY = [(spearman, stats.spearmanr), (kendall, stats.kendalltau)]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> EvaluationSet:
    return load_prepared(write(tmp_path_factory.mktemp("ranking"), pictures()), "test")


class RandomTexts:
    """Every text has a direction of its own that means nothing."""

    def encode_images(self, pixels: torch.Tensor) -> torch.Tensor:
        raise AssertionError("image embeddings are given")

    def encode_texts(self, texts: list[str]) -> torch.Tensor:
        rows = torch.from_numpy(np.stack([random_row(text) for text in texts])).float()
        return torch.nn.functional.normalize(rows, dim=1)


def random_numbers(seed: int, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=int(rng.integers(2, 60)))
    y = x + rng.normal(size=len(x))
    return (np.round(x * 2), np.round(y)) if ties else (x, y)


@pytest.mark.parametrize(("ours", "theirs"), SCIPY)
@pytest.mark.parametrize("ties", [False, True])
def test_rank_correlations_are_scipys(ours: Callable[..., Correlation], theirs: Callable, ties: bool):
    for seed in range(60):
        x, y = random_numbers(seed, ties)
        found = ours(Ranked.of(x), Ranked.of(y))
        with warnings.catch_warnings(action="ignore"):
            expected = np.nan_to_num(theirs(x, y)[0])  # all equal: it ranks nothing
        assert found.value == pytest.approx(expected, abs=1e-12)
        assert found.influence.mean() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("ours", "theirs"), SCIPY)
def test_an_influence_is_what_leaving_the_item_out_changes(
    ours: Callable[..., Correlation], theirs: Callable
):
    rng = np.random.default_rng(0)
    x = np.round(rng.normal(size=200) * 5)
    y = np.round(x + rng.normal(size=200) * 4)
    found = ours(Ranked.of(x), Ranked.of(y))
    left_out = [199 * (found.value - theirs(np.delete(x, i), np.delete(y, i))[0]) for i in range(200)]
    np.testing.assert_allclose(found.influence, left_out, atol=0.02)
    assert np.corrcoef(found.influence, left_out)[0, 1] > 0.9999


@pytest.mark.parametrize(
    ("statements", "correlation", "precision"),
    [("perfect", 1.0, 1.0), ("inverted", -1.0, 0.0), ("blind", 0.0, None)],
)
def test_planted_rankings_are_found(
    planted: EvaluationSet, statements: str, correlation: float, precision: float | None
):
    results = AttributeRanking().run(
        subject(PlantedEncoders(planted, statements), planted, planted_features(planted))
    )
    values = results.values()
    prefix = "ranking/planted-"
    for group in ("size", "mean", "size-unseen", "mean-unseen"):
        for ranked_by in ("sentence", "direction"):
            for score in ("spearman", "kendall"):
                assert values[f"{prefix}{group}/{ranked_by}_{score}"] == pytest.approx(correlation, abs=1e-6)
            if precision is not None:
                assert values[f"{prefix}{group}/{ranked_by}_precision_at_10"] == precision
        if statements == "blind":  # a sentence and its reverse are one: no direction, a fair order
            assert values[f"{prefix}{group}/direction_precision_at_10"] == pytest.approx(0.25)
    for ranked_by in ("text_difference", "absolute"):
        for group in ("size", "mean"):
            assert [values[f"{prefix}{group}/{ranked_by}_{score}"] for score in SCORES] == [1, 1, 1]
    estimates = results.estimates()
    assert values.keys() == estimates.keys()
    certain = estimates[f"{prefix}size/absolute_precision_at_10"]
    assert certain.low < 0.95  # ten of ten may be luck
    assert certain.high == 1
    shares = results.notes["ranking"]["share of relevant pictures"]
    assert shares == {"size": {"top": 0.25, "bottom": 0.25}}


def test_numbers_are_those_of_scipy_over_all_wordings_and_both_directions(planted: EvaluationSet):
    features, encoders = planted_features(planted), RandomTexts()
    values = AttributeRanking(precision_at=(7,)).run(subject(encoders, planted, features)).values()
    (question,) = (one for one in planted.questions if one.kind == "degree")
    sizes = np.array([one["size"] for one in planted.attributes])
    expected: dict[str, list[float]] = {}
    for wording in question.wordings:
        sides = (("positive", "negative"), ("negative", "positive"))
        forward, reverse = encoders.encode_texts([question.statement(wording, *s) for s in sides]).numpy()
        suffix = "-unseen" if wording.held_out else ""
        for name, scores, of in (
            ("sentence", features @ forward, sizes),
            ("sentence", features @ reverse, -sizes),
            ("direction", features @ (forward - reverse), sizes),
            ("direction", features @ (reverse - forward), -sizes),
        ):
            prefix = f"ranking/planted-size{suffix}/{name}"
            expected.setdefault(f"{prefix}_spearman", []).append(stats.spearmanr(scores, of)[0])
            expected.setdefault(f"{prefix}_kendall", []).append(stats.kendalltau(scores, of)[0])
            relevant = of[np.argsort(-scores)[:7]] >= np.quantile(of, 0.75)
            expected.setdefault(f"{prefix}_precision_at_7", []).append(relevant.mean())
    for name, parts in expected.items():
        assert values[name] == pytest.approx(np.mean(parts), abs=1e-9), name


def test_intervals_cover_the_truth_as_often_as_they_say():
    simulations, n, rho = 300, 150, 0.6
    truth = {spearman: 6 / np.pi * np.arcsin(rho / 2), kendall: 2 / np.pi * np.arcsin(rho)}
    covered = dict.fromkeys(truth, 0)
    rng = np.random.default_rng(0)
    weights = rng.multinomial(n, np.full(n, 1 / n), 400).T / n
    for _ in range(simulations):
        x = rng.normal(size=n)
        y = rho * x + np.sqrt(1 - rho**2) * rng.normal(size=n)
        for correlation, true in truth.items():
            found = correlation(Ranked.of(x), Ranked.of(y))
            low, high = np.quantile(found.replicates(found.influence @ weights), [0.025, 0.975])
            covered[correlation] += low <= true <= high
    for count in covered.values():
        assert 0.92 <= count / simulations <= 0.98


def test_the_order_of_pictures_changes_nothing(planted: EvaluationSet):
    order = np.random.default_rng(3).permutation(len(planted))
    shuffled = replace(
        planted,
        keys=tuple(planted.keys[i] for i in order),
        attributes=tuple(planted.attributes[i] for i in order),
        labels=planted.labels[order],
    )
    features = planted_features(planted)
    one = AttributeRanking().run(subject(RandomTexts(), planted, features)).values()
    other = AttributeRanking().run(subject(RandomTexts(), shuffled, features[order])).values()
    assert one == pytest.approx(other, abs=1e-6)


def test_a_picture_without_the_attribute_is_left_out(planted: EvaluationSet):
    few = replace(planted, attributes=tuple({} if i % 3 else one for i, one in enumerate(planted.attributes)))
    results = AttributeRanking().run(subject(PlantedEncoders(planted), few, planted_features(planted)))
    assert {one.n for one in results.statistics.values()} == {40}
    assert results.values()["ranking/planted-size/sentence_kendall"] == 1
    assert not any("precision_at_100" in name for name in results.values())


def test_change_of_a_model_against_itself_is_nothing(planted: EvaluationSet):
    model = subject(RandomTexts(), planted, planted_features(planted))
    change = AttributeRanking().run(model).minus(AttributeRanking().run(model)).estimates()
    assert {(one.value, one.low, one.high) for one in change.values()} == {(0.0, 0.0, 0.0)}


def test_sets_that_cannot_be_ranked_are_refused(planted: EvaluationSet, tmp_path: Path):
    categories = replace(planted, questions=planted.questions[1:])
    equal = replace(planted, attributes=tuple({"size": 1.0} for _ in planted.attributes))
    features = np.zeros((len(planted), DIM), np.float32)
    for data, problem in ((categories, "no question about a degree"), (equal, "cannot be ranked by 'size'")):
        with pytest.raises(PcclipError, match=problem):
            AttributeRanking().run(subject(RandomTexts(), data, features))
