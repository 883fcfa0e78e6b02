import io
import json
import logging
from pathlib import Path

import pytest
from source_making import EMPTY, HOSTILE, everything, in_shards, jpeg, write_tar

from pcclip.cli import main
from pcclip.data.sources.base import SPLITS
from pcclip.data.sources.webdataset import WebDataset
from pcclip.errors import PcclipError


def img2dataset(folder: Path, captions: list[str], per_shard: int = 5) -> Path:
    """What img2dataset writes: tars of KEY.jpg, KEY.txt, KEY.json, and two files of notes beside each."""
    for number in range(0, len(captions), per_shard):
        shard = f"{number // per_shard:05d}"
        members = {}
        for at, text in enumerate(captions[number : number + per_shard]):
            key = f"{shard}{at:04d}"
            about = {"url": f"http://x/{at}", "caption": text, "key": key, "status": "success", "width": 24}
            members[f"{key}.jpg"] = jpeg(number + at)
            members[f"{key}.json"] = json.dumps(about).encode()
            members[f"{key}.txt"] = text.encode()
        write_tar(folder / f"{shard}.tar", members)
        (folder / f"{shard}_stats.json").write_text("{}")
        (folder / f"{shard}.parquet").write_bytes(b"PAR1")
    return folder


def test_img2dataset_folders_are_read_as_they_are(tmp_path: Path) -> None:
    captions = [f"picture {n}" for n in range(23)]
    folder = img2dataset(tmp_path / "laion", captions)
    source = WebDataset(str(folder), name="laion", licence="theirs")
    found = everything(source)
    assert [found[k].caption for k in sorted(found)] == captions
    assert [found[k].image for k in sorted(found)] == [jpeg(n) for n in range(23)]
    assert source.skipped() == {}
    for spec in (
        f"{folder}/*.tar",
        f"{folder}/{{00000..00004}}.tar",
        [f"{folder}/0000{n}.tar" for n in range(5)],
    ):
        assert everything(WebDataset(spec)) == found  # type: ignore[arg-type]
    one = WebDataset(f"{folder}/00001.tar", train=1, validation=0)
    assert [p.key for p in one.texts("train")] == [f"00001000{n}" for n in range(5)]
    assert one.material() != source.material()


def test_hostile_captions_arrive_to_the_letter_and_bad_records_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = img2dataset(tmp_path / "wds", [*HOSTILE, *EMPTY])
    write_tar(
        folder / "99999.tar",
        {
            **{"a.png": jpeg(1), "a.txt": b"\xff\xfe broken"},
            **{"b.txt": b"no picture", "b.json": b"{}"},
            **{"c.jpg": jpeg(2), "c.json": b"{'no': json"},
            **{"d.jpg": jpeg(3)},
            **{"e.jpg": jpeg(4), "e.json": json.dumps({"caption": "in the json", "label": 3}).encode()},
            **{"f.jpg": jpeg(5), "f.txt": b"kept", "f.json": b"[1, 2]"},
            **{"g.mp4": b"a film", "g.txt": b"of a film"},
        },
    )
    source = WebDataset(str(folder), label="label")
    found = everything(source)
    assert [found[k].captions for k in sorted(found) if k.isdigit()] == [(text,) for text in HOSTILE]
    assert {key for key in found if not key.isdigit()} == {"e", "f"}
    assert (found["e"].captions, found["e"].class_name) == (("in the json",), "3")
    assert (found["f"].captions, found["f"].class_name) == (("kept",), None)
    assert source.skipped() == {
        "picture missing": 2,
        "picture whose txt or json cannot be read": 2,
        "picture without a caption": len(EMPTY) + 1,
        "caption empty": len(EMPTY) - 1,  # a txt of no bytes is no caption
    }
    (line,) = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert line.startswith(
        f"{folder}: {len(HOSTILE) + 2} of {len(HOSTILE) + 11} records are used; records left"
    )


def test_a_set_that_pcclip_wrote_keeps_all_that_is_known(tmp_path: Path) -> None:
    folder = img2dataset(tmp_path / "wds", list(HOSTILE))
    words = ["prepare", "--source", "pcclip.data.sources.webdataset.WebDataset", "--progress", "false"]
    words += ["--source.shards", str(folder), "--source.train", "1", "--source.validation", "0"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    made = in_shards(tmp_path / "out/pictures/train")
    assert made == everything(WebDataset(str(folder)))
    assert everything(WebDataset(str(tmp_path / "out/pictures/train"))) == made
    smoke = Path(__file__).parents[3] / "data_recipes" / "shapes"
    words = ["prepare", "--config", str(smoke / "demo.yaml"), "--config", str(smoke / "smoke.yaml")]
    assert main([*words, "--out", str(tmp_path / "shapes"), "--progress", "false"]) == 0
    shapes = in_shards(tmp_path / "shapes/pictures/test")
    assert everything(WebDataset(str(tmp_path / "shapes/pictures/test"))) == shapes
    one = next(iter(shapes.values()))
    assert len(one.captions) == 4
    assert one.class_name is not None
    assert one.attributes["kind"] in one.class_name


def test_the_same_keys_are_shared_out_the_same_in_any_order_of_shards(tmp_path: Path) -> None:
    folder = img2dataset(tmp_path / "wds", [str(n) for n in range(40)], per_shard=8)
    paths = [f"{folder}/0000{n}.tar" for n in range(5)]

    def keys(shards: list[str]) -> list[set[str]]:
        source = WebDataset(shards, train=0.5, validation=0.3)
        return [{p.key for p in source.texts(split)} for split in SPLITS]

    assert keys(paths) == keys(paths[::-1])
    assert all(keys(paths))


def test_wrong_shards_are_named_with_the_remedy(tmp_path: Path) -> None:
    folder = img2dataset(tmp_path / "wds", ["one", "two"])
    with pytest.raises(PcclipError, match=r"no shard matches .*nowhere/\*\.tar"):
        WebDataset(f"{tmp_path}/nowhere/*.tar").count("train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PcclipError, match=r"no shard matches"):
        WebDataset(str(tmp_path / "empty")).count("train")
    with pytest.raises(PcclipError, match="no shard has a picture 'x'"):
        WebDataset(str(folder)).image("x")
    whole = (folder / "00000.tar").read_bytes()
    (folder / "00001.tar").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PcclipError, match=r"00001\.tar: truncated or damaged tar"):
        WebDataset(str(folder)).count("train")
    write_tar(tmp_path / "texts/0.tar", {"a.txt": b"only text", "b.jpg": jpeg(0)})
    with pytest.raises(
        PcclipError, match=r"texts: 0 of 2 records are used; records left out: 1 \(missing\), 1"
    ):
        WebDataset(str(tmp_path / "texts")).count("train")
    # A set that pcclip was stopped in is no folder of foreign tars.
    (tmp_path / "texts/.pcclip-writing").touch()
    with pytest.raises(PcclipError, match="unfinished or foreign set"):
        WebDataset(str(tmp_path / "texts")).count("train")


def test_pictures_are_not_read_for_texts(tmp_path: Path) -> None:
    folder = img2dataset(tmp_path / "wds", ["one", "two", "three"])
    tar = folder / "00000.tar"
    data = tar.read_bytes()
    noise = io.BytesIO(data)
    for number in range(3):
        noise.seek(data.index(jpeg(number)))
        noise.write(bytes(len(jpeg(number))))
    tar.write_bytes(noise.getvalue())
    source = WebDataset(str(folder), train=1, validation=0)
    assert [p.caption for p in source.texts("train")] == ["one", "two", "three"]
    assert all(set(p.image) == {0} for p in source.pictures("train"))
