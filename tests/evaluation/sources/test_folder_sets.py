from __future__ import annotations

import os
from pathlib import Path

import pytest
from set_making import colour, partition, save, shown, spoken

from pcclip.errors import PcclipError
from pcclip.evaluation.sources.folders import Folders


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(120):
        save(tmp_path / "x" / f"class {number % 3}" / f"{number:03d}.png", number)
    return tmp_path / "x"


def test_pictures_are_shared_out_by_their_keys_alone(root: Path):
    source = Folders(str(root))
    parts = [source.load(split) for split in ("train", "validation", "test")]
    partition(parts, source.load("all"))
    assert [round(len(part) / 120, 1) for part in parts] == [0.6, 0.2, 0.2]
    (root / "class 0" / "000.png").unlink()
    without = Folders(str(root)).load("test")
    assert without.keys == tuple(key for key in parts[2].keys if key != "class 0/000")


def test_pictures_and_classes_belong_together(root: Path):
    found = Folders(str(root)).load("all")
    for index, key in enumerate(found.keys):
        number = int(key[-3:])
        assert shown(found, index) == colour(number)
        assert spoken(found)[index] == f"class {number % 3}"


def test_the_fingerprint_changes_with_any_picture(root: Path):
    def fingerprint() -> str:
        return Folders(str(root)).load("all").fingerprint()

    before = fingerprint()
    assert fingerprint() == before
    file = root / "class 1" / "001.png"
    status = file.stat()
    data = file.read_bytes()
    save(file, 77)
    assert fingerprint() != before
    file.write_bytes(data)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert fingerprint() == before
    file.rename(root / "class 2" / "moved.png")
    assert fingerprint() != before


def test_folders_of_splits(tmp_path: Path):
    for number, split in enumerate(("train", "val", "test")):
        for name in ("cat", "dog"):
            save(tmp_path / split / name / "1.png", number)
    source = Folders(str(tmp_path), name="pets")
    parts = [source.load(split) for split in ("train", "validation", "test")]
    partition(parts, source.load("all"))
    assert [shown(part, 0) for part in parts] == [colour(n) for n in range(3)]
    assert parts[1].keys == ("val/cat/1", "val/dog/1")
    assert parts[1].evaluated == "pets/validation"


def test_a_split_without_a_folder_is_refused(tmp_path: Path):
    save(tmp_path / "test" / "cat" / "1.png", 1)
    with pytest.raises(PcclipError, match=r"has no folder for the split 'validation', only for test"):
        Folders(str(tmp_path)).load("validation")


def test_bad_folders_are_told(tmp_path: Path):
    with pytest.raises(PcclipError, match=r"absent: there is no such folder"):
        Folders(str(tmp_path / "absent")).load("test")
    with pytest.raises(PcclipError, match=r"has no class folders"):
        Folders(str(tmp_path)).load("test")
    save(tmp_path / "cat" / "1.png", 1)
    (tmp_path / "dog").mkdir()
    with pytest.raises(PcclipError, match=r"2 classes, but .* are of 1; without a picture: 'dog'"):
        Folders(str(tmp_path)).load("all")
    save(tmp_path / "cat" / "1.jpg", 1)
    with pytest.raises(PcclipError, match=r"two pictures have the key 'cat/1'"):
        Folders(str(tmp_path), allow_missing=True).load("all")
    with pytest.raises(PcclipError, match=r"'train' \(0.9\) and 'validation' \(0.2\) are shares"):
        Folders(str(tmp_path), train=0.9, validation=0.2)


def test_a_damaged_picture_is_named_when_it_is_read(tmp_path: Path):
    save(tmp_path / "cat" / "1.png", 1)
    (tmp_path / "cat" / "2.png").write_bytes(b"no picture")
    found = Folders(str(tmp_path)).load("all")
    with pytest.raises(PcclipError, match=r"cat/2.png: .* cannot be decoded"):
        found.image(1)
    (tmp_path / "cat" / "2.png").unlink()
    with pytest.raises(PcclipError, match=r"cat/2.png: cannot be read"):
        found.image(1)
