from __future__ import annotations

import doctest
import logging
from pathlib import Path
from types import ModuleType

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from scipy.stats import spearmanr

import pcclip
import pcclip.inference
from pcclip.errors import PcclipError
from pcclip.evaluation.encoding.encoders import unit
from pcclip.evaluation.protocol import Subject
from pcclip.evaluation.protocols.ranking import AttributeRanking
from pcclip.evaluation.questions import Question, Wording
from pcclip.evaluation.sets import EvaluationSet
from pcclip.inference import embedding_model
from pcclip.inference import gallery as gallery_module
from pcclip.inference import model as model_module
from pcclip.inference.gallery import Gallery
from pcclip.inference.model import DifferenceModel
from pcclip.inference.pictures import GivenPictures
from tests.inference.conftest import RUN

LETTERS = [f"photos/{letter}.jpg" for letter in "abcdefgh"]


@pytest.fixture
def model(pets: Path) -> DifferenceModel:
    return pcclip.load(RUN, device="cpu", cache="cache")


def test_embeddings_are_those_of_plain_open_clip(model: DifferenceModel):
    clip, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{RUN}/model")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{RUN}/model")
    clip.eval()
    texts = ["the animal is larger", "it is night", "the animal is larger"]
    with torch.no_grad():
        wanted = clip.encode_text(tokenizer(texts), normalize=True).numpy()
        pixels = torch.stack([preprocess(Image.open(file).convert("RGB")) for file in LETTERS])
        seen = clip.encode_image(pixels, normalize=True).numpy()
    assert np.allclose(model.encode_texts(texts), wanted, atol=1e-5)
    assert np.allclose(model.encode_images(LETTERS), seen, atol=1e-5)
    opened = [Image.open(LETTERS[0]), Path(LETTERS[1])]
    assert np.array_equal(model.encode_images(opened), model.encode_images(LETTERS[:2]))
    direction = unit(seen[0] - seen[1])
    assert np.allclose(model.difference(LETTERS[0], LETTERS[1]), direction, atol=1e-4)
    pairs = model.difference(LETTERS[:4], LETTERS[4:])
    assert np.allclose(pairs, unit(seen[:4] - seen[4:]), atol=1e-4)


def test_describe_reads_the_direction(model: DifferenceModel):
    texts = ["it is larger", "it is smaller", "there is more snow", "it is night"]
    forward = model.describe(LETTERS[0], LETTERS[1], texts)
    assert [score for _, score in forward] == sorted((score for _, score in forward), reverse=True)
    cosines = model.encode_texts(texts) @ model.difference(LETTERS[0], LETTERS[1])
    assert dict(forward) == pytest.approx(dict(zip(texts, cosines, strict=True)), abs=1e-6)
    swapped = model.describe(LETTERS[1], LETTERS[0], texts)
    assert [one.text for one in swapped] == [one.text for one in reversed(forward)]
    assert [one.score for one in swapped] == pytest.approx(
        [-one.score for one in reversed(forward)], abs=1e-6
    )
    assert model.describe(LETTERS[0], LETTERS[1], texts, top=2) == forward[:2]


def test_rank_takes_folders_galleries_and_lists_alike(model: DifferenceModel, pets: Path):
    by_folder = model.rank("photos", "it is larger")
    assert by_folder == model.rank(Gallery.open(pets / "photos", model), "it is larger")
    assert len(by_folder) == 12
    files = [f"photos/{one.picture}" for one in by_folder]
    by_list = model.rank(files[::-1], "it is larger")
    assert [one.picture for one in by_list] == files
    assert [one.number for one in by_list] == list(range(12))[::-1]
    assert model.rank("photos", "it is larger", top=3) == by_folder[:3]
    assert model.rank("photos", "it is larger", reverse=True) == by_folder[::-1]


