"""Question sheets: YAML files that ask about a set's attributes, and may say what its classes are like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcclip.evaluation.data_files import read_data_file
from pcclip.evaluation.questions import Fields, Question, check_questions, parse_question

SCHEMA = 1
SHEETS = Path(__file__).with_name("tables")
"""Sheets that come with the package; they are named without folder and ending."""


@dataclass(frozen=True)
class QuestionSheet:
    """What is asked about a set.

    A sheet is a mapping with `schema: 1`, `name`, `source` (where the facts come from) and `questions`, each
    as in evaluation.json. To say things once: `defaults` are fields of every question, `wordings` among them
    (not held out, unless they say so); `{more}` and `{less}` in `positive` and `negative` are filled in; and
    `values` may be a list beside `phrase`, which has `{value}` in it.

    Attributes:
        path: The file.
        name: Short; the set is then called SET-NAME.
        questions: All of them, those that are left out too.
        left_out: Attributes that are not asked about, though a table may have them.
        only_asked: A table may have any other attributes (`left_out: others`).
        classes: By attribute and value the names of classes.
        derived: By attribute and value the values of other attributes that make it.
    """

    path: Path
    name: str
    questions: tuple[Question, ...]
    left_out: tuple[str, ...]
    only_asked: bool
    classes: Mapping[str, Mapping[str, tuple[str, ...]]]
    derived: Mapping[str, Mapping[str, Mapping[str, Any]]]

    @property
    def asked(self) -> tuple[Question, ...]:
        """The questions that are not left out."""
        return tuple(one for one in self.questions if one.attribute not in self.left_out)

    @classmethod
    def load(cls, name: str, split: str) -> QuestionSheet:
        """Reads a file, or a sheet of the package.

        Args:
            name: Path of a YAML file, or the name of a packaged sheet, such as `awa2-attributes`.
            split: Wordings may be of one split only.

        Raises:
            PcclipError: It is missing or broken.
        """
        path = Path(name)
        if not path.suffix and not path.exists():
            path = SHEETS / f"{name}.yaml"
        fields = read_data_file(path, "question sheet", SHEETS, SCHEMA)
        defaults = fields.raw.get("defaults", {})
        questions = tuple(
            parse_question(_whole(entry, Fields(defaults, f"{path}: defaults").raw), split)
            for entry in fields.objects("questions")
        )
        check_questions(fields, questions)
        left_out = fields.raw.get("left_out", [])
        sheet = cls(
            path,
            fields.text("name"),
            questions,
            () if left_out == "others" else fields.texts("left_out", optional=True),
            left_out == "others",
            {
                attribute: {str(value): Fields({"classes": names}, where).texts("classes")
                            for value, names in values.items()}
                for attribute, values, where in _nested(fields, "classes")
            },
            {
                attribute: {str(value): Fields(when, where).raw for value, when in values.items()}
                for attribute, values, where in _nested(fields, "derived")
            },
        )  # fmt: skip
        fields.text("source")
        if not sheet.asked:
            raise fields.error("leaves every question out")
        return sheet


def _nested(fields: Fields, name: str) -> list[tuple[str, Mapping[str, Any], str]]:
    where = f"{fields.where}: {name}"
    outer = Fields(fields.raw.get(name, {}), where)
    return [
        (str(key), Fields(value, f"{where}: {key}").raw, f"{where}: {key}")
        for key, value in outer.raw.items()
    ]


def _whole(entry: Fields, defaults: Mapping[str, Any]) -> Fields:
    """A question with the defaults in it and everything filled in, as evaluation.json has it."""
    raw = {**defaults, **entry.raw}
    for side in ("positive", "negative"):
        if isinstance(raw.get(side), str):
            raw[side] = (
                raw[side].replace("{more}", str(raw.get("more"))).replace("{less}", str(raw.get("less")))
            )
    if isinstance(raw.get("values"), list):
        phrase = Fields(raw, entry.where).text("phrase")
        raw["values"] = {str(value): phrase.replace("{value}", str(value)) for value in raw["values"]}
    if isinstance(raw.get("wordings"), list):
        raw["wordings"] = [
            {"held_out": False, **one} if isinstance(one, dict) else one for one in raw["wordings"]
        ]
    return Fields(raw, entry.where)
