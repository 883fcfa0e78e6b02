"""Texts that compare classes, in spaces whose geometry is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from geometry_world import (
    DIM,
    Texts,
    axis,
    compares,
    features,
    make_world,
    meaning,
    noise,
    run,
)
from planted import COLOURS, subject
from scipy.spatial.distance import cosine as distance

from pcclip.data.class_texts import ClassText, ClassTexts
from pcclip.errors import PcclipError
from pcclip.evaluation.protocols.comparison_geometry import ComparisonGeometry
from pcclip.evaluation.sets import EvaluationSet


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> EvaluationSet:
    return make_world(tmp_path_factory.mktemp("planted"))


# -- texts that compare classes ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("embed", "cosine", "accuracy", "reverse"),
    [
        (meaning, 1, 1, -1),
        (lambda text: (-1 if compares(text) else 1) * meaning(text), -1, 0, -1),
        # What is the same both ways round has no direction.
        (lambda text: np.abs(meaning(text)), 0, 0, 1),
    ],
    ids=["perfect", "inverted", "blind"],
)
def test_comparing_texts_of_known_directions(
    world: EvaluationSet, embed: Callable, cosine: float, accuracy: float, reverse: float
):
    values = run(ComparisonGeometry(), world, embed)
    for suffix, side in product(("", "-unseen"), ("text", "image")):
        assert values[f"{suffix}/comparison/{side}_cosine"] == pytest.approx(cosine, abs=1e-6)
        assert values[f"{suffix}/comparison/{side}_accuracy"] == pytest.approx(accuracy)
        assert values[f"{suffix}/comparison/reverse_cosine"] == pytest.approx(reverse, abs=1e-6)
    assert values["/comparison/prompt_image_cosine"] == pytest.approx(1, abs=1e-6)
    assert values["/comparison/prompt_image_accuracy"] == 1


def test_comparing_texts_that_mean_nothing_equal_scipy(world: EvaluationSet):
    values = run(ComparisonGeometry(), world, noise, spread=0.5)
    prompts = [sum(noise(prompt.format(colour)) for prompt in world.prompts) for colour in COLOURS]
    prompts = [row / np.linalg.norm(row) for row in prompts]
    means = [features(world, 0.5)[world.labels == number].mean(axis=0) for number in range(len(COLOURS))]
    pairs = list(permutations(range(len(COLOURS)), 2))
    texts = [noise(f"a {COLOURS[a]} thing instead of a {COLOURS[b]} one") for a, b in pairs]
    back = [texts[pairs.index((b, a))] for a, b in pairs]
    for side, of in (("text", prompts), ("image", means)):
        away = np.array([[distance(of[a] - of[b], text) for a, b in pairs] for text in texts])
        assert values[f"/comparison/{side}_cosine"] == pytest.approx(1 - away.diagonal().mean(), abs=1e-6)
        nearest = away.argmin(axis=1) == np.arange(len(pairs))
        assert values[f"/comparison/{side}_accuracy"] == pytest.approx(nearest.mean())
    same = np.array([[1 - distance(one, other) for other in texts] for one in texts])
    others = (same.sum() - len(texts)) / (len(texts) * (len(texts) - 1))
    assert values["/comparison/other_cosine"] == pytest.approx(others, abs=1e-6)
    reverse = [1 - distance(one, other) for one, other in zip(texts, back, strict=True)]
    assert values["/comparison/reverse_cosine"] == pytest.approx(np.mean(reverse), abs=1e-6)


def test_texts_of_a_file_are_joined_by_name_and_several_count_alike(world: EvaluationSet, tmp_path: Path):
    entries = [
        ClassText("white", "red", ("a white thing instead of a red one", "nothing")),
        ClassText("red", "white", ("a red thing instead of a white one",)),
        ClassText("blue", "red", ()),
    ]
    ClassTexts("pair texts", entries, {}).write(tmp_path / "texts.json")
    embed = lambda text: axis(DIM - 1) if text == "nothing" else meaning(text)  # noqa: E731
    results = ComparisonGeometry(texts=str(tmp_path)).run(subject(Texts(embed), world, features(world)))
    values = results.values()
    assert values["geometry/planted/comparison/text_cosine"] == pytest.approx((0.5 + 1) / 2)
    assert values["geometry/planted/comparison/reverse_cosine"] == pytest.approx(-0.5)
    assert results.notes["geometry/planted/comparison"] == {
        "ordered pairs of classes": 30,
        "of them compared": 2,
    }
    assert not np.isfinite(results.estimates()["geometry/planted/comparison/text_cosine"].low)  # two classes

    ClassTexts("pair texts", [ClassText("pink", "red", ("pinker",))], {}).write(tmp_path / "texts.json")
    with pytest.raises(PcclipError, match=r"compares 'pink' .* no class of .*evaluation.json"):
        run(ComparisonGeometry(texts=str(tmp_path)), world, meaning)


def test_templates_compare_where_no_question_does(world: EvaluationSet):
    alone = replace(world, questions=())
    values = run(ComparisonGeometry(templates=("a {a} thing instead of a {b} one",)), alone, meaning)
    assert values["/comparison/text_cosine"] == pytest.approx(1)
    with pytest.raises(PcclipError, match="no category question has the classes as its values"):
        run(ComparisonGeometry(), alone, meaning)
    with pytest.raises(PcclipError, match=r"'\{a\} only' should have"):
        run(ComparisonGeometry(templates=("{a} only",)), alone, meaning)
    with pytest.raises(PcclipError, match="has no two classes with a prompt"):
        run(ComparisonGeometry(), replace(world, classes=()), meaning)


def test_a_class_without_pictures_has_no_picture_difference(world: EvaluationSet):
    kept = np.flatnonzero(world.labels != 2)
    few = replace(
        world,
        keys=tuple(world.keys[index] for index in kept),
        labels=world.labels[kept],
        attributes=tuple(world.attributes[index] for index in kept),
    )
    estimates = ComparisonGeometry().run(subject(Texts(meaning), few, features(few))).estimates()
    assert estimates["geometry/planted/comparison/text_cosine"].n == 30
    image = estimates["geometry/planted/comparison/image_cosine"]
    assert (image.n, image.value) == (20, pytest.approx(1))
