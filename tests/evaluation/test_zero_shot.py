from __future__ import annotations

import subprocess
import sys
import tracemalloc
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
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_confusion_matrix

from pcclip.data.class_texts import ClassText, ClassTexts
from pcclip.data.records import ShardError
from pcclip.errors import PcclipError
from pcclip.evaluation.encoding.encoders import CachedEncoders, TowerEncoders
from pcclip.evaluation.encoding.features import FeatureCache
from pcclip.evaluation.protocol import evaluate
from pcclip.evaluation.protocols.classification import confusion_matrix
from pcclip.evaluation.protocols.zero_shot import ZeroShot, class_embeddings
from pcclip.evaluation.sets import EvaluationSet
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
    one_by_one = CachedEncoders(TowerEncoders(towers), batch_size=1)
    assert class_embeddings(one_by_one, COLOURS, templates) == pytest.approx(weights, abs=1e-5)
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
    matrix = multiclass_confusion_matrix(logits, labels, num_classes=6).numpy()
    assert (confusion_matrix(features, weights, planted.labels) == matrix).all()


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


def test_always_the_next_class_is_always_wrong_and_noise_is_chance(planted: EvaluationSet):
    features = planted_features(planted)
    colours = features[:, 1:7]
    features[:, 1:7] = np.roll(colours, 1, axis=1)
    results = ZeroShot().run(subject(PlantedEncoders(planted), planted, features))
    assert results.values()["zero_shot/planted/top1"] == 0
    notes = results.notes["zero_shot/planted"]
    assert notes["worst_classes"] == [
        {"class": colour, "accuracy": 0, "pictures": 15} for colour in sorted(COLOURS)
    ]
    assert notes["confusions"] == [
        {"true": true, "predicted": predicted, "share": 1, "pictures": 15}
        for true, predicted in sorted(zip(COLOURS, COLOURS[1:] + COLOURS[:1], strict=True))
    ]
    noise = np.random.default_rng(0).normal(size=features.shape).astype(np.float32)
    found = ZeroShot().run(subject(PlantedEncoders(planted), planted, noise)).estimates()
    for name, chance in (("top1", 1 / 6), ("top5", 5 / 6)):
        assert found[f"zero_shot/planted/{name}"].low < chance < found[f"zero_shot/planted/{name}"].high


def test_ties_are_confused_in_parts(planted: EvaluationSet):
    encoders = PlantedEncoders(planted)
    for prompt in planted.prompts:
        encoders.known[prompt.format("green")] = encoders.known["a red thing"]
    notes = ZeroShot().run(subject(encoders, planted, planted_features(planted))).notes["zero_shot/planted"]
    assert notes["confusions"][0] == {"true": "red", "predicted": "green", "share": 0.5, "pictures": 7.5}


def described(folder: Path, texts: dict[str, tuple[str, ...]]) -> str:
    ClassTexts("class texts", [ClassText(name, None, of) for name, of in texts.items()], {}).write(
        folder / "texts.json"
    )
    return str(folder)


def test_variants_stand_side_by_side_and_share_texts(planted: EvaluationSet, tmp_path: Path):
    encoders = PlantedEncoders(planted)
    second = planted.prompts[1]
    for number, colour in enumerate(COLOURS):
        # The second prompt is wrong about everything, and a description rights either of them.
        encoders.known[second.format(colour)] = 3 * encoders.known[f"a {COLOURS[number - 1]} thing"]
        for prompt in planted.prompts + planted.held_out_prompts:
            for text in (f"like {colour}", f"{colour} all over")[: 1 + number % 2]:
                encoders.known[f"{prompt.format(colour)}. {text}"] = encoders.known[f"a {colour} thing"]
    texts = {c: (f"like {c}", f"{c} all over")[: 1 + n % 2] for n, c in enumerate(COLOURS)}
    file = described(tmp_path, texts)
    protocols = [ZeroShot(), ZeroShot(ensemble=False), ZeroShot(descriptions=file, label="llm")]
    protocols += [ZeroShot(ensemble=False, descriptions=file)]
    results = evaluate(protocols, subject(encoders, planted, planted_features(planted)))
    values = results.values()
    variants = ("", "-one-prompt", "-llm", "-one-prompt-described")
    assert [values[f"zero_shot/planted{variant}/top1"] for variant in variants] == [0, 1, 1, 1]
    assert [values[f"zero_shot/planted{variant}-unseen/mean_per_class"] for variant in variants] == [1] * 4
    assert set(results.notes) == {f"zero_shot/planted{variant}" for variant in variants}
    asked = [text for batch in encoders.calls for text in batch]
    assert len(asked) == len(set(asked)) == 18 + 27


