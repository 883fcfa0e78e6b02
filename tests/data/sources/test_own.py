"""Your own pictures by a table: splits, differences by rules, questions and classes."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
import yaml
from source_making import in_shards, jpeg

from pcclip.cli import main
from pcclip.data.records import Triple
from pcclip.data.shards import ShardIndex, resolve_shards

RECIPE = "data_recipes/your_own/pictures.yaml"
WORDS = {"light": {"more": "brighter", "less": "darker", "much": "a bright photo", "little": "a dark photo"}}
PAIRS = {"train": {"pictures": 0, "pairs": 60}, "validation": {"pictures": 0, "pairs": 3}}


def table(folder: Path, count: int = 40, **columns: list) -> Path:
    (folder / "photos").mkdir()
    for number in range(count):
        (folder / "photos" / f"{number}.jpg").write_bytes(jpeg(number))
    names = [f"{number}.jpg" for number in range(count)]
    frame = {"file": names, "caption": [f"a photo of thing {n}" for n in range(count)], **columns}
    pd.DataFrame(frame).to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"


def prepare(folder: Path, **settings: object) -> int:
    differences = settings.pop("differences", None)
    overlay = {"source": {"class_path": "pcclip.data.sources.own.OwnPictures", "init_args": settings}}
    (folder / "overlay.yaml").write_text(yaml.safe_dump(overlay | {"differences": differences}))
    words = ["--config", RECIPE, "--config", str(folder / "overlay.yaml")]
    place = ["--source.table", str(folder / "table.csv"), "--source.images", str(folder / "photos")]
    return main(["prepare", *words, *place, "--out", str(folder / "out"), "--progress", "false"])


def test_numbers_with_words_become_differences_that_are_true_and_a_question(tmp_path: Path) -> None:
    lights = [None if n == 3 else (n * 7) % 40 for n in range(40)]
    table(tmp_path, light=lights)
    assert prepare(tmp_path, degrees=WORDS, differences=PAIRS) == 0
    pictures = {k: p for part in (tmp_path / "out/pictures").iterdir() for k, p in in_shards(part).items()}
    assert all(("light" in picture.attributes) == (key != "3") for key, picture in pictures.items())
    checked = 0
    for path in resolve_shards(str(tmp_path / "out/triples/train")):
        index = ShardIndex.load(path)
        for at, key in enumerate(index.keys):
            triple = Triple.parse(key, index.read(at, "json"), index.path)
            one, two = (lights[int(name)] for name in (triple.image1, triple.image2))
            assert one is not None
            assert two is not None
            assert abs(one - two) > 4  # half a standard deviation
            text = triple.difference
            if text in ("brighter", "darker"):
                assert (text == "brighter") == (one > two)
                checked += 1
    assert checked
    asked = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert (asked["classes"], [q["attribute"] for q in asked["questions"]]) == ([], ["light"])
    assert asked["questions"][0]["positive"] == "a bright photo"


def test_classes_and_kinds(tmp_path: Path) -> None:
    kinds = ["sun" if n % 2 else "rain" for n in range(40)]
    table(tmp_path, what=["cat" if n % 3 else "dog" for n in range(40)], weather=kinds)
    settings = {"label_column": "what", "kinds": {"weather": "a photo taken in {w}"}}
    assert prepare(tmp_path, **settings, differences=PAIRS) == 0
    asked = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert asked["classes"] == ["cat", "dog"]
    assert asked["prompts"]["seen"] == ["a photo of a {}", "a picture of a {}"]
    assert [(q["attribute"], q["kind"]) for q in asked["questions"]] == [("weather", "category")]


@pytest.mark.parametrize(
    ("columns", "settings", "told"),
    [
        ({"light": ["x"] * 40}, {"degrees": WORDS}, "the column 'light' holds 'x'"),
        ({"light": [1] * 40}, {"degrees": WORDS, "kinds": {"light": "{w}"}}, r"\['light'\] have words as"),
        ({"part": ["train"] * 40}, {"split_column": "part"}, "has no validation pictures"),
        ({"what": ["", *["cat"] * 39]}, {"label_column": "what"}, "has nothing in the column 'what'"),
        ({}, {"degrees": WORDS}, "has no column 'light'"),
    ],
)
def test_what_cannot_be_used_is_told_with_the_remedy(
    tmp_path: Path, columns: dict, settings: dict, told: str, capsys
) -> None:
    table(tmp_path, **columns)
    assert prepare(tmp_path, **settings) == 1
    assert re.search(told, capsys.readouterr().err)
