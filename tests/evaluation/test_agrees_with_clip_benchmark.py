"""Zero-shot classification and retrieval beside CLIP_benchmark, scikit-learn and torchmetrics."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from planted import subject
from sklearn.metrics import balanced_accuracy_score, top_k_accuracy_score
from torch import Tensor
from torchmetrics.functional.retrieval import retrieval_hit_rate

from pcclip.evaluation.encoding.embedding import split_transform
from pcclip.evaluation.protocols.retrieval import Retrieval
from pcclip.evaluation.protocols.zero_shot import ZeroShot
from pcclip.evaluation.sets import EvaluationSet

PYTHON = Path(
    os.environ.get(
        "PCCLIP_CLIP_BENCHMARK_PYTHON",
        Path(__file__).parents[2] / ".venv-clip-benchmark" / "bin" / "python",
    )
)
CLASSES, PROMPTS, PICTURES, DIM = 9, 3, 70, 12


class Rows:
    """An encoder of texts that are numbers: rows of a table."""

    def __init__(self, table: np.ndarray) -> None:
        self.table = table

    def encode_images(self, pixels: Tensor) -> Tensor:
        raise AssertionError("image embeddings are given")

    def encode_texts(self, texts: list[str]) -> Tensor:
        return torch.from_numpy(self.table[[int(text) for text in texts]])


@pytest.fixture(scope="module")
def given() -> dict[str, np.ndarray]:
    """Embeddings in which pictures lie near their class and their captions, but not surely nearest."""
    rng = np.random.default_rng(3)
    classes = rng.normal(size=(CLASSES, DIM))
    labels = rng.permuted(np.arange(PICTURES) % CLASSES)
    images = classes[labels] + rng.normal(size=(PICTURES, DIM))
    prompts = np.arange(CLASSES * PROMPTS).reshape(CLASSES, PROMPTS)
    counts = rng.integers(1, 6, PICTURES)
    captions = np.where(np.arange(5) < counts[:, None], np.arange(PICTURES * 5).reshape(-1, 5), -1)
    captions[captions >= 0] += prompts.size
    near = [
        np.repeat(classes, PROMPTS, axis=0) + 0.5 * rng.normal(size=(prompts.size, DIM)),
        np.repeat(images, 5, axis=0) + 1.5 * rng.normal(size=(PICTURES * 5, DIM)),
    ]

    def unit(rows: np.ndarray) -> np.ndarray:
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    return {
        "images": unit(images),
        "texts": unit(np.concatenate(near)),
        "labels": labels,
        "classes": np.array(CLASSES),
        "prompts": prompts,
        "captions": captions,
    }


@pytest.fixture(scope="module")
def ours(given: dict[str, np.ndarray]) -> dict[str, float]:
    # A class's prompts are the numbers of its rows: template k of class c is row c * PROMPTS + k.
    captions = tuple(tuple(str(row) for row in rows if row >= 0) for rows in given["captions"])
    data = EvaluationSet(
        "both",
        "test",
        Path("nowhere"),
        tuple(map(str, range(PICTURES))),
        None,  # type: ignore[arg-type]  # embeddings are given
        tuple(f"{number}" for number in range(CLASSES)),
        given["labels"],
        captions=captions,
    )
    by_class = given["texts"][given["prompts"]]

    class Named(Rows):
        def encode_texts(self, texts: list[str]) -> Tensor:
            rows = [by_class[int(text[:-1]), "abc".index(text[-1])] for text in texts]
            return torch.from_numpy(np.stack(rows))

    shown = replace(data, prompts=("{}a", "{}b", "{}c"))
    values = ZeroShot().run(subject(Named(given["texts"]), shown, given["images"])).values()
    return values | Retrieval().run(subject(Rows(given["texts"]), data, given["images"])).values()


@pytest.fixture(scope="module")
def theirs(given: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    if not PYTHON.is_file():
        pytest.skip(f"{PYTHON} is not there: `make clip-benchmark-env` makes CLIP_benchmark's environment")
    folder = tmp_path_factory.mktemp("theirs")
    np.savez(folder / "given.npz", **given)
    script = Path(__file__).with_name("clip_benchmark_functions.py")
    subprocess.run([PYTHON, script, folder], check=True)
    return json.loads((folder / "found.json").read_bytes())


def test_zero_shot_equals_clip_benchmark(ours: dict[str, float], theirs: dict[str, float]):
    names = {"top1": "acc1", "top5": "acc5", "mean_per_class": "mean_per_class_recall"}
    assert 0.2 < theirs["acc1"] < theirs["acc5"] < 1  # neither chance nor perfect
    for name, other in names.items():
        assert ours[f"zero_shot/both/{name}"] == pytest.approx(theirs[other], abs=1e-6)


def test_retrieval_equals_clip_benchmark(ours: dict[str, float], theirs: dict[str, float]):
    assert 0.2 < theirs["image_retrieval_recall@1"] < theirs["image_retrieval_recall@10"] < 1
    for k in (1, 5, 10):
        for name, other in {"image_to_text": "text", "text_to_image": "image"}.items():
            expected = theirs[f"{other}_retrieval_recall@{k}"]
            assert ours[f"retrieval/both/{name}_recall_at_{k}"] == pytest.approx(expected, abs=1e-6)


def test_zero_shot_equals_scikit_learn(given: dict[str, np.ndarray], ours: dict[str, float]):
    weights = given["texts"][given["prompts"]].mean(axis=1)
    scores = given["images"] @ (weights / np.linalg.norm(weights, axis=1, keepdims=True)).T
    for k in (1, 5):
        expected = top_k_accuracy_score(given["labels"], scores, k=k)
        assert ours[f"zero_shot/both/top{k}"] == pytest.approx(expected, abs=1e-6)
    expected = balanced_accuracy_score(given["labels"], scores.argmax(axis=1))
    assert ours["zero_shot/both/mean_per_class"] == pytest.approx(expected, abs=1e-6)


def test_retrieval_equals_torchmetrics(given: dict[str, np.ndarray], ours: dict[str, float]):
    used = given["captions"][given["captions"] >= 0]
    picture = np.repeat(np.arange(PICTURES), (given["captions"] >= 0).sum(axis=1))
    scores = torch.from_numpy(given["images"] @ given["texts"][used].T)
    own = torch.from_numpy(np.arange(PICTURES)[:, None] == picture)
    for k in (1, 5, 10):
        for name, (rows, right) in {
            "image_to_text": (scores, own),
            "text_to_image": (scores.T, own.T),
        }.items():
            hits = [
                float(retrieval_hit_rate(row, target, top_k=k))
                for row, target in zip(rows, right, strict=True)
            ]
            assert ours[f"retrieval/both/{name}_recall_at_{k}"] == pytest.approx(np.mean(hits), abs=1e-6)


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
def test_preprocessing_in_batches_is_open_clips_bit_by_bit(mode: str):
    preprocess = image_transform_v2(PreprocessCfg(size=24, resize_mode=mode), is_train=False)
    rng = np.random.default_rng(0)
    sizes = [(24, 24), (24, 40), (31, 17), (90, 24), (8, 9)]
    made = [Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in sizes]
    each, batch = split_transform(preprocess)
    assert torch.equal(batch([each(one) for one in made]), torch.stack([preprocess(one) for one in made]))
    other, stack = split_transform(lambda one: preprocess(one) * 2)  # any other preprocessing, as it is
    assert torch.equal(
        stack([other(one) for one in made]), torch.stack([2 * preprocess(one) for one in made])
    )