def test_a_class_without_a_description_is_named(planted: EvaluationSet, tmp_path: Path):
    file = described(tmp_path, dict.fromkeys(COLOURS[:5], ("like it",)) | {"black": ()})
    with pytest.raises(
        PcclipError, match=rf"{tmp_path.name}: has no text about 2 of the 6 classes .*: 'black', 'white'"
    ):
        ZeroShot(descriptions=file).run(subject(PlantedEncoders(planted), planted, planted_features(planted)))


class CountingTexts:
    def __init__(self) -> None:
        self.texts = self.calls = 0

    def encode_images(self, pixels: Tensor) -> Tensor:
        raise AssertionError

    def encode_texts(self, texts: list[str]) -> Tensor:
        self.texts, self.calls = self.texts + len(texts), self.calls + 1
        return torch.nn.functional.normalize(torch.rand(len(texts), 256), dim=1)


def test_a_thousand_classes_in_eighty_prompts_are_encoded_once_and_held_once():
    counting = CountingTexts()
    encoders = CachedEncoders(counting)
    classes, prompts = [f"class {n}" for n in range(1000)], [f"template {n} of a {{}}" for n in range(80)]
    tracemalloc.start()
    try:
        first = class_embeddings(encoders, classes, prompts)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert counting.texts == 80_000
    assert counting.calls < 1.1 * 80_000 / 256
    assert (class_embeddings(encoders, classes, prompts) == first).all()
    class_embeddings(encoders, classes, prompts[:1])
    assert counting.texts == 80_000
    assert peak < 1.6 * 80_000 * 256 * 4  # the cache of rows by text, and no second array of its size


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
    left = [file.suffix for file in (tmp_path / "cache").iterdir()]
    assert sorted(left) == [".lock", ".lock", ".npy", ".npy"]
    one_by_one = FeatureCache(None, batch_size=1, progress=False).get(planted, encode, pixels_of, "tower A")
    assert one_by_one == pytest.approx(first, abs=1e-6)


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", None])
def test_a_damaged_cache_is_refused(planted: EvaluationSet, tmp_path: Path, damage: bytes | None):
    FeatureCache(tmp_path, progress=False).get(planted, CountingImages(), pixels_of, "tower")
    (file,) = tmp_path.glob("*.npy")
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
    assert not [file for file in (tmp_path / "cache").iterdir() if file.suffix != ".lock"]


def test_a_broken_image_tower_is_named(planted: EvaluationSet):
    with pytest.raises(PcclipError, match=r"embedding of picture 'p0000' .* is not finite"):
        FeatureCache(progress=False).get(
            planted, lambda pixels: torch.full((len(pixels), 4), torch.nan), pixels_of, "x"
        )


def test_evaluation_runs_without_lightning():
    modules = ("protocols.difference", "protocols.zero_shot", "encoding.features", "sets", "table")
    imports = "; ".join(f"import pcclip.evaluation.{name}" for name in modules)
    code = f"{imports}; import sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "pcclip.evaluation.sets" in loaded.split()
    assert not {name.split(".")[0] for name in loaded.split()} & {"lightning", "pytorch_lightning"}
