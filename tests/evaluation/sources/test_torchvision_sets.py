"""Real torchvision loaders on tiny sets in the official file formats.

torchvision compares CIFAR-100's pickles and Flowers102's .mat files with the checksums of the full official
files, which a small set cannot have: these checks alone are switched off here. Food101, SUN397 and ImageNet
(whose folders are unpacked) run as they are. Downloads are not run.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat
from set_making import colour, partition, save, shown, spoken
from torchvision import datasets

from pcclip.errors import PcclipError
from pcclip.evaluation.sources.imagenet import ImageNet
from pcclip.evaluation.sources.torchvision_sets import CIFAR100, SUN397, Flowers102, Food101
from pcclip.evaluation.sources.words import Words

CIFAR_NAMES = list(Words.of("cifar100").names)


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for part, count, start in (("train", 300, 0), ("test", 200, 1000)):
        rows = np.array([np.repeat(colour(start + n), 1024) for n in range(count)], np.uint8)
        content = {"data": rows, "fine_labels": [(n * 7 + 3) % 100 for n in range(count)]}
        (folder / part).write_bytes(pickle.dumps(content))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": CIFAR_NAMES}))
    monkeypatch.setattr(datasets.CIFAR100, "train_list", [["train", None]])
    monkeypatch.setattr(datasets.CIFAR100, "test_list", [["test", None]])
    monkeypatch.setattr(datasets.CIFAR100, "meta", datasets.CIFAR100.meta | {"md5": None})
    return tmp_path


def test_cifar100_is_what_torchvision_gives(cifar: Path):
    source = CIFAR100(str(cifar))
    test = source.load("test")
    theirs = datasets.CIFAR100(str(cifar), train=False)
    assert len(test) == len(theirs) == 200
    for index in (0, 57, 199):
        picture, label = theirs[index]
        assert shown(test, index) == picture.getpixel((0, 0)) == colour(1000 + index)
        assert spoken(test)[index] == theirs.classes[label].replace("_", " ")
    assert test.keys[57] == "test/00057"
    assert "aquarium fish" in test.classes
    assert all(prompt.count("{}") == 1 for prompt in test.prompts + test.held_out_prompts)


def test_cifar100_validation_is_cut_from_train_for_good(cifar: Path):
    source = CIFAR100(str(cifar), validation=0.4, allow_missing=True)
    parts = [source.load(split) for split in ("train", "validation", "test")]
    partition(parts, source.load("all"))
    again = CIFAR100(str(cifar), validation=0.4, allow_missing=True).load("validation")
    assert again.keys == parts[1].keys
    assert (
        CIFAR100(str(cifar), validation=0.4, seed=1, allow_missing=True).load("validation").keys != again.keys
    )
    assert again.fingerprint() == parts[1].fingerprint() != parts[0].fingerprint()
    number = int(again.keys[5].removeprefix("train/"))
    assert shown(again, 5) == colour(number)


def test_labels_that_are_not_the_sets_are_refused(cifar: Path):
    other = ["perch" if name == "trout" else name for name in CIFAR_NAMES]
    (cifar / "cifar-100-python" / "meta").write_bytes(pickle.dumps({"fine_label_names": other}))
    lacks = r"labels without a name: 'perch'; names for labels that the set has not: 'trout'"
    with pytest.raises(PcclipError, match=rf"cifar-100-python: 100 classes, and .*cifar100.yaml .*; {lacks}"):
        CIFAR100(str(cifar)).load("test")


def test_a_split_without_some_classes_is_refused(cifar: Path):
    with pytest.raises(PcclipError, match=r"100 classes, but the pictures of the split 'validation' are of"):
        CIFAR100(str(cifar)).load("validation")


@pytest.fixture
def flowers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "flowers-102"
    (folder / "jpg").mkdir(parents=True)
    labels = np.array([(n * 5) % 102 + 1 for n in range(306)])
    savemat(folder / "imagelabels.mat", {"labels": labels})
    # The parts are shuffled among one another, as the official ones are.
    order = np.random.default_rng(0).permutation(306) + 1
    parts = {"trnid": order[:51], "valid": order[51:102], "tstid": order[102:]}
    savemat(folder / "setid.mat", parts)
    for number in range(1, 307):
        save(folder / "jpg" / f"image_{number:05d}.jpg", number)
    files = {name: (file, None) for name, (file, _) in datasets.Flowers102._file_dict.items()}
    monkeypatch.setattr(datasets.Flowers102, "_file_dict", files)
    return tmp_path


def test_flowers102_is_joined_by_number(flowers: Path):
    source = Flowers102(str(flowers), allow_missing=True)
    parts = [source.load(split) for split in ("train", "validation", "test")]
    partition(parts, source.load("all"))
    assert [len(part) for part in parts] == [51, 51, 204]
    names = Words.of("flowers102").names
    for part in parts:
        for index, key in enumerate(part.keys):
            number = int(key.removeprefix("image_"))
            assert shown(part, index) == colour(number)
            assert spoken(part)[index] == names[str((number - 1) * 5 % 102 + 1)]


def test_flowers102_names_are_torchvisions_but_for_three():
    ours = list(Words.of("flowers102").names.values())
    changed = {b: a for a, b in zip(ours, datasets.Flowers102.classes, strict=True) if a != b}
    assert changed == {
        "pink-yellow dahlia?": "pink and yellow dahlia",
        "globe-flower": "globe flower",
        "desert-rose": "desert rose",
    }


@pytest.fixture
def food(tmp_path: Path) -> Path:
    folder = tmp_path / "food-101"
    (folder / "meta").mkdir(parents=True)
    number = 0
    for part, count in (("train", 4), ("test", 2)):
        listed = {}
        for name in Words.of("food101").names:
            listed[name] = [f"{name}/{number + n}" for n in range(count)]
            for n in range(count):
                save(folder / "images" / name / f"{number + n}.jpg", number + n)
            number += count
        (folder / "meta" / f"{part}.json").write_text(json.dumps(listed))
    return tmp_path


def test_food101(food: Path):
    source = Food101(str(food), validation=0.5, allow_missing=True)
    parts = [source.load(split) for split in ("train", "validation", "test")]
    partition(parts, source.load("all"))
    test = Food101(str(food)).load("test")
    assert len(test) == 202
    for index, key in enumerate(test.keys):
        folder, _, number = key.partition("/")
        assert spoken(test)[index] == {"cup_cakes": "cupcakes"}.get(folder, folder.replace("_", " "))
        assert shown(test, index) == colour(int(number))


@pytest.fixture
def sun(tmp_path: Path) -> Path:
    labels = list(Words.of("sun397").names)
    folder = tmp_path / "SUN397"
    folder.mkdir()
    (folder / "ClassName.txt").write_text("".join(f"/{label[0]}/{label}\n" for label in labels))
    for number, label in enumerate(labels):
        for copy in range(8):
            save(folder / label[0] / label / f"sun_{number:04d}{copy}.jpg", number)
    return tmp_path


def test_sun397(sun: Path):
    source = SUN397(str(sun), allow_missing=True)
    whole = source.load("all")
    assert len(whole) == 397 * 8
    assert list(whole.keys) == sorted(whole.keys)
    parts = [source.load(split) for split in ("train", "validation", "test")]
    partition(parts, whole)
    assert [len(part) / len(whole) for part in parts] == pytest.approx([0.6, 0.15, 0.25], abs=0.03)
    labels = list(Words.of("sun397").names)
    at = whole.keys.index("b/bakery/shop/sun_00270")
    assert shown(whole, at) == colour(labels.index("bakery/shop")) == colour(27)
    assert spoken(whole)[at] == "bakery shop"


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    for number, wnid in enumerate(ImageNet("")._words().names):
        save(tmp_path / "val" / wnid / f"ILSVRC2012_val_{number:08d}.JPEG", number)
    return tmp_path


def test_imagenet_from_class_folders(imagenet: Path):
    test = ImageNet(str(imagenet)).load("test")
    assert len(test) == len(test.classes) == 1000
    assert spoken(test)[:2] == ["tench", "goldfish"]
    for wnid, name in (
        ("n02012849", "crane bird"),
        ("n03126707", "construction crane"),
        ("n03710637", "tights"),
    ):
        at = next(index for index, key in enumerate(test.keys) if f"/{wnid}/" in key)
        assert spoken(test)[at] == name
    with pytest.raises(PcclipError, match=r"train: is no folder. Unpack ILSVRC2012_img_train.tar"):
        ImageNet(str(imagenet)).load("validation")


def test_imagenet_is_what_torchvision_gives(imagenet: Path):
    names = ImageNet("")._words().names
    torch.save(({wnid: (name,) for wnid, name in names.items()}, list(names)), imagenet / "meta.bin")
    theirs = datasets.ImageNet(str(imagenet), split="val")
    test = ImageNet(str(imagenet)).load("test")
    assert [str(file) for file, _ in theirs.samples] == list(test.pictures.files)  # type: ignore[attr-defined]
    assert [label for _, label in theirs.samples] == test.labels.tolist()


def test_openai_templates_come_from_open_clip(imagenet: Path):
    assert len(ImageNet(str(imagenet), prompts="openai").load("test").prompts) == 80
    assert ImageNet(str(imagenet), prompts="one").load("test").prompts == ("a photo of a {}",)


@pytest.mark.parametrize("source", [CIFAR100, Flowers102, Food101, SUN397])
def test_what_is_not_there_is_told(tmp_path: Path, source: type):
    with pytest.raises(PcclipError, match=rf"{tmp_path}: .* is not there, or damaged .*'download: true'"):
        source(str(tmp_path)).load("test")


def test_other_splits_are_refused(tmp_path: Path):
    with pytest.raises(
        PcclipError, match=r"food101: has no split 'val'; its splits: train, validation, test"
    ):
        Food101(str(tmp_path)).load("val")
