"""Any set, asked other questions: from a sheet, with attributes from a table."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pcclip.errors import PcclipError
from pcclip.evaluation.questions import Question
from pcclip.evaluation.sets import EvaluationSet, SetSource
from pcclip.evaluation.sources.attribute_tables import AttributeTable, Cell, Names
from pcclip.evaluation.sources.sheets import QuestionSheet

_log = logging.getLogger(__name__)

Values = dict[str, dict[str, Any]]
"""By class or key: what it is like, by attribute."""


@dataclass
class Asked(SetSource):
    """A set with the questions of a sheet; its name is SET-SHEET. The set's own questions are not asked.

    What pictures are like is said by the set itself, by the sheet (classes by name) or by a table of classes
    or pictures. Everything is joined by class name or picture key, never by number; a name that the set lacks
    is an error, except in the lists of a release, which may speak of more classes than the set has. Classes
    and pictures that are not named have no such attribute: they are logged here, and counted in the notes of
    difference-based classification.

    Args:
        source: the set.
        questions: a question sheet (YAML), or the name of one that pcclip has, such as `cifar100-size`.
        table: attributes of classes or pictures: .csv, .tsv, .parquet, or the folder of AwA2 or CUB.
    """

    source: SetSource
    questions: str
    table: str | None = None

    def load(self, split: str) -> EvaluationSet:
        """Reads the split, the sheet and the table.

        Raises:
            PcclipError: One cannot be read, names what is not there, contradicts another or itself, or no
                picture of the split has an attribute that is asked about.
        """
        data = self._data(split)
        sheet = self._sheet(split, data.classes)
        classes: Values = {}
        pictures: Values = {}
        names = Names(data.classes, data.path, "class")
        _join(classes, _said_by(sheet), names, sheet)
        if self.table is not None:
            table = AttributeTable.load(self.table, split)
            _check_attributes(table, sheet)
            if table.per == "key":
                _join(pictures, table, Names(data.keys, data.path, "key"), sheet)
            else:
                _join(classes, table, names, sheet)
                classes = self._rows(classes)
        for of in (*classes.values(), *pictures.values()):
            _derive(of, sheet)
        attributes = _of_pictures(data, sheet, classes, pictures)
        _count(data, sheet, attributes)
        return replace(
            data, name=f"{data.name}-{sheet.name}", questions=sheet.asked, attributes=tuple(attributes)
        )

    def _data(self, split: str) -> EvaluationSet:
        return self.source.load(split)

    def _sheet(self, split: str, classes: Sequence[str]) -> QuestionSheet:
        return QuestionSheet.load(self.questions, split)

    def _rows(self, classes: Values) -> Values:
        return classes


def _said_by(sheet: QuestionSheet) -> AttributeTable:
    """What the sheet itself says of classes."""
    cells = [
        Cell(name, attribute, value, f"classes: {attribute}: {value}")
        for attribute, values in sheet.classes.items()
        for value, names in values.items()
        for name in names
    ]
    return AttributeTable(sheet.path, "class", tuple(cells))


def _check_attributes(table: AttributeTable, sheet: QuestionSheet) -> None:
    known = {one.attribute for one in sheet.questions} | {*sheet.left_out, *_inputs(sheet)}
    for cell in table.cells:
        if cell.attribute not in known and not sheet.only_asked:
            raise PcclipError(
                f"{table.path}: {cell.where}: {sheet.path} does not ask about the attribute "
                f"{cell.attribute!r}. Correct its name, or list it under 'left_out' there (`left_out: "
                "others` for all that it does not ask about)."
            )


def _inputs(sheet: QuestionSheet) -> set[str]:
    """Attributes that others are derived from."""
    return {name for values in sheet.derived.values() for when in values.values() for name in when}


def _join(into: Values, table: AttributeTable, names: Names, sheet: QuestionSheet) -> None:
    """Adds what a table says of the attributes that are asked about, or that others follow from."""
    asked = {one.attribute: one for one in sheet.asked}
    inputs = _inputs(sheet)
    unknown = set()
    for cell in table.cells:
        name = names.get(cell.of)
        if name is None:
            if table.strict:
                raise names.error(cell.of, table.path, cell.where)
            unknown.add(cell.of)
        if cell.attribute not in asked and cell.attribute not in inputs:
            continue
        value = _value(cell, table.path, asked[cell.attribute]) if cell.attribute in asked else cell.value
        if into.setdefault(name or cell.of, {}).setdefault(cell.attribute, value) != value:
            raise PcclipError(
                f"{table.path}: {cell.where}: {cell.of!r} has {cell.attribute!r} = {value!r}, but "
                f"{into[name or cell.of][cell.attribute]!r} was said before. Keep one."
            )
    if unknown:
        _log.info("%s: speaks of %d classes that the set does not have", table.path, len(unknown))


def _value(cell: Cell, path: Path, question: Question) -> Any:
    """The value as a question takes it: a number of a degree, a text of a category."""
    if question.kind == "category":
        if (text := str(cell.value)) in question.phrases:
            return text
        wanted = f"one of {', '.join(question.phrases)}"
    else:
        try:
            return float(cell.value)
        except (TypeError, ValueError):
            wanted = "a number (1 and 0 for yes and no)"
    raise PcclipError(
        f"{path}: {cell.where}: {cell.of!r} has {cell.attribute!r} = {cell.value!r}, which should be "
        f"{wanted}. Correct it, or the question's 'values'."
    )


def _derive(of: dict[str, Any], sheet: QuestionSheet) -> None:
    """Adds the attributes that follow from others; where no value's conditions hold there is none."""
    questions = {one.attribute: one for one in sheet.asked}
    for attribute, values in sheet.derived.items():
        for value, when in values.items():
            if attribute in questions and all(_same(of.get(name), wanted) for name, wanted in when.items()):
                cell = Cell("derived", attribute, value, f"derived: {attribute}")
                of[attribute] = _value(cell, sheet.path, questions[attribute])


def _same(value: Any, wanted: Any) -> bool:
    try:
        return float(value) == float(wanted)
    except (TypeError, ValueError):
        return str(value) == str(wanted)


def _of_pictures(
    data: EvaluationSet, sheet: QuestionSheet, classes: Values, pictures: Values
) -> list[dict[str, Any]]:
    """What each picture is like; of what sheet and table say, that which is asked about."""
    asked = {one.attribute for one in sheet.asked}
    out = []
    for index, key in enumerate(data.keys):
        own: dict[str, Any] = dict(data.attributes[index]) if data.attributes else {}
        of_class = classes.get(data.classes[data.labels[index]], {}) if data.classes else {}
        for attribute, value in (*of_class.items(), *pictures.get(key, {}).items()):
            if attribute in asked and own.setdefault(attribute, value) != value:
                raise PcclipError(
                    f"{data.path}: picture {key!r} has {attribute!r} = {own[attribute]!r}, but "
                    f"{sheet.path} or its table says {value!r}. Rename one of the attributes."
                )
        out.append(own)
    return out


def _count(data: EvaluationSet, sheet: QuestionSheet, attributes: Sequence[Mapping[str, Any]]) -> None:
    for one in sheet.asked:
        count = sum(one.attribute in of for of in attributes)
        if not count:
            raise PcclipError(
                f"{sheet.path}: asks about {one.attribute!r}, which no picture of {data.path} (split "
                f"{data.split!r}) has. Give a 'table' that says it, or leave the question out."
            )
        if count < len(data):
            _log.info(
                "%s-%s: %d of %d pictures have '%s'; the others take no part in its pairs",
                data.evaluated, sheet.name, count, len(data), one.attribute,
            )  # fmt: skip
