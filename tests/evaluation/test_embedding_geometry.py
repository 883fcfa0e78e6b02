"""The geometry protocols on text and image spaces whose geometry is known."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
import torch
from planted import COLOURS, load_prepared, pictures, subject, write
from scipy.spatial.distance import cosine as distance
from sklearn.metrics.pairwise import cosine_similarity
from torch import Tensor

from pcclip.data.class_texts import ClassText, ClassTexts
from pcclip.errors import PcclipError
from pcclip.evaluation.encoding.encoders import CachedEncoders
from pcclip.evaluation.protocol import EvaluationProtocol, Results, Subject, evaluate
from pcclip.evaluation.protocols.analogies import Analogies
from pcclip.evaluation.protocols.clustered import clustered_means
from pcclip.evaluation.protocols.comparison_geometry import ComparisonGeometry
from pcclip.evaluation.protocols.embedding_geometry import EmbeddingGeometry
from pcclip.evaluation.protocols.linearity import Linearity
from pcclip.evaluation.questions import Question, Wording
from pcclip.evaluation.sets import EvaluationSet

DIM = 24
ATTRIBUTES = ("size", "light", "speed", "weight")
WAYS = (("positive", "negative"), ("negative", "positive"))
EVERY: tuple[EvaluationProtocol, ...] = (ComparisonGeometry(), Analogies(), Linearity(), EmbeddingGeometry())


class Texts:
    """Embeddings by a function of the text."""

    def __init__(self, embed: Callable[[str], np.ndarray]) -> None:
        self.embed = embed

    def encode_images(self, pixels: Tensor) -> Tensor:
        raise AssertionError("image embeddings are given")

    def encode_texts(self, texts: list[str]) -> Tensor:
        rows = np.stack([self.embed(text) for text in texts])
        return torch.from_numpy(rows / np.linalg.norm(rows, axis=1, keepdims=True)).float()


def degree(attribute: str) -> Question:
    wordings = (
        Wording("d1", False, "one is {more} than two"),
        Wording("d2", False, "two is {less}"),
        Wording("d3", True, "{more} is one"),
    )
    phrases = {"positive": f"much {attribute}", "negative": f"little {attribute}"}
    return Question(attribute, "degree", wordings, f"more-{attribute}", f"less-{attribute}", phrases, 0.0)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> EvaluationSet:
    """Colours as classes, and as values of a question; four questions about degrees."""
    data = load_prepared(write(tmp_path_factory.mktemp("planted"), pictures(60)), "test")
    colour = next(question for question in data.questions if question.attribute == "colour")
    return replace(data, questions=(*map(degree, ATTRIBUTES), colour))


def axis(number: int) -> np.ndarray:
    return np.eye(DIM)[number]


def meaning(text: str) -> np.ndarray:
    """A linear space: what a text names, added up; a colour named second is taken away."""
    found = np.zeros(DIM)
    for number, colour in enumerate(COLOURS):
        comparing = "instead of a" in text or "the second is" in text
        if comparing:
            first = f"a {colour} thing instead" in text or f"the first {colour}" in text
            second = f"of a {colour} one" in text or f"the second is {colour}" in text
            found += (float(first) - float(second)) * axis(number)
        elif colour in text.replace(",", "").split():
            found += axis(number)
    for number, attribute in enumerate(ATTRIBUTES, start=len(COLOURS)):
        more = f"more-{attribute}" in text or f"much {attribute}" in text
        less = f"less-{attribute}" in text or f"little {attribute}" in text
        sign = -1 if text.startswith("two is") else 1
        found += (float(more) - float(less)) * sign * axis(number)
    return found


def features(data: EvaluationSet, spread: float = 0.0) -> np.ndarray:
    rows = np.stack([axis(label) for label in data.labels])
    rows = rows + spread * np.random.default_rng(0).normal(size=rows.shape)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def run(
    protocol: EvaluationProtocol, data: EvaluationSet, embed: Callable[[str], np.ndarray], spread: float = 0.0
) -> dict[str, float]:
    values = protocol.run(subject(Texts(embed), data, features(data, spread))).values()
    return {name.removeprefix("geometry/planted"): value for name, value in values.items()}


# -- texts that compare classes ------------------------------------------------------------------


def compares(text: str) -> bool:
    return " instead of a " in text or "the second is" in text


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


def noise(text: str) -> np.ndarray:
    """Embeddings that mean nothing."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
    row = np.random.default_rng(seed).normal(size=DIM)
    return row / np.linalg.norm(row)


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
