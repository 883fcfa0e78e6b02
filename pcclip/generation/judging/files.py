"""The CSV files: those that go out and those that people bring back."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pcclip.data.files import write_atomically
from pcclip.errors import PcclipError
from pcclip.generation.captions import JOINERS
from pcclip.generation.judging.criteria import CRITERIA, NAMES, Rating

RATED = [*NAMES, "objects", "note"]
"""The columns that a person fills."""

SHEET = ["number", "id", "key", "image1", "image2", "text", *RATED]
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True)
class Sheet:
    """One rater's CSV.

    Args:
        rater: The file's name without its ending.
        ratings: By the text's id; texts without any value are left out.
        texts: Key and text by id, as the file shows them.
        unrated: Rows without any value.
        partly: Rows with some values, not all.
    """

    rater: str
    ratings: dict[str, Rating] = field(default_factory=dict)
    texts: dict[str, tuple[str, str]] = field(default_factory=dict)
    unrated: int = 0
    partly: int = 0


def visible(text: str) -> str:
    """The text with spaces in place of line breaks, control characters and lone surrogates."""
    return (
        text if text.isprintable() else "".join(c if c.isprintable() or c in JOINERS else " " for c in text)
    )


def safe_cell(value: object) -> str:
    """A cell that no spreadsheet takes for a formula: an apostrophe goes before `=`, `+`, `-` and `@`.

    It stays one line.
    """
    text = visible(str(value))
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Writes a table that spreadsheets open as UTF-8."""
    write_atomically(path, csv_bytes(columns, rows))


def csv_bytes(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> bytes:
    """The bytes of a table: UTF-8 with a byte-order mark, without which Excel reads another encoding."""
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(columns)
    table.writerows([safe_cell(row.get(name, "")) for name in columns] for row in rows)
    return b"\xef\xbb\xbf" + text.getvalue().encode("utf-8", "replace")


def read_sheet(path: Path) -> Sheet:
    """Reads a CSV that a person has filled, or that the page has exported.

    Separators may be commas, semicolons or tabs, as spreadsheets of several countries write them.

    Raises:
        PcclipError: The file or a line of it cannot be understood; the message names the line and the remedy.
    """
    sheet = Sheet(path.stem)
    unrated = partly = 0
    for line, row in read_rows(path, ["id", *RATED]):
        where = f"{path}: line {line}"
        identity = row["id"].strip()
        if not identity:
            raise PcclipError(f"{where}: its 'id' is empty. Take the row again from rate.csv, or delete it.")
        if identity in sheet.texts:
            raise PcclipError(f"{where}: the text {identity} stands in an earlier line too. Delete one.")
        sheet.texts[identity] = (row.get("key", ""), row.get("text", ""))
        rating = read_rating(row, where)
        if not rating.values:
            unrated += 1
            continue
        partly += len(rating.values) < len(CRITERIA)
        sheet.ratings[identity] = rating
    return Sheet(sheet.rater, sheet.ratings, sheet.texts, unrated, partly)


def read_rating(row: Mapping[str, str], where: str) -> Rating:
    """The values of a row; empty cells are left out.

    Raises:
        PcclipError: A cell holds none of its criterion's values.
    """
    values = {}
    for criterion in CRITERIA:
        told = row[criterion.name].strip().lower()
        if told and told not in criterion.values:
            raise PcclipError(
                f"{where}: column {criterion.name!r} holds {row[criterion.name]!r}. Write "
                f"{', '.join(criterion.values[:-1])} or {criterion.values[-1]}, or leave it empty."
            )
        if told:
            values[criterion.name] = told
    objects = tuple(name.strip() for name in row["objects"].split(";") if name.strip())
    return Rating(values, objects, row.get("note", "").strip())


def read_rows(path: Path, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV by column name, each with the number of the line where it begins.

    Raises:
        PcclipError: It cannot be read, lacks a column, or a row has too many or too few cells.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise PcclipError(f"{path}: cannot be read ({error.strerror}). Check the path.") from error
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise PcclipError(
            f"{path}: line {line} is not UTF-8. Save it from the spreadsheet as 'CSV UTF-8'."
        ) from error
    head = text.split("\n", 1)[0]
    table = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count), strict=True)
    rows = _numbered(table, path)
    columns = [name.strip().lower() for name in next(rows, (1, [""]))[1]]
    if missing := [name for name in needed if name not in columns]:
        raise PcclipError(
            f"{path}: line 1 has no column {missing[0]!r}. Its columns must be at least {', '.join(needed)}: "
            "keep the first line as it was written."
        )
    for line, cells in rows:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(columns):
            raise PcclipError(
                f"{path}: line {line} has {len(cells)} cells, but line 1 names {len(columns)} columns. Put "
                "cells with a separator in them into quotation marks, or save the file from a spreadsheet."
            )
        yield line, dict(zip(columns, cells, strict=True))


def _numbered(table: Any, path: Path) -> Iterator[tuple[int, list[str]]]:
    line = 1
    try:
        for cells in table:
            yield line, cells
            line = table.line_num + 1
    except csv.Error as error:
        raise PcclipError(
            f"{path}: line {line} cannot be read ({error}). Mend its quotation marks, or save the file from "
            "a spreadsheet again."
        ) from error
