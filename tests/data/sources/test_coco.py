import json
import logging
from pathlib import Path

import pytest
from source_making import EMPTY, HOSTILE, everything, in_shards, jpeg

from pcclip.cli import main
from pcclip.data.sources.coco import Coco
from pcclip.errors import PcclipError


def layout(root: Path, captions: dict[str, list], missing: tuple[str, ...] = ()) -> tuple[str, str]:
    """An official layout: captions by file name; `missing` are listed, but not in the folder."""
    (root / "val2017").mkdir(parents=True)
    images, notes = [], []
    for number, (name, texts) in enumerate(captions.items(), 1):
        images.append({"id": number, "file_name": name, "license": 4, "height": 24, "width": 24})
        notes += [{"image_id": number, "id": 100 * number + n, "caption": t} for n, t in enumerate(texts)]
        if name not in missing:
            (root / "val2017" / name).write_bytes(jpeg(number))
    file = root / "captions_val2017.json"
    file.write_text(json.dumps({"info": {}, "licenses": [], "images": images, "annotations": notes[::-1]}))
    return str(file), str(root / "val2017")


def test_the_real_captions_with_the_pictures_that_are_there(
    real_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, folder = real_data / "coco/annotations/captions_val2017.json", real_data / "coco/val2017"
    source = Coco(str(file), str(folder))
    pictures = everything(source)
    assert len(pictures) == 283
    assert sum(len(p.captions) for p in pictures.values()) == 1416
    assert source.skipped() == {"picture file missing": 4717}
    (line,) = [r.message for r in caplog.records]
    assert line == f"{file}: 283 of 5,000 pictures are used; pictures left out: 4,717 (file missing)"
    one = pictures["000000397133"]
    assert one.captions[0] == "A man is in a kitchen making pizzas."
    assert (len(one.captions), one.extension, one.class_name, one.attributes) == (5, "jpg", None, {})
    assert one.image == (folder / "000000397133.jpg").read_bytes()
    texts = Coco(str(file), with_images=False)
    known = {p.key: p for split in ("train", "validation", "test") for p in texts.texts(split)}
    assert len(known) == 5000
    assert sum(len(p.captions) for p in known.values()) == 25014
    assert known["000000397133"].captions == one.captions
    assert texts.skipped() == {}
    raw = json.loads(file.read_bytes())["annotations"]
    assert sorted(c for p in known.values() for c in p.captions) == sorted(a["caption"].strip() for a in raw)
    # The share of a split is that of the pictures, and a picture's split is the same whatever else there is.
    assert texts.count("train") == pytest.approx(4500, abs=70)
    assert {p.key for p in source.texts("train")} <= {p.key for p in texts.texts("train")}


def test_prepare_makes_a_picture_set_of_the_real_ones(
    real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = Path(__file__).parents[3] / "data_recipes" / "coco" / "pictures.yaml"
    words = ["prepare", "--config", str(recipe), "--out", str(tmp_path / "coco"), "--progress", "false"]
    words += ["--source.captions", str(real_data / "coco/annotations/captions_val2017.json")]
    words += ["--source.images", str(real_data / "coco/val2017")]
    words += ["--source.train", "0.8", "--source.validation", "0.1"]
    assert main(words) == 0
    made = {split: in_shards(tmp_path / "coco/pictures" / split) for split in ("train", "validation", "test")}
    source = Coco(words[8], words[10], train=0.8, validation=0.1)
    for split, pictures in made.items():
        assert list(pictures.values()) == list(source.pictures(split))  # type: ignore[arg-type]
    assert sum(map(len, made.values())) == 283
    card = (tmp_path / "coco" / "CARD.md").read_text()
    assert "Left out of the source: picture file missing: 4717." in card
    assert "CC BY 4.0" in card
    assert not (tmp_path / "coco" / "evaluation.json").exists()
    assert main(["inspect", str(tmp_path / "coco/pictures/train")]) == 0
    capsys.readouterr()
    assert main(words) == 0
    assert "already made" in capsys.readouterr().out
    assert main([*words, "--source.train", "0.9"]) == 1
    assert "source.train: 0.8 there, 0.9 now" in capsys.readouterr().err


def test_hostile_captions_arrive_to_the_letter_and_empty_ones_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    captions: dict[str, list] = {f"{n:012d}.jpg": [text, "plain"] for n, text in enumerate(HOSTILE)}
    captions["empty.jpg"] = list(EMPTY)
    captions["other.jpg"] = ["good\n", None, 7, "half \ud83d of a pair", *EMPTY]
    source = Coco(*layout(tmp_path, captions))
    pictures = everything(source)
    assert [pictures[f"{n:012d}"].captions for n in range(len(HOSTILE))] == [
        ("plain", text) for text in HOSTILE
    ]
    assert pictures["other"].captions == ("good",)
    assert "empty" not in pictures
    assert source.skipped() == {
        "picture without a caption": 1,
        "caption empty": 9,
        "caption is no text": 1,
        "caption is no valid Unicode": 1,
    }
    (line,) = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert "pictures left out: 1 (without a caption)" in line
    assert "captions left out: 9 (empty), 1 (is no text), 1 (is no valid Unicode)" in line
    assert main(["prepare", "--source", "pcclip.data.sources.coco.Coco", *arguments(tmp_path)]) == 0
    written = {key: p for s in ("train", "validation") for key, p in in_shards(tmp_path / s).items()}
    assert written == pictures


def arguments(root: Path) -> list[str]:
    for split in ("train", "validation"):
        (root / split).symlink_to(root / "out/pictures" / split)
    words = ["--out", str(root / "out"), "--progress", "false", "--source.train", "0.7"]
    words += ["--source.validation", "0.3", "--records_per_shard", "3"]
    return [
        *words,
        *("--source.captions", str(root / "captions_val2017.json")),
        *("--source.images", str(root / "val2017")),
    ]


def test_a_missing_picture_is_left_out_and_texts_alone_need_none(tmp_path: Path) -> None:
    captions = {f"{n}.jpg": [f"caption {n}"] for n in range(9)}
    file, folder = layout(tmp_path, captions, ("3.jpg", "5.jpg"))
    assert set(everything(Coco(file, folder))) == {"0", "1", "2", "4", "6", "7", "8"}
    texts = Coco(file, with_images=False, train=1, validation=0)
    assert [p.key for p in texts.texts("train")] == [str(n) for n in range(9)]
    with pytest.raises(PcclipError, match="'with_images' is false"):
        next(texts.pictures("train"))
    with pytest.raises(PcclipError, match=r"0 of 9 pictures are used.*'with_images: false'"):
        Coco(file, str(tmp_path)).count("train")
    with pytest.raises(PcclipError, match="names no picture '99'"):
        Coco(file, folder).image("99")
    source = Coco(file, folder)
    everything(source)
    (tmp_path / "val2017" / "4.jpg").unlink()
    with pytest.raises(PcclipError, match=r"4\.jpg: picture '4' cannot be read .*Copy it again"):
        source.image("4")


def test_wrong_files_are_named_with_the_remedy(tmp_path: Path) -> None:
    file, folder = layout(tmp_path, {"1.jpg": ["one"], "2.jpg": ["two"]})
    good = json.loads(Path(file).read_bytes())

    def refuse(message: str, **changes: object) -> None:
        bad = tmp_path / "bad.json"
        bad.write_text(json.dumps({k: v for k, v in (good | changes).items() if v != "gone"}))
        with pytest.raises(PcclipError, match=message) as error:
            Coco(str(bad), folder).count("train")
        assert "bad.json: " in str(error.value)
        assert "captions_train2017.json" in str(error.value) or "1.jpg" in str(error.value)

    refuse("has no list 'annotations'", annotations="gone")
    refuse("has no list 'images'", images={"id": 3})
    # instances_val2017.json, the file that people take by mistake
    refuse(
        r"annotations\[1\] lacks 'caption'",
        annotations=[good["annotations"][0], {"image_id": 1, "bbox": [1, 2]}],
    )
    refuse(r"annotations\[0\] lacks 'image_id'", annotations=[{"caption": "x"}])
    refuse(r"images\[0\] lacks 'file_name'", images=[{"id": 1}])
    refuse(r"images\[0\] has None as 'file_name'", images=[{"id": 1, "file_name": None}])
    refuse(r"images\[2\] has the id 1, and so has '1.jpg'", images=[*good["images"], good["images"][0]])
    refuse(
        r"image 3: .*/1\.jpg has the key '1', and so has",
        images=[*good["images"], {"id": 3, "file_name": "1.jpg"}],
    )
    refuse("outside of the folder", images=[{"id": 1, "file_name": "../1.jpg"}])
    whole = Path(file).read_bytes()
    for name, data, message in (
        ("cut.json", whole[: len(whole) // 2], r"cut\.json: cannot be read as JSON"),
        ("list.json", b"[1, 2]", r"list\.json: has no list 'images'"),
        ("none.json", None, r"none\.json: there is no such file. Give 'captions' the file"),
    ):
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(PcclipError, match=message):
            Coco(str(tmp_path / name), folder).count("train")
    with pytest.raises(PcclipError, match=r"'images' is '', which is no folder.*with_images: false"):
        Coco(file)
    with pytest.raises(PcclipError, match="together at most 1"):
        Coco(file, folder, train=0.9, validation=0.3)


def test_a_caption_of_an_unlisted_picture_is_counted(tmp_path: Path) -> None:
    file, folder = layout(tmp_path, {"1.jpg": ["one"], "2.jpg": ["two"]})
    raw = json.loads(Path(file).read_bytes())
    raw["annotations"].append({"image_id": 77, "id": 1, "caption": "of nothing"})
    Path(file).write_text(json.dumps(raw))
    source = Coco(file, folder)
    assert set(everything(source)) == {"1", "2"}
    assert source.skipped() == {"caption of a picture that is not listed": 1}
