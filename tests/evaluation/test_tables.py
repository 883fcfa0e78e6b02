"""Sets that are asked by a sheet and a table."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from class_set import Classes, by_class
from planted import pictures, subject, write
from torch import Tensor

from pcclip.cli import main
from pcclip.errors import PcclipError
from pcclip.evaluation.measured import Measured
from pcclip.evaluation.protocols.difference import DifferenceClassification
from pcclip.evaluation.sources.asked import Asked
from pcclip.model.checkpoint import save_folder
from pcclip.model.towers import load_towers

ANIMALS = ["red fox", "Grizzly_bear", "003.Blue+Whale", "mouse"]
CSV = "class,attribute,value\nred fox,tail,1\nmouse,tail,0\nmouse,hue,red\nred fox,hue,blue\n"


class Chance:
    def encode_images(self, pixels: Tensor) -> Tensor:
        raise AssertionError("image embeddings are given")

    def encode_texts(self, texts: list[str]) -> Tensor:
        return torch.tensor([[len(text), 1.0, text.count("red"), 0] for text in texts])


def sheet(**changes: Any) -> dict[str, Any]:
    return {
        "schema": 1,
        "name": "looks",
        "source": "made up for a test",
        "defaults": {
            "positive": "a thing that {more}",
            "negative": "a thing that {less}",
            "wordings": [{"id": "w1", "text": "one {more}, two {less}"}],
        },
        "questions": [
            {"attribute": "tail", "kind": "degree", "more": "has a tail", "less": "has no tail"},
            {
                "attribute": "hue",
                "kind": "category",
                "values": ["red", "blue"],
                "phrase": "a {value} thing",
                "wordings": [{"id": "w2", "text": "a {first} one, no {second} one", "held_out": True}],
            },
        ],
        **changes,
    }


def asked(folder: Path, table: str | pd.DataFrame | None, of: Classes | None = None, **changes: Any):
    path = folder / "looks.yaml"
    path.write_text(yaml.safe_dump(sheet(**changes)))
    file = None
    if isinstance(table, pd.DataFrame):
        file = folder / "table.parquet"
        table.to_parquet(file)
    elif table is not None:
        file = folder / "table.csv"
        file.write_text(table)
    return Asked(of or Classes(ANIMALS), str(path), None if file is None else str(file))


def test_a_table_of_classes_is_joined_by_name_whatever_its_order_and_spelling(tmp_path: Path, caplog):
    table = "attribute,class,value\nhue,mouse,blue\ntail,RED FOX,1\nhue,red-fox,red\ntail,mouse,0.5\n"
    table += "tail,blue whale,1.0\nhue,grizzly bear,\n"
    with caplog.at_level(logging.INFO):
        data = asked(tmp_path, table).load("test")
    assert data.name == "some-looks"
    assert by_class(data, "tail") == dict(zip(ANIMALS, (1.0, None, 1.0, 0.5), strict=True))
    assert by_class(data, "hue") == dict(zip(ANIMALS, ("red", None, None, "blue"), strict=True))
    assert "4 of 8 pictures have 'hue'" in caplog.text
    tail, hue = data.questions
    assert tail.phrases == {"positive": "a thing that has a tail", "negative": "a thing that has no tail"}
    assert tail.statement(tail.wordings[0], "negative", "positive") == "one has no tail, two has a tail"
    assert hue.phrases == {"red": "a red thing", "blue": "a blue thing"}
    assert (tail.wordings[0].held_out, hue.wordings[0].held_out) == (False, True)
    assert data.prompts == ("a photo of a {}",)


def test_a_table_of_pictures_is_joined_by_key_and_split(tmp_path: Path):
    frame = pd.DataFrame(
        {
            "key": ["0007-test", "0001-test", "0002-validation", "0007-test", "0000-test"],
            "attribute": ["tail", "tail", "tail", "hue", "hue"],
            "value": ["0", "1", "1", "red", "blue"],
            "split": ["test", "test", "validation", "test", "test"],
        }
    )
    data = asked(tmp_path, frame).load("test")
    assert [one.get("tail") for one in data.attributes] == [None, 1, None, None, None, None, None, 0]
    assert data.attributes[7]["hue"] == "red"
    with pytest.raises(PcclipError, match=r"asks about 'hue', which no picture of some-set \(split 'val"):
        asked(tmp_path, frame).load("validation")
    truth = pd.DataFrame({"key": ["0000-test", "0001-test"], "attribute": "tail", "value": [True, False]})
    data = asked(tmp_path, truth, questions=sheet()["questions"][:1]).load("test")
    assert [one.get("tail") for one in data.attributes[:3]] == [1, 0, None]


def test_what_a_table_leaves_out_is_counted_in_the_results(tmp_path: Path):
    data = asked(tmp_path, CSV).load("test")
    rng = np.random.default_rng(0)
    features = rng.normal(size=(8, 4)).astype(np.float32)
    results = DifferenceClassification(pairs="all").run(subject(Chance(), data, features))
    assert results.notes["difference/some-looks"]["attributes"]["tail"] == {
        "pictures": 4,
        "pictures_without": 4,
        "pairs_that_qualify": 4,
    }


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            CSV + "rad fox,tail,1\n",
            r"table.csv: row 6: some-set has no class 'rad fox'; does it mean 'red f",
        ),
        (CSV.replace("class", "key"), r"row 2: some-set has no key 'red fox'; Correct the key.* 'split'"),
        (CSV + "mouse,tial,1\n", r"table.csv: row 6: .*looks.yaml does not ask about the attribute 'tial'"),
        (CSV + "mouse,tail,long\n", r"row 6: 'mouse' has 'tail' = 'long', which should be a number"),
        (CSV + "Mouse,hue,green\n", r"row 6: 'Mouse' has 'hue' = 'green', which should be one of red, blue"),
        (CSV + "Mouse,hue,blue\n", r"row 6: 'Mouse' has 'hue' = 'blue', but 'red' was said before"),
        (CSV.replace(",hue,", ",tail,"), r"row 4: 'mouse' has 'tail' = 'red', which should be a number"),
        ("class,value\nmouse,1\n", r"has the columns class, value. A table has the columns 'attribute'"),
        ("class,key,attribute,value\n", r"one of 'class' or 'key'"),
        (CSV[:41], r"asks about 'hue', which no picture .* Give a 'table' that says it"),
        ('class,attribute,value\n"red', r"table.csv: cannot be read as a table"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path: Path, table: str, message: str):
    with pytest.raises(PcclipError, match=message):
        asked(tmp_path, table).load("test")


def test_the_set_may_say_things_itself_but_not_otherwise(tmp_path: Path):
    own = Classes(ANIMALS, attributes=[{"tail": 1.0, "hue": "red", "weight": 3}] * 8)
    data = asked(tmp_path, None, own).load("test")
    assert data.attributes[3] == {"tail": 1.0, "hue": "red", "weight": 3}
    with pytest.raises(PcclipError, match=r"picture '0000-test' has 'hue' = 'red', but .* says 'blue'"):
        asked(tmp_path, CSV, own).load("test")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "has schema 2, this version reads 1"),
        ({"source": ""}, "'source' should be a text that is not empty"),
        ({"left_out": ["tail", "hue"]}, "leaves every question out"),
        ({"classes": {"tail": {1: ["mouse", "cat"]}}}, r"looks.yaml: classes: tail: 1: .* no class 'cat'"),
        ({"classes": {"tail": ["mouse"]}}, r"classes: tail: should be an object"),
        ({"questions": [{"attribute": "x", "kind": "degree"}]}, r"questions\[0\]: lacks"),
        ({"questions": sheet()["questions"] * 2}, "two questions are about 'tail'"),
    ],
)
def test_a_sheet_off_the_schema_is_refused(tmp_path: Path, changes: dict[str, Any], message: str):
    with pytest.raises(PcclipError, match=message):
        asked(tmp_path, CSV, **changes).load("test")


def test_absent_sheets_and_tables_are_named(tmp_path: Path):
    with pytest.raises(PcclipError, match=r"cifar100-sise.yaml: cannot be read .*pcclip has: cifar100-size"):
        Asked(Classes(ANIMALS), "cifar100-sise").load("test")
    asked(tmp_path, None)
    with pytest.raises(PcclipError, match=r"absent.csv: cannot be read as a table"):
        Asked(Classes(ANIMALS), str(tmp_path / "looks.yaml"), str(tmp_path / "absent.csv")).load("test")
    with pytest.raises(PcclipError, match=r"'red fox' and 'Red-Fox' cannot be told apart by name"):
        asked(tmp_path, CSV, Classes(["red fox", "Red-Fox"])).load("test")


def test_derived_attributes_follow_from_others(tmp_path: Path):
    derived = {"hue": {"red": {"a": 1, "b": 0}, "blue": {"b": 1, "a": 0}}}
    table = CSV[: CSV.index("mouse,hue")] + "".join(
        f"{name},{letter},{value}\n"
        for name, of in {"mouse": "10", "red fox": "01", "blue whale": "11"}.items()
        for letter, value in zip("ab", of, strict=True)
    )
    data = asked(tmp_path, table, derived=derived).load("test")
    assert by_class(data, "hue") == dict(zip(ANIMALS, ("blue", None, None, "red"), strict=True))


def test_the_command_line_asks_any_set(tmp_path: Path):
    torch.manual_seed(0)
    save_folder(load_towers("pcclip-tiny", random_init=True), tmp_path / "model")
    write(tmp_path / "data", pictures(24))
    looks = sheet(classes={"tail": {1: ["RED", "green"], 0: ["blue"]}}, questions=sheet()["questions"][:1])
    (tmp_path / "looks.yaml").write_text(yaml.safe_dump(looks))
    (tmp_path / "table.csv").write_text("class,attribute,value\nyellow,tail,0.5\n")
    texts = "image1,image2,text\np0000,p0001,one is red\np0003,p0001,one is not green\n"
    (tmp_path / "texts.csv").write_text(texts)
    protocols = "pcclip.evaluation.protocols.difference"
    prepared = {"class_path": "pcclip.evaluation.sources.prepared.Prepared",
                "init_args": {"path": str(tmp_path / "data")}}  # fmt: skip
    source = {
        "class_path": "pcclip.evaluation.sources.asked.Asked",
        "init_args": {
            "source": prepared,
            "questions": str(tmp_path / "looks.yaml"),
            "table": str(tmp_path / "table.csv"),
        },
    }
    config = {
        "suite": "s",
        "cache_dir": None,
        "device": "cpu",
        "out": str(tmp_path / "out"),
        "models": [{"name": f"local-dir:{tmp_path / 'model'}", "label": "tiny"}],
        "evaluations": [
            {
                "data": source,
                "protocols": [
                    {"class_path": f"{protocols}.DifferenceClassification", "init_args": {"pairs": "all"}},
                    {"class_path": f"{protocols}.PublishedDifference", "init_args": {"pictures": 10}},
                    {"class_path": f"{protocols}_texts.DifferenceTexts",
                     "init_args": {"texts": str(tmp_path / "texts.csv")}},
                ],
            },
            {
                "data": {
                    "class_path": "pcclip.evaluation.sources.published.PublishedMistakes",
                    "init_args": {**source["init_args"], "mistakes": ["size_inverted"]},
                },
                "protocols": [
                    {"class_path": f"{protocols}.DifferenceClassification", "init_args": {"pairs": "all"}}
                ],
            },
        ],
    }  # fmt: skip
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["evaluate", "--config", str(tmp_path / "config.yaml")]) == 0
    measured = Measured.load(tmp_path / "out" / "s" / "tiny" / "base")
    values = measured.values_by_name()
    right = values["difference/planted-looks-tail/absolute"]
    assert 0 < right < 1
    assert "difference_published/planted-looks-mean/sign" in values
    assert "difference_texts/planted-looks/sign" in values
    assert values["difference/planted-looks-published-mean/absolute"] != right
    counts = measured["planted-looks"].notes["difference/planted-looks"]["attributes"]["tail"]
    assert counts == {"pictures": 16, "pictures_without": 8, "pairs_that_qualify": 8 * 4 + 8 * 4 + 4 * 4}
