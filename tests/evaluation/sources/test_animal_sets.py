"""EuroSAT, CUB and AwA2: real data where there is some."""

from __future__ import annotations

import shutil
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from set_making import colour, partition, save, shown, spoken
from torchvision import datasets

from pcclip.data.sources.awa2 import predicate_table
from pcclip.data.sources.eurosat import COVERS
from pcclip.data.sources.eurosat import EuroSAT as Trained
from pcclip.errors import PcclipError
from pcclip.evaluation.sources.awa2 import AwA2
from pcclip.evaluation.sources.cub import CUB
from pcclip.evaluation.sources.eurosat import EuroSAT


@pytest.fixture
def eurosat(real_data: Path, tmp_path: Path) -> Path:
    """The first photos of each class, unpacked as torchvision does."""
    with zipfile.ZipFile(real_data / "eurosat" / "EuroSAT.zip") as archive:
        for folder in COVERS:
            names = sorted(
                name for name in archive.namelist() if f"/{folder}/" in name and name.endswith("jpg")
            )
            archive.extractall(tmp_path / "eurosat", names[:20])
    return tmp_path


def test_eurosat_is_what_torchvision_gives(eurosat: Path):
    whole = EuroSAT(str(eurosat)).load("all")
    theirs = datasets.EuroSAT(str(eurosat))
    assert len(whole) == len(theirs) == 200
    assert whole.labels.tolist() == theirs.targets
    for index in (0, 73, 199):
        assert np.array_equal(whole.image(index), theirs[index][0])
        assert whole.classes[whole.labels[index]] == COVERS[theirs.classes[theirs.targets[index]]]


def test_eurosat_has_the_splits_that_training_data_has(eurosat: Path):
    source = EuroSAT(str(eurosat), allow_missing=True)
    parts = {split: source.load(split) for split in ("train", "validation", "test")}
    partition(list(parts.values()), source.load("all"))
    trained = Trained(str(eurosat))
    for split, part in parts.items():
        assert len(part) == trained.count(split)  # type: ignore[arg-type]
        assert set(part.keys) == {picture.key for picture in trained.pictures(split)}  # type: ignore[arg-type]


def test_eurosat_is_read_from_its_zip_within_seconds(real_data: Path):
    begin = time.perf_counter()
    whole = EuroSAT(str(real_data / "eurosat")).load("all")
    whole.fingerprint()
    assert time.perf_counter() - begin < 20  # usually half a second
    assert len(whole) == 27000
    assert np.bincount(whole.labels).tolist() == [3000, 3000, 3000, 2500, 2500, 2000, 2500, 3000, 2500, 3000]
    assert whole.image(26999).size == (64, 64)
    assert whole.keys[26999] == "SeaLake_999"


def test_cub_without_the_official_split(real_data: Path, caplog: pytest.LogCaptureFixture):
    root = str(real_data / "CUB_200_2011")
    with pytest.raises(PcclipError, match=r"200 classes, but the pictures of the split 'all' are of 10"):
        CUB(root).load("all")
    source = CUB(root, allow_missing=True)
    whole = source.load("all")
    assert "has no train_test_split.txt" in caplog.text
    assert "200 classes, but the pictures of the split 'all' are of 10" in caplog.text
    partition([source.load(split) for split in ("train", "validation", "test")], whole)
    assert len(whole) == 294
    assert len(whole.classes) == 200
    at = whole.keys.index("004.Groove_billed_Ani/Groove_billed_Ani_0002_3019980203")
    assert spoken(whole)[at] == "Groove-billed Ani"
    assert whole.attributes[at]["wing_color"] == "black"
    assert whole.image(at).mode == "RGB"