def planted(model: DifferenceModel, folder: Path, direction: np.ndarray, values: np.ndarray) -> Gallery:
    """Pictures whose embeddings lie along a direction as far as `values` say."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((len(values), len(direction))).astype(np.float32)
    noise = unit(noise - (noise @ direction)[:, None] * direction)
    rows = values[:, None].astype(np.float32) * direction + np.sqrt(1 - values[:, None] ** 2) * noise
    return Gallery(folder, tuple(f"{number}.jpg" for number in range(len(values))), rows.astype(np.float32))


@pytest.mark.parametrize("opposite", [None, "it is small"])
def test_rank_follows_the_text_or_the_difference_of_two(model: DifferenceModel, opposite: str | None):
    values = np.random.default_rng(1).permutation(np.linspace(-0.9, 0.9, 200))
    texts = model.encode_texts(["it is large", "it is small"])
    direction = texts[0] if opposite is None else unit(texts[0] - texts[1])
    placed = model.rank(planted(model, Path(), direction, values), "it is large", opposite)
    assert [one.number for one in placed] == np.argsort(-values).tolist()
    assert [one.score for one in placed] == pytest.approx(sorted(values, reverse=True), abs=1e-5)


def test_search_leaves_the_picture_out_and_moves_along_the_text(model: DifferenceModel, pets: Path):
    rows = model.encode_images(LETTERS)
    text = model.encode_texts(["with more snow"])[0]
    for weight in (0.0, 1.0, 5.0):
        found = model.search(LETTERS, LETTERS[2], "with more snow", weight=weight)
        scores = rows @ unit(rows[2] + np.float32(weight) * text)
        wanted = [number for number in np.argsort(-scores) if number != 2]
        assert [one.number for one in found] == wanted
        assert [one.score for one in found] == pytest.approx(scores[wanted], abs=1e-5)
    for like in ("photos/more/8.png", pets / "photos" / "more" / "8.png", "more/8.png"):
        found = model.search("photos", like, "with more snow")
        assert len(found) == 11
        assert "more/8.png" not in [one.picture for one in found]
    assert len(model.search(LETTERS, Image.open(LETTERS[0]), "with more snow")) == 8  # it may be any
    opened = [Image.open(file) for file in LETTERS]
    assert 3 not in [one.number for one in model.search(opened, opened[3], "with more snow")]


def test_rank_agrees_with_the_protocol(model: DifferenceModel):
    """Spearman's rho of the interface's order is what `AttributeRanking` reports."""
    wording = Wording("w", False, "the first is {more}")
    phrases = {"positive": "a large thing", "negative": "a small thing"}
    question = Question("size", "degree", (wording,), "larger", "smaller", phrases, 0.0)
    sizes = np.random.default_rng(2).standard_normal(len(LETTERS))
    data = EvaluationSet(
        "pets", "test", Path("photos"), tuple(LETTERS), GivenPictures(LETTERS), (), np.full(len(LETTERS), -1),
        questions=(question,), attributes=tuple({"size": float(size)} for size in sizes),
    )  # fmt: skip
    subject = Subject(model._model.encoders, data, model.encode_images(LETTERS))
    reported = AttributeRanking(precision_at=(2,), resamples=20).run(subject).estimates()

    def rho(text: str, opposite: str | None = None) -> float:
        scores = {one.number: one.score for one in model.rank(LETTERS, text, opposite)}
        return spearmanr([scores[number] for number in range(len(LETTERS))], sizes)[0]

    forward, reverse = rho("the first is larger"), rho("the first is smaller")
    means = {
        "sentence": (forward - reverse) / 2,
        "direction": rho("the first is larger", "the first is smaller"),
        "text_difference": rho("a large thing", "a small thing"),
    }
    for name, value in means.items():
        assert value == pytest.approx(reported[f"ranking/pets-size/{name}_spearman"].value, abs=1e-9), name


def test_an_untuned_model_is_warned_about(pets: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING, "pcclip")
    base = pcclip.load(RUN, stage="base")
    base.rank(LETTERS, "a large animal", "a small animal")
    pcclip.load(RUN).rank(LETTERS, "the animal is larger")
    assert "finetuned" not in caplog.text
    base.rank(LETTERS, "the animal is larger")
    assert "base does not say that it was finetuned on differences" in caplog.text


def test_what_cannot_be_asked(model: DifferenceModel, pets: Path):
    (pets / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(PcclipError, match="a text is empty"):
        model.rank(LETTERS, " ")
    with pytest.raises(PcclipError, match="say no difference"):
        model.rank(LETTERS, "the same", "the same")
    with pytest.raises(PcclipError, match="no pictures"):
        model.encode_images([])
    with pytest.raises(PcclipError, match="give pairs"):
        model.difference(LETTERS[:2], LETTERS[0])
    with pytest.raises(PcclipError, match="look the same"):
        model.difference(LETTERS[0], LETTERS[0])
    with pytest.raises(PcclipError, match=r"absent\.jpg: cannot be read"):
        model.describe("absent.jpg", LETTERS[0], ["it is larger"])
    with pytest.raises(PcclipError, match=r"broken\.jpg.*cannot be decoded"):
        model.search(LETTERS, "broken.jpg", "it is larger")


@pytest.mark.parametrize("module", [pcclip.inference, model_module, embedding_model, gallery_module])
def test_the_examples_run(module: ModuleType, pets: Path):
    (pets / "runs" / "shapes-differences").exists() or (pets / "runs" / "shapes-differences").symlink_to(
        (pets / RUN).parent
    )
    given = {"pcclip": pcclip, "model": pcclip.load(RUN), "base": pcclip.load(RUN, stage="base")}
    ran = doctest.testmod(module, extraglobs=given, optionflags=doctest.ELLIPSIS)
    assert ran.attempted > 2
    assert ran.failed == 0
