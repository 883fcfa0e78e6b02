import csv
import json
from pathlib import Path

import pandas as pd
import pytest
from source_making import EMPTY, HOSTILE, everything, in_shards, jpeg

from pcclip.cli import main
from pcclip.data.sources.base import SPLITS
from pcclip.data.sources.table import Table
from pcclip.errors import PcclipError


def pictures(root: Path, *names: str) -> str:
    for number, name in enumerate(names):
        (root / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "pictures" / name).write_bytes(jpeg(number))
    return str(root / "pictures")


def write(file: Path, columns: dict[str, list], separator: str = ",") -> str:
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened, delimiter=separator)
        writer.writerows([list(columns), *zip(*columns.values(), strict=True)])
    return str(file)


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_hostile_captions_arrive_to_the_letter_from_every_kind_of_table(tmp_path: Path, kind: str) -> None:
    names = [f"{n}.jpg" for n in range(len(HOSTILE))]
    columns = {"file": [*names, "e.jpg"], "caption": [*HOSTILE, EMPTY[1]], "more": [*names, EMPTY[3]]}
    file = tmp_path / f"table.{kind}"
    if kind == "parquet":
        pytest.importorskip("pyarrow", reason="parquet needs pyarrow")
        pd.DataFrame(columns).to_parquet(file)
    else:
        write(file, columns, "," if kind == "csv" else "\t")
    folder = pictures(tmp_path, *columns["file"])
    source = Table(str(file), folder, caption_columns=["caption", "more"])
    found = everything(source)
    assert [found[str(n)].captions for n in range(len(HOSTILE))] == [
        (text, name) for text, name in zip(HOSTILE, names, strict=True)
    ]
    assert source.skipped() == {"picture without a caption": 1, "caption empty": 2}
    words = ["prepare", "--source", "pcclip.data.sources.table.Table", "--source.table", str(file)]
    words += ["--source.images", folder, "--source.caption_columns", '["caption", "more"]']
    assert main([*words, "--out", str(tmp_path / "out"), "--progress", "false"]) == 0
    made = {k: p for part in (tmp_path / "out/pictures").iterdir() for k, p in in_shards(part).items()}
    assert made == found


def test_rows_of_one_picture_are_one_picture_with_all_their_captions(tmp_path: Path) -> None:
    columns = {
        "image": ["a/1.jpg", "b/1", "a/1.jpg", "b/1", "gone.png", ""],
        "text": ["one", "two", "three", "None", "five", "six"],
        "kind": ["cat", "", "cat", "", "dog", "dog"],
        "size": ["1.5", "", "1.5", "", "3", "3"],
        "mood": ["7", "NA", "7", "NA", "x", "x"],
        "part": ["train", "VAL", "train", "VAL", "test", "test"],
    }
    folder = pictures(tmp_path, "a/1.jpg", "b/1.webp")
    source = Table(
        write(tmp_path / "t.txt", columns, "|"),
        folder,
        file_column="image",
        caption_columns=["text"],
        label_column="kind",
        attribute_columns=["size", "mood"],
        split_column="part",
        separator="|",
        name="pets",
        licence="mine",
    )
    found = everything(source)
    assert list(found) == ["a/1", "b/1"]
    assert found["a/1"].captions == ("one", "three")
    assert found["b/1"].captions == ("two", "None")
    assert (found["a/1"].class_name, found["b/1"].class_name) == ("cat", None)
    assert (found["a/1"].attributes, found["b/1"].attributes) == ({"size": 1.5, "mood": "7"}, {"mood": "NA"})
    assert [source.count(split) for split in SPLITS] == [1, 1, 0]
    assert found["b/1"].extension == "webp"
    assert source.skipped() == {"picture file missing": 1, "picture without a file name": 1}
    assert (source.name, source.licence) == ("pets", "mine")


def test_a_parquet_cell_may_hold_several_captions(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="parquet needs pyarrow")
    frame = pd.DataFrame(
        {
            "file": ["1.jpg", "2.jpg"],
            "caption": [["one", "another"], None],
            "alt": ["x", "y"],
            "size": [1, None],
        }
    )
    frame.to_parquet(tmp_path / "t.parquet")
    folder = pictures(tmp_path, "1.jpg", "2.jpg")
    source = Table(
        str(tmp_path / "t.parquet"), folder, caption_columns=["caption", "alt"], attribute_columns=["size"]
    )
    found = everything(source)
    assert found["1"].captions == ("one", "another", "x")
    assert found["2"].captions == ("y",)
    assert (found["1"].attributes, found["2"].attributes) == ({"size": 1.0}, {})