def test_cub_with_the_official_split(real_data: Path, tmp_path: Path):
    root = tmp_path / "CUB_200_2011"
    shutil.copytree(real_data / "CUB_200_2011", root, ignore=shutil.ignore_patterns("images"))
    names = [line.split()[1] for line in (root / "classes.txt").read_text().splitlines()]
    listed = [f"{name}/{name[4:]}_{copy}.jpg" for name in names for copy in range(4)]
    order = np.random.default_rng(0).permutation(len(listed))  # numbers are not places
    lines = [(number + 1, listed[at]) for number, at in enumerate(order)]
    (root / "images.txt").write_text("".join(f"{number} {name}\n" for number, name in lines))
    split = {number: int("_0.jpg" not in name) for number, name in lines}
    (root / "train_test_split.txt").write_text("".join(f"{n} {train}\n" for n, train in split.items()))
    for at, name in enumerate(listed):
        save(root / "images" / name, at)
    labels = {number: int(name[:3]) for number, name in lines}
    (root / "image_class_labels.txt").write_text("".join(f"{n} {label}\n" for n, label in labels.items()))
    test = CUB(str(root)).load("test")
    assert len(test) == len(test.classes) == 200
    assert all(key.endswith("_0") for key in test.keys)
    assert [shown(test, n) for n in range(200)] == [colour(4 * n) for n in range(200)]
    assert test.labels.tolist() == list(range(200))
    source = CUB(str(root), allow_missing=True)
    partition([source.load(part) for part in ("train", "validation", "test")], source.load("all"))
    (root / "images" / listed[0]).unlink()
    with pytest.raises(PcclipError, match=r"1 of the pictures that images.txt names are not there"):
        CUB(str(root)).load("train")
    assert len(source.load("test")) == 199
    (root / "image_class_labels.txt").write_text("".join(f"{n} 1\n" for n in labels))
    with pytest.raises(
        PcclipError, match=r"images.txt: picture \d+ is .* but .*image_class_labels.txt says class 1"
    ):
        source.load("test")


@pytest.fixture
def awa2(real_data: Path, tmp_path: Path) -> Path:
    root = tmp_path / "AwA2"
    shutil.copytree(real_data / "AwA2", root)
    for number, name in enumerate(predicate_table(root)):
        for copy in range(8):
            save(root / "JPEGImages" / name / f"{name}_{10001 + copy}.jpg", number)
    return root


def test_awa2_joins_animals_and_predicates_by_name(awa2: Path):
    whole = AwA2(str(awa2)).load("all")
    assert len(whole) == 400
    known = {
        "zebra": ("stripes", "yellow"),
        "polar bear": ("white", "flippers"),
        "dolphin": ("flippers", "furry"),
    }
    for animal, (has, lacks) in known.items():
        for index in [n for n, name in enumerate(spoken(whole)) if name == animal]:
            assert whole.keys[index].startswith(animal.replace(" ", "+"))
            assert len(whole.attributes[index]) == 85
            assert whole.attributes[index][has] == 1
            assert whole.attributes[index][lacks] == 0


def test_awa2_differs_from_the_published_row_order(awa2: Path):
    """The published evaluation took a folder's place in the alphabet for its row of the matrix."""
    rows = np.loadtxt(awa2 / "predicate-matrix-binary.txt")
    whole = AwA2(str(awa2)).load("all")
    ours = np.array([list(attributes.values()) for attributes in whole.attributes])
    alphabet = sorted({key.split("/")[0] for key in whole.keys})
    published = rows[[alphabet.index(key.split("/")[0]) for key in whole.keys]]
    wrong = (ours != published).any(axis=1)
    assert wrong.mean() > 0.9
    numbers = {name: n for n, name in enumerate(predicate_table(awa2))}
    assert (ours == rows[[numbers[key.split("/")[0]] for key in whole.keys]]).all()


def test_awa2_splits_and_strange_folders(awa2: Path):
    source = AwA2(str(awa2), allow_missing=True)
    partition([source.load(split) for split in ("train", "validation", "test")], source.load("all"))
    save(awa2 / "JPEGImages" / "unicorn" / "unicorn_10001.jpg", 1)
    with pytest.raises(PcclipError, match=r"classes 'unicorn', which are not among the set's 50"):
        AwA2(str(awa2)).load("all")
