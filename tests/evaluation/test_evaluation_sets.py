from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from planted import COLOURS, evaluation_json, load_prepared, pictures, write

from pcclip.errors import PcclipError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path, pictures(60))


def test_a_set_holds_what_was_written(folder: Path):
    found = load_prepared(folder, "test")
    made = pictures(60)
    assert found.keys == tuple(picture.key for picture in made)
    assert [COLOURS[label] for label in found.labels] == [picture.class_name for picture in made]
    assert np.array_equal(found.image(55), Image.open(io.BytesIO(made[55].image)))
    assert found.image(3).size == (24, 20)
    size, names = found.values(found.questions[0])
    assert (size == [picture.attributes["size"] for picture in made]).all()
    assert names == ()
    colour, names = found.values(found.questions[1])
    assert [names[int(code)] for code in colour] == [picture.attributes["colour"] for picture in made]


def test_the_fingerprint_is_of_keys_and_pictures_in_order(tmp_path: Path):
    made = pictures(12)

    def fingerprint(name: str, of: list[Any]) -> str:
        return load_prepared(write(tmp_path / name, of), "test").fingerprint()

    same = fingerprint("a", made)
    assert fingerprint("b", made) == same
    assert fingerprint("c", [replace(made[0], image=made[1].image), *made[1:]]) != same
    assert fingerprint("d", [replace(made[0], key="other"), *made[1:]]) != same
    assert fingerprint("e", made[::-1]) != same


def test_pictures_without_the_attribute_have_no_value(tmp_path: Path):
    made = pictures(12)
    made[4] = replace(made[4], attributes={"colour": "red"})
    found = load_prepared(write(tmp_path, made), "test")
    assert np.flatnonzero(np.isnan(found.values(found.questions[0])[0])).tolist() == [4]


def edit(path: str, value: Any) -> Any:
    def change(raw: Any) -> None:
        *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
        for step in way:
            raw = raw[step]
        if value is None:
            del raw[last]
        else:
            raw[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edit("schema", 2), r"evaluation.json: has schema 2, this version reads 1"),
        (edit("name", None), r"lacks 'name'"),
        (edit("splits", {"validation": "x"}), r"has no split 'test'; its splits: validation"),
        (edit("splits.test", "pictures/absent"), r"pictures/absent"),
        (edit("classes", list(COLOURS[:-1])), r"'p0005' of split 'test' has the class 'white', which is not"),
        (edit("classes", [*COLOURS, "pink"]), r"7 'classes', but .* are of 6; without a picture: 'pink'"),
        (edit("classes", [*COLOURS, "red"]), r"'classes' holds 'red' more than once"),
        (edit("prompts.seen", []), r"'seen' is empty"),
        (edit("prompts.seen", ["no slot"]), r"prompt 'no slot' should have one \{\}"),
        (edit("prompts.held_out", ["{} {x}"]), r"prompt '\{\} \{x\}' should have one"),
        (edit("questions.0.kind", "rank"), r"questions\[0\]: 'kind' should be 'degree' or 'category'"),
        (edit("questions.0.more", None), r"questions\[0\]: lacks 'more'"),
        (edit("questions.0.margin", -1), r"questions\[0\]: 'margin' should be a number of at least 0"),
        (edit("questions.0.wordings.1.text", "a {first} one"), r"wordings\[1\]: the text .* has \{first\}"),
        (edit("questions.0.wordings.1.text", "a {more one"), r"wordings\[1\]: .* cannot be filled in"),
        (edit("questions.0.wordings.1.text", "a thing"), r"has no placeholder"),
        (edit("questions.0.wordings.1.id", "d1"), r"each with an id of its own"),
        (edit("questions.0.wordings.1.held_out", "no"), r"'held_out' should be true or false"),
        (edit("questions.1.wordings.0.id", "d3"), r"'d3' is held out for one attribute and seen for another"),
        (edit("questions.1.values", {"red": "a red thing"}), r"at least two values"),
        (edit("questions.1.attribute", "size"), r"two questions are about 'size'"),
        (edit("questions", {}), r"'questions' should be a list"),
    ],
)
def test_a_set_off_the_schema_is_refused(folder: Path, change: Any, message: str):
    raw = evaluation_json()
    change(raw)
    (folder / "evaluation.json").write_text(json.dumps(raw))
    with pytest.raises(PcclipError, match=message):
        load_prepared(folder, "test")


def test_empty_classes_may_be_allowed(folder: Path):
    raw = evaluation_json()
    raw["classes"].append("pink")
    (folder / "evaluation.json").write_text(json.dumps(raw))
    assert len(load_prepared(folder, "test", allow_empty_classes=True).classes) == 7


def test_absent_and_broken_files_are_named(tmp_path: Path):
    with pytest.raises(PcclipError, match=r"evaluation.json: cannot be read"):
        load_prepared(tmp_path / "evaluation.json", "test")
    (tmp_path / "evaluation.json").write_text("{")
    with pytest.raises(PcclipError, match=r"evaluation.json: is not JSON"):
        load_prepared(tmp_path, "test")


@pytest.mark.parametrize(
    ("attributes", "question", "message"),
    [
        ({"size": "big"}, 0, r"'p0003' of split 'test' has 'size' = 'big', which should be a number"),
        ({"size": 1, "colour": "pink"}, 1, r"'colour' = 'pink', which should be one of red, green"),
        ({"size": 1, "colour": 2}, 1, r"'colour' = 2, which should be one of red"),
    ],
)
def test_values_off_the_question_are_refused(tmp_path: Path, attributes: Any, question: int, message: str):
    made = pictures(12)
    made[3] = replace(made[3], attributes=attributes)
    found = load_prepared(write(tmp_path, made), "test")
    with pytest.raises(PcclipError, match=message):
        found.values(found.questions[question])
