"""Analogies and linearity, in spaces whose geometry is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
from geometry_world import (
    ATTRIBUTES,
    DIM,
    Texts,
    axis,
    degree,
    features,
    make_world,
    meaning,
    noise,
    run,
)
from planted import COLOURS, subject
from scipy.spatial.distance import cosine as distance

from pcclip.errors import PcclipError
from pcclip.evaluation.protocols.analogies import Analogies
from pcclip.evaluation.protocols.linearity import Linearity
from pcclip.evaluation.questions import Wording
from pcclip.evaluation.sets import EvaluationSet


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> EvaluationSet:
    return make_world(tmp_path_factory.mktemp("planted"))


# -- arithmetic with texts -----------------------------------------------------------------------


def test_analogies_of_a_linear_space_are_all_completed(world: EvaluationSet):
    # A value weighs more than a class, so without the offset the nearest text has the same value.
    embed = lambda text: meaning(text) + 2 * meaning(text) * (np.arange(DIM) >= len(COLOURS))  # noqa: E731
    values = run(Analogies(), world, embed)
    assert values == {
        "/analogy/accuracy": 1.0,
        "/analogy/nearest": 0.0,
        "/analogy/offset_cosine": pytest.approx(1),
    }


def test_analogies_of_texts_that_are_all_alike_are_a_fair_draw(world: EvaluationSet):
    values = run(Analogies(), world, lambda text: axis(0))
    fair = 1 / (len(COLOURS) * 2 * len(ATTRIBUTES) - 3)
    assert values["/analogy/accuracy"] == values["/analogy/nearest"] == pytest.approx(fair)


def test_analogies_that_mean_nothing_equal_brute_force(world: EvaluationSet):
    values = run(Analogies(), world, noise)
    phrases = [question.phrases for question in world.questions if question.kind == "degree"]
    every = {(c, v): noise(f"{c}, {v}") for c in COLOURS for of in phrases for v in of.values()}
    scores: dict[str, list[float]] = {"accuracy": [], "nearest": [], "offset_cosine": []}
    for (one, two), of, (v, w) in product(
        permutations(COLOURS, 2), phrases, permutations(("positive", "negative"))
    ):
        given = [(one, of[v]), (one, of[w]), (two, of[w])]
        left = [item for item in every if item not in given]
        offset = every[given[0]] - every[given[1]]
        for score, query in (("accuracy", offset + every[given[2]]), ("nearest", every[given[2]])):
            best = min(left, key=lambda item: distance(query, every[item]))
            scores[score].append(best == (two, of[v]))
        scores["offset_cosine"].append(1 - distance(offset, every[two, of[v]] - every[given[2]]))
    assert values == {
        f"/analogy/{score}": pytest.approx(np.mean(found), abs=1e-6) for score, found in scores.items()
    }
    assert len(scores["accuracy"]) == 6 * 5 * 4 * 2


def test_analogies_leave_out_questions_about_the_classes_unless_named(world: EvaluationSet):
    only = replace(world, questions=world.questions[-1:])
    with pytest.raises(PcclipError, match="no question about anything but the classes"):
        run(Analogies(), only, noise)
    assert "/analogy/accuracy" in run(Analogies(questions=("colour",)), only, noise)
    with pytest.raises(PcclipError, match="no question about 'smell', only size"):
        run(Analogies(questions=("smell",)), world, noise)
    few = Analogies(analogies=7).run(subject(Texts(noise), world, features(world))).estimates()
    assert few["geometry/planted/analogy/accuracy"].n == 7 * len(ATTRIBUTES)


@pytest.mark.parametrize(
    ("embed", "cosine", "wrong", "one", "accuracy"),
    [
        (meaning, 1, 0, np.sqrt(0.5), 1),
        (lambda text: (-1 if " and " in text else 1) * meaning(text), -1, 0, -np.sqrt(0.5), 0),
        (lambda text: axis(0), 1, 1, 1, 0.25),
        # Only the first of two differences is read.
        (lambda text: meaning(_first_of_two(text)), np.sqrt(0.5), 0, 0.5, 0.5),
    ],
    ids=["linear", "inverted", "all alike", "first only"],
)
def test_two_differences_at_once(
    world: EvaluationSet, embed: Callable, cosine: float, wrong: float, one: float, accuracy: float
):
    values = run(Linearity(), world, embed)
    for suffix in ("", "-unseen"):
        found = {
            score: values[f"{suffix}/linearity/{score}"] for score in ("cosine", "cosine_one", "accuracy")
        }
        expected = {"cosine": cosine, "cosine_one": one, "accuracy": accuracy}
        assert found == pytest.approx(expected, abs=1e-6)


def _first_of_two(text: str) -> str:
    words = [word for word in text.split() if word.startswith(("more-", "less-"))]
    return text.replace(f" and {words[1]}", "") if len(words) > 1 else text


def test_questions_that_share_no_wording_cannot_be_combined(world: EvaluationSet):
    size = replace(degree("size"), wordings=(Wording("own", False, "in size {more}"),))
    with pytest.raises(PcclipError, match="no two questions about a degree share a wording"):
        run(Linearity(), replace(world, questions=(size, degree("light"))), meaning)
