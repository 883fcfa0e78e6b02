from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from set_making import colour, partition, save, shown

from pcclip.errors import PcclipError
from pcclip.evaluation.sources.captions import COCO, Flickr30k


def test_coco_with_the_pictures_that_are_there(real_data: Path, caplog: pytest.LogCaptureFixture):
    file = real_data / "coco" / "annotations" / "captions_val2017.json"
    images = real_data / "coco" / "val2017"
    found = COCO(str(file), str(images)).load("test")
    there = {path.stem for path in images.iterdir()}
    assert set(found.keys) == there
    assert len(there) == 283
    assert "283 of 5,000 pictures are used; pictures left out: 4,717 (file missing)" in caplog.text
    assert len(caplog.records) == 1
    raw = json.loads(file.read_text())
    at = found.keys.index("000000000139")
    official = [note["caption"].strip() for note in raw["annotations"] if note["image_id"] == 139]
    assert list(found.captions[at]) == official
    assert len(official) == 5
    assert found.image(at).mode == "RGB"
    assert (found.labels == -1).all()
    assert not found.classes


def coco_json(folder: Path, numbers: list[int]) -> str:
    images = [{"id": 1000 - n, "file_name": f"{n:012d}.jpg"} for n in numbers]
    # Captions stand in an order of their own.
    notes = [
        {"image_id": 1000 - n, "caption": f"picture {n}, caption {c} "}
        for c in range(5)
        for n in numbers[::-1]
    ]
    file = folder / f"captions_{numbers[0]}.json"
    file.write_text(json.dumps({"images": images, "annotations": notes}))
    for number in numbers:
        save(folder / "pictures" / f"{number:012d}.jpg", number)
    return str(file)


def test_coco_files_by_split(tmp_path: Path):
    files = {"validation": coco_json(tmp_path, [3, 1, 2]), "test": coco_json(tmp_path, [7, 5])}
    source = COCO(files, str(tmp_path / "pictures"))
    found = source.load("validation")
    assert found.keys == ("000000000003", "000000000001", "000000000002")
    assert [shown(found, n) for n in range(3)] == [colour(3), colour(1), colour(2)]
    assert found.captions[0] == tuple(f"picture 3, caption {c}" for c in range(5))
    assert source.load("test").evaluated == "coco/test"
    with pytest.raises(PcclipError, match=r"no file for the split 'train', only for validation, test"):
        source.load("train")
    with pytest.raises(PcclipError, match=r"names no splits, so it is the split 'test'; 'validation' needs"):
        COCO(files["test"], str(tmp_path / "pictures")).load("validation")


def karpathy(folder: Path, flickr: bool) -> str:
    images: list[dict[str, Any]] = []
    for number, split in enumerate(("train", "restval", "val", "test", "test", "restval")):
        image = {
            "filename": f"{number}.jpg",
            "split": split,
            "sentences": [{"raw": f"{number} says {c}", "tokens": []} for c in range(5)],
        }
        images.append(image | ({} if flickr else {"filepath": "val2014" if number % 2 else "train2014"}))
    file = folder / ("dataset_flickr30k.json" if flickr else "dataset_coco.json")
    file.write_text(json.dumps({"images": images, "dataset": "flickr30k" if flickr else "coco"}))
    return str(file)


@pytest.mark.parametrize("kind", [COCO, Flickr30k])
def test_karpathys_splits(tmp_path: Path, kind: type):
    flickr = kind is Flickr30k
    file = karpathy(tmp_path, flickr)
    for number in range(6):
        folder = "" if flickr else "val2014" if number % 2 else "train2014"
        save(tmp_path / "images" / folder / f"{number}.jpg", number)
    source = kind(file, str(tmp_path / "images"))
    parts = [source.load(split) for split in ("train", "validation", "test")]
    partition(parts, source.load("all"))
    assert [len(part) for part in parts] == [3, 1, 2]
    assert [shown(parts[2], n) for n in range(2)] == [colour(3), colour(4)]
    assert parts[2].captions[1] == tuple(f"4 says {c}" for c in range(5))
    with pytest.raises(PcclipError, match=r"has no picture of the split 'val'; its splits: test, train, val"):
        source.load("val")


def test_flickr30ks_official_captions(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    lines = [f"{n}.jpg#{c}\tA caption , number {c} of {n} .\n" for n in range(200) for c in range(5)]
    (tmp_path / "results_20130124.token").write_text("".join(lines))
    for number in range(199):
        save(tmp_path / "images" / f"{number}.jpg", number)
    source = Flickr30k(str(tmp_path / "results_20130124.token"), str(tmp_path / "images"))
    whole = source.load("all")
    assert len(whole) == 199
    assert "199 of 200 pictures are used; pictures left out: 1 (file missing)" in caplog.text
    assert whole.captions[7] == tuple(f"A caption , number {c} of 7 ." for c in range(5))
    partition([source.load(split) for split in ("train", "validation", "test")], whole)
    assert "by the hash of the file names" in caplog.text


def test_clip_benchmarks_list(tmp_path: Path):
    file = tmp_path / "flickr30k_test_karpathy.txt"
    file.write_text("image,caption\n1.jpg,One, two, three.\n2.jpg,a dog\n1.jpg,again\n")
    for number in (1, 2):
        save(tmp_path / "images" / f"{number}.jpg", number)
    found = Flickr30k(str(file), str(tmp_path / "images")).load("test")
    assert found.keys == ("1", "2")
    assert found.captions == (("One, two, three.", "again"), ("a dog",))


def test_bad_captions_are_told(tmp_path: Path):
    images = str(tmp_path)
    with pytest.raises(PcclipError, match=r"absent.json: there is no such file"):
        COCO(str(tmp_path / "absent.json"), images).load("test")
    file = tmp_path / "x.json"
    file.write_text('{"annotations": [], "pictures": []}')
    with pytest.raises(
        PcclipError, match=r"x.json: is no file of captions \(lacks 'images'\). Give 'captions'"
    ):
        COCO(str(file), images).load("test")
    file = tmp_path / "x.token"
    file.write_text("1.jpg a caption\n")
    with pytest.raises(PcclipError, match=r"x.token: line 1 is '1.jpg a caption', neither"):
        Flickr30k(str(file), images).load("all")
    file.write_text("1.jpg#0\ta caption\n")
    with pytest.raises(PcclipError, match=r"0 of 1 pictures are used; .*missing.* Give 'images'"):
        Flickr30k(str(file), images).load("all")
    with pytest.raises(PcclipError, match=r"absent: there is no such folder"):
        Flickr30k(str(file), str(tmp_path / "absent")).load("all")
