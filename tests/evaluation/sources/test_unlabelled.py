from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pcclip.errors import PcclipError
from pcclip.evaluation.sources.unlabelled import Unlabelled


def picture(file: Path, grey: int = 0) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), grey, np.uint8)).save(file)


def test_a_folder_is_one_split_with_keys_by_path(tmp_path: Path):
    for grey, name in enumerate(("b.png", "a.v2.jpg", "deep/er/c.webp", "d.JPG")):
        picture(tmp_path / "photos" / name, 60 * grey)
    (tmp_path / "photos" / "readme.txt").write_text("no picture")
    data = Unlabelled(str(tmp_path / "photos")).load("test")
    assert (data.evaluated, data.classes) == ("photos/test", ())
    assert set(data.keys) == {"a_v2", "b", "d", "deep/er/c"}
    assert data.labels.tolist() == [-1] * 4
    assert abs(int(np.asarray(data.image(data.keys.index("d")))[0, 0, 0]) - 180) < 4
    assert Unlabelled(str(tmp_path / "photos"), name="mine").load("all").evaluated == "mine/all"
    with pytest.raises(PcclipError, match="no folder for the split 'validation'"):
        Unlabelled(str(tmp_path / "photos")).load("validation")


def test_folders_of_splits_are_splits(tmp_path: Path):
    for name in ("val/a.jpg", "test/a.jpg", "test/sub/b.jpg"):
        picture(tmp_path / name)
    source = Unlabelled(str(tmp_path), name="photos")
    assert source.load("validation").keys == ("a",)
    assert source.load("test").keys == ("a", "sub/b")


def test_what_is_no_set_is_refused(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    picture(tmp_path / "twice" / "a.jpg")
    picture(tmp_path / "twice" / "a.png")
    for folder, problem in (
        ("absent", "there is no such folder"),
        ("empty", "has no picture"),
        ("twice", "two pictures have the key 'a'"),
    ):
        with pytest.raises(PcclipError, match=problem):
            Unlabelled(str(tmp_path / folder)).load("test")
