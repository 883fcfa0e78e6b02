from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from planted import (
    COLOURS,
    PlantedEncoders,
    evaluation_json,
    load_prepared,
    pictures,
    planted_features,
    subject,
    write,
)
from torch import Tensor
from torchmetrics.functional.classification import multiclass_accuracy

from pcclip.data.records import ShardError
from pcclip.errors import PcclipError
from pcclip.evaluation.encoders import CachedEncoders, TowerEncoders
from pcclip.evaluation.features import FeatureCache
from pcclip.evaluation.sets import EvaluationSet
from pcclip.evaluation.zero_shot import ZeroShot, class_embeddings
from pcclip.model.towers import Towers, load_towers


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> EvaluationSet:
    return load_prepared(write(tmp_path_factory.mktemp("planted"), pictures(90)), "test")


@pytest.fixture(scope="module")
def towers() -> Towers:
    torch.manual_seed(0)
    towers = load_towers("pcclip-tiny", random_init=True)
    with torch.no_grad():  # random towers answer nearly the same to everything; spread them
        for name, parameter in towers.clip.named_parameters():
            if "visual" not in name and parameter.ndim == 2:
                parameter.mul_(3)
    return towers


def features_of(evaluation_set: EvaluationSet, towers: Towers, folder: Path | None = None) -> np.ndarray:
    encoders = TowerEncoders(towers)
    return FeatureCache(folder, progress=False).get(
        evaluation_set, encoders.encode_images, towers.preprocess, towers.image_fingerprint()
    )


def test_planted_classes_are_found(planted: EvaluationSet):
    values = ZeroShot().run(subject(PlantedEncoders(planted), planted, planted_features(planted))).values()
    kinds = ("planted/top1", "planted/top5", "planted/mean_per_class", "planted-unseen/top1")
    kinds += ("planted-unseen/top5", "planted-unseen/mean_per_class", "planted-unseen-combinations/top1")
    assert values == {f"zero_shot/{kind}": 1.0 for kind in kinds}


def test_equals_open_clip_and_torchmetrics(planted: EvaluationSet, towers: Towers):
    features = features_of(planted, towers)
    templates = list(planted.prompts)
    expected = open_clip.build_zero_shot_classifier(towers.clip, towers.tokenizer, COLOURS, templates)
    weights = class_embeddings(CachedEncoders(TowerEncoders(towers)), COLOURS, templates)
    assert weights == pytest.approx(expected.T.numpy(), abs=1e-5)
    with torch.no_grad():
        pixels = torch.stack([towers.preprocess(planted.image(index)) for index in range(len(planted))])
        images = towers.clip.encode_image(pixels, normalize=True)
    assert features == pytest.approx(images.numpy(), abs=1e-5)
    logits, labels = images @ expected, torch.from_numpy(planted.labels)
    values = ZeroShot().run(subject(TowerEncoders(towers), planted, features)).values()
    for metric, options in {
        "top1": {"average": "micro"},
        "top5": {"average": "micro", "top_k": 5},
        "mean_per_class": {"average": "macro"},
    }.items():
        accuracy = multiclass_accuracy(logits, labels, num_classes=6, **options)
        assert values[f"zero_shot/planted/{metric}"] == pytest.approx(float(accuracy), abs=1e-6)


def test_mean_per_class_weighs_classes_alike(planted: EvaluationSet):
    encoders = PlantedEncoders(planted)
    features = planted_features(planted)
    most_red = np.flatnonzero((planted.labels > 0) | (np.arange(len(planted)) == 0))  # one red picture only
    few = replace(
        planted,
        keys=tuple(planted.keys[index] for index in most_red),
        labels=planted.labels[most_red],
        attributes=tuple(planted.attributes[index] for index in most_red),
    )
    encoders.known |= {prompt.format("red"): -encoders.known["a red thing"] for prompt in planted.prompts}
    results = ZeroShot().run(subject(encoders, few, features[most_red]))
    assert results.values()["zero_shot/planted/mean_per_class"] == pytest.approx(5 / 6)
    assert results.values()["zero_shot/planted/top1"] == pytest.approx(75 / 76)
    assert results.estimates()["zero_shot/planted/mean_per_class"].n == 76


def test_order_of_classes_changes_nothing_even_where_all_tie(planted: EvaluationSet, tmp_path: Path):
    raw = evaluation_json()
    raw["classes"] = list(COLOURS[::-1])
    other = load_prepared(write(tmp_path, pictures(90), raw), "test")
    noise = np.random.default_rng(0).normal(size=(90, 16)).astype(np.float32)
    encoders = PlantedEncoders(planted)
    names = ("zero_shot/planted/top1", "zero_shot/planted/top5", "zero_shot/planted/mean_per_class")
    for same in (False, True):
        if same:
            encoders.known = dict.fromkeys(encoders.known, encoders.known["a red thing"])
        values = ZeroShot().run(subject(encoders, planted, noise)).values()
        assert ZeroShot().run(subject(encoders, other, noise)).values() == pytest.approx(values)
    assert [values[name] for name in names] == pytest.approx([1 / 6, 5 / 6, 1 / 6])