def test_shares_by_seed(tmp_path: Path) -> None:
    columns = {"file": [f"{n}.jpg" for n in range(2000)], "caption": [f"number {n}" for n in range(2000)]}
    table = write(tmp_path / "t.csv", columns)

    def keys(**settings: float) -> list[set[str]]:
        source = Table(table, with_images=False, **settings)  # type: ignore[arg-type]
        return [{p.key for p in source.texts(split)} for split in SPLITS]

    first = keys(train=0.5, validation=0.2)
    assert [len(part) for part in first] == [
        pytest.approx(expected, abs=3 * expected**0.5) for expected in (1000, 400, 600)
    ]
    assert sum(map(len, first)) == len(set.union(*first)) == 2000
    assert keys(train=0.5, validation=0.2) == first
    assert keys(train=0.5, validation=0.2, seed=1) != first
    assert keys(train=0.7, validation=0.3)[2] == set()
    assert keys(train=0.6, validation=0.4)[0] > first[0]


def test_wrong_tables_are_named_with_the_remedy(tmp_path: Path) -> None:
    folder = pictures(tmp_path, "1.jpg", "2.jpg")
    good = {"file": ["1.jpg", "2.jpg"], "caption": ["one", "two"], "part": ["train", "holdout"]}

    def refuse(message: str, name: str = "t.csv", columns: dict | None = None, **settings: object) -> None:
        if columns is not None:
            write(tmp_path / name, columns)
        with pytest.raises(PcclipError, match=message):
            Table(str(tmp_path / name), folder, **settings).count("train")  # type: ignore[arg-type]

    refuse(r"none\.csv: there is no such file. Give 'table'", "none.csv")
    refuse(
        r"t\.csv: has no column 'caption' \('caption_columns'\). Its columns are 'file', 'text'",
        columns={"file": ["1.jpg"], "text": ["one"]},
    )
    refuse(r"has no column 'label' \('label_column'\)", columns=good, label_column="label")
    refuse(r"t\.csv: row 2 has 'holdout' in the column 'part'. Splits are", split_column="part")
    refuse("'caption_columns' is empty", caption_columns=[])
    twice = {"file": ["1.jpg", "1.jpg"], "caption": ["one", "two"], "kind": ["cat", "dog"]}
    refuse(r"t\.csv: row 2 says .*'dog'.* but row 1 .*'cat'", columns=twice, label_column="kind")
    refuse(
        r"row 2: .*pictures/1 has the key '1', and so has .*pictures/1\.jpg",
        columns={"file": ["1.jpg", "1"], "caption": ["one", "two"]},
        with_images=False,
    )
    refuse("outside of the folder", columns={"file": ["../1.jpg"], "caption": ["one"]})
    refuse("row 1: '/1.jpg' is a whole path", columns={"file": ["/1.jpg"], "caption": ["one"]})
    (tmp_path / "t.xlsx").write_bytes(b"PK\x03\x04")
    refuse(r"t\.xlsx: cannot be read as a table \(the ending '.xlsx' is not known\)", "t.xlsx")
    (tmp_path / "latin.csv").write_bytes("file,caption\n1.jpg,schön\n".encode("latin-1"))
    refuse(r"latin\.csv: is no text in UTF-8", "latin.csv")
    (tmp_path / "long.csv").write_text("file,caption\n1.jpg,one\n2.jpg,two,three\n")
    refuse(r"long\.csv: cannot be read as a table .*line 3, saw 3.*quotes", "long.csv")
    (tmp_path / "short.csv").write_text("file,caption,kind\n1.jpg,one,cat\n2.jpg\n")
    source = Table(str(tmp_path / "short.csv"), folder, label_column="kind")
    assert set(everything(source)) == {"1"}
    assert source.skipped() == {"caption empty": 1, "picture without a caption": 1}
    (tmp_path / "empty.csv").write_text("")
    refuse(r"empty\.csv: cannot be read as a table \(No columns", "empty.csv")
    (tmp_path / "heads.csv").write_text("file,caption\n")
    refuse(r"heads\.csv: 0 of 0 pictures are used", "heads.csv")


def test_differences_need_a_source_with_attributes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write(tmp_path / "t.csv", {"file": ["1.jpg"], "caption": ["one"]})
    words = ["prepare", "--source", "pcclip.data.sources.table.Table", "--source.table", table]
    words += ["--source.images", pictures(tmp_path, "1.jpg"), "--out", str(tmp_path / "out")]
    plan = {"pictures": 2, "pairs": 1}
    assert main([*words, "--differences", json.dumps({"train": plan, "validation": plan})]) == 1
    assert "table: has no attributes to write differences from" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
