"""Embeddings themselves, and what holds for every geometry protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from geometry_world import (
    WAYS,
    Texts,
    axis,
    compares,
    features,
    make_world,
    meaning,
    noise,
)
from planted import COLOURS, subject
from sklearn.metrics.pairwise import cosine_similarity

from pcclip.evaluation.encoding.encoders import CachedEncoders
from pcclip.evaluation.protocol import EvaluationProtocol, Results, Subject, evaluate
from pcclip.evaluation.protocols.analogies import Analogies
from pcclip.evaluation.protocols.clustered import clustered_means
from pcclip.evaluation.protocols.comparison_geometry import ComparisonGeometry
from pcclip.evaluation.protocols.embedding_geometry import EmbeddingGeometry
from pcclip.evaluation.protocols.linearity import Linearity
from pcclip.evaluation.sets import EvaluationSet

EVERY: tuple[EvaluationProtocol, ...] = (ComparisonGeometry(), Analogies(), Linearity(), EmbeddingGeometry())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> EvaluationSet:
    return make_world(tmp_path_factory.mktemp("planted"))


# -- the embeddings themselves -------------------------------------------------------------------


def measure(data: EvaluationSet, embed: Callable, rows: np.ndarray, before: Subject | None = None) -> Results:
    whole = subject(Texts(embed), data, rows)
    return EmbeddingGeometry().run(replace(whole, before=None if before is None else lambda: before))


def test_embeddings_equal_what_scikit_learn_and_numpy_say(world: EvaluationSet):
    rows = features(world, 0.5)
    estimates = measure(world, noise, rows).estimates()
    values = {name: one.value for name, one in estimates.items()}
    statements = [
        [question.statement(wording, *way) for wording in question.wordings[:2] for way in WAYS]
        for question in world.questions[:-1]
    ]
    prompts = np.stack([sum(noise(p.format(c)) for p in world.prompts) for c in COLOURS])
    prompts /= np.linalg.norm(prompts, axis=1, keepdims=True)
    no_colours = replace(world, questions=world.questions[:-1])
    texts = np.stack([noise(text) for of in statements for text in of])
    without = measure(no_colours, noise, rows).values()
    for kind, embedded, found in (
        ("pictures", rows, values),
        ("prompts", prompts, values),
        ("differences", texts, without),
    ):
        upper = np.triu_indices(len(embedded), 1)
        expected = cosine_similarity(embedded)[upper].mean()
        assert found[f"geometry/planted/anisotropy/{kind}"] == pytest.approx(expected, abs=1e-5)
        shares = np.linalg.svd(embedded - embedded.mean(axis=0), compute_uv=False)
        shares = shares[shares > 1e-5] / shares.sum()
        assert found[f"geometry/planted/effective_rank/{kind}"] == pytest.approx(
            np.exp(-shares @ np.log(shares)), rel=1e-3
        )
        assert found[f"geometry/planted/drift/{kind}"] == 1
    gap = np.linalg.norm(rows.mean(axis=0) - prompts.mean(axis=0))
    assert values["geometry/planted/modality_gap/prompts"] == pytest.approx(gap, abs=1e-5)
    assert estimates["geometry/planted/anisotropy/differences"].n == len(texts) + 20  # of 30 about colours
    for one in estimates.values():
        assert not np.isfinite(one.low) or one.low - 1e-6 <= one.value <= one.high + 1e-6


def test_a_cone_of_no_width_and_one_that_is_everywhere(world: EvaluationSet):
    rows = features(world)
    values = measure(world, lambda text: axis(3), rows).values()
    for kind in ("prompts", "differences"):
        assert values[f"geometry/planted/anisotropy/{kind}"] == pytest.approx(1)
        assert values[f"geometry/planted/effective_rank/{kind}"] == 1
    spread = measure(world, meaning, rows).values()
    assert spread["geometry/planted/anisotropy/prompts"] == pytest.approx(0, abs=1e-6)
    # Six orthogonal directions are a simplex of five dimensions about their mean.
    assert spread["geometry/planted/effective_rank/prompts"] == pytest.approx(5, rel=1e-5)
    assert spread["geometry/planted/modality_gap/prompts"] == pytest.approx(0, abs=1e-6)


def test_drift_is_exactly_one_of_what_did_not_move(world: EvaluationSet):
    rows = features(world, 0.5)
    before = subject(Texts(noise), world, rows)
    same = measure(world, noise, rows.copy(), before).estimates()
    turned = measure(
        world, lambda text: (-1 if compares(text) else 1) * noise(text), -rows, before
    ).estimates()
    for kind in ("prompts", "differences", "pictures"):
        one = same[f"geometry/planted/drift/{kind}"]
        assert (one.value, one.low, one.high) == (1, 1, 1)
    assert turned["geometry/planted/drift/prompts"].value == 1
    assert turned["geometry/planted/drift/pictures"].value == pytest.approx(-1, abs=1e-6)
    # 20 of the 36 sentences are about colours.
    assert turned["geometry/planted/drift/differences"].value == pytest.approx((16 - 20) / 36, abs=1e-6)


# -- all of them ---------------------------------------------------------------------------------


def test_order_and_batch_size_change_nothing(world: EvaluationSet):
    rows = features(world, 0.5)
    first = evaluate(EVERY, subject(Texts(noise), world, rows)).values()
    order = np.random.default_rng(1).permutation(len(world))
    classes = np.random.default_rng(2).permutation(len(COLOURS))
    place = np.argsort(classes)
    other = replace(
        world,
        keys=tuple(world.keys[index] for index in order),
        attributes=tuple(world.attributes[index] for index in order),
        classes=tuple(COLOURS[number] for number in classes),
        labels=place[world.labels[order]],
        questions=world.questions[::-1],
    )
    encoders = CachedEncoders(Texts(noise), batch_size=3)
    again = evaluate(EVERY, Subject(encoders, other, rows[order])).values()
    assert again == pytest.approx(first, abs=1e-5)


def test_a_model_against_itself_has_changed_by_nothing(world: EvaluationSet):
    whole = evaluate(EVERY, subject(Texts(noise), world, features(world, 0.5)))
    again = evaluate(EVERY, subject(Texts(noise), world, features(world, 0.5)))
    for name, one in again.minus(whole).estimates().items():
        assert one.value == 0, name
        assert not np.isfinite(one.low) or (one.low, one.high) == (0, 0), name


@pytest.mark.parametrize(("things", "spread"), [(6, 1.0), (12, 1.0), (12, 0.0)])
def test_intervals_over_few_classes_cover_the_truth(things: int, spread: float):
    rng = np.random.default_rng(0)
    first, second = np.array(list(permutations(range(things), 2))).T
    covered = 0
    for _ in range(200):
        ease = rng.normal(0, spread, things)
        column = ease[first] + ease[second] + rng.normal(size=len(first))
        found = clustered_means({"x": column}, first, second)["x"].estimate()
        covered += found.low <= 0 <= found.high
    assert covered / 200 >= 0.91