def test_few_classes_have_no_top5(tmp_path: Path):
    raw = evaluation_json()
    raw["classes"] = list(COLOURS[:3])
    raw["prompts"]["held_out"] = []
    three = [
        replace(picture, attributes={"size": 1.0})
        for picture in pictures(30)
        if picture.class_name in COLOURS[:3]
    ]
    found = load_prepared(write(tmp_path, three, raw), "test")
    features = np.eye(16, dtype=np.float32)[1 + found.labels]
    values = ZeroShot().run(subject(PlantedEncoders(found), found, features)).values()
    assert values == {"zero_shot/planted/top1": 1.0, "zero_shot/planted/mean_per_class": 1.0}


def test_a_set_without_classes_is_refused(planted: EvaluationSet):
    with pytest.raises(PcclipError, match=r"evaluation.json: has no 'classes'"):
        ZeroShot().run(
            subject(PlantedEncoders(planted), replace(planted, classes=()), planted_features(planted))
        )


def test_encoding_leaves_the_towers_as_they_were(towers: Towers):
    towers.clip.transformer.train()
    before = {name: module.training for name, module in towers.named_modules()}
    rows = TowerEncoders(towers).encode_texts(["a red thing", "a green thing"])
    assert {name: module.training for name, module in towers.named_modules()} == before
    assert rows.norm(dim=1).tolist() == pytest.approx([1, 1])
    assert not rows.requires_grad
    towers.eval()


class CountingImages:
    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, pixels: Tensor) -> Tensor:
        self.batches.append(len(pixels))
        return torch.nn.functional.normalize(pixels.flatten(1)[:, :8] + 0.1, dim=1)


def pixels_of(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255


def test_features_are_made_once_per_tower_and_kept(planted: EvaluationSet, tmp_path: Path):
    encode = CountingImages()
    cache = FeatureCache(tmp_path / "cache", batch_size=32, progress=False)
    first = cache.get(planted, encode, pixels_of, "tower A")
    assert encode.batches == [32, 32, 26]
    assert cache.get(planted, encode, pixels_of, "tower A") is first
    again = FeatureCache(tmp_path / "cache").get(planted, encode, pixels_of, "tower A")
    assert len(encode.batches) == 3
    assert isinstance(again, np.memmap)
    assert (again == first).all()
    cache.get(planted, encode, pixels_of, "tower B")
    assert len(encode.batches) == 6
    files = sorted((tmp_path / "cache").iterdir())
    assert [file.suffix for file in files] == [".npy", ".npy"]
    one_by_one = FeatureCache(None, batch_size=1, progress=False).get(planted, encode, pixels_of, "tower A")
    assert one_by_one == pytest.approx(first, abs=1e-6)


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", None])
def test_a_damaged_cache_is_refused(planted: EvaluationSet, tmp_path: Path, damage: bytes | None):
    FeatureCache(tmp_path, progress=False).get(planted, CountingImages(), pixels_of, "tower")
    (file,) = tmp_path.iterdir()
    if damage is None:
        np.save(file, np.zeros((3, 8), np.float32))
    else:
        file.write_bytes(damage)
    with pytest.raises(PcclipError, match=rf"{file.name}: .*Delete it; it is made again"):
        FeatureCache(tmp_path, progress=False).get(planted, CountingImages(), pixels_of, "tower")


def test_an_unreadable_picture_is_named_and_nothing_is_kept(tmp_path: Path):
    made = pictures(12)
    made[7] = replace(made[7], image=made[7].image[:200])
    found = load_prepared(write(tmp_path, made), "test")
    with pytest.raises(ShardError, match=r"000000.tar: record 'p0007': its picture cannot be decoded"):
        FeatureCache(tmp_path / "cache", progress=False).get(found, CountingImages(), pixels_of, "tower")
    assert not (tmp_path / "cache").exists()


def test_a_broken_image_tower_is_named(planted: EvaluationSet):
    with pytest.raises(PcclipError, match=r"embedding of picture 'p0000' .* is not finite"):
        FeatureCache(progress=False).get(
            planted, lambda pixels: torch.full((len(pixels), 4), torch.nan), pixels_of, "x"
        )


def test_evaluation_runs_without_lightning():
    modules = ("difference", "zero_shot", "features", "sets", "interpolation", "table")
    imports = "; ".join(f"import pcclip.evaluation.{name}" for name in modules)
    code = f"{imports}; import sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "pcclip.evaluation.sets" in loaded.split()
    assert not {name.split(".")[0] for name in loaded.split()} & {"lightning", "pytorch_lightning"}
