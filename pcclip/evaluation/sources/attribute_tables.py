"""Tables of what classes or pictures are like: (class or picture, attribute, value), joined by name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pcclip.data.sources.awa2 import predicate_table
from pcclip.data.sources.cub import Cub
from pcclip.errors import PcclipError

_COLUMNS = "A table has the columns 'attribute', 'value' and one of 'class' or 'key' (and maybe 'split')"


@dataclass(frozen=True)
class Cell:
    """One attribute of a class or a picture.

    Attributes:
        of: Name of the class, or key of the picture.
        attribute: Name of the attribute.
        value: As the table has it: a text, a number, true or false.
        where: Its place in the file.
    """

    of: str
    attribute: str
    value: Any
    where: str


@dataclass(frozen=True)
class AttributeTable:
    """A table as it was read.

    Attributes:
        path: File or folder.
        per: What its rows are about.
        cells: In the file's order; without those of other splits.
        strict: Whether a class that the set lacks is an error; a release's own lists may have more.
    """

    path: Path
    per: str
    cells: tuple[Cell, ...]
    strict: bool = True

    @classmethod
    def load(cls, path: str | Path, split: str) -> AttributeTable:
        """Reads a .csv, .tsv or .parquet, or the class attributes in a folder of AwA2 or CUB-200-2011.

        Args:
            path: The table. Of AwA2 the folder with classes.txt, predicates.txt and the binary matrix: true
                and false by predicate. Of CUB the folder CUB_200_2011: in each group (such as
                `wing_color`) the value that most answers about the class say, where these are at least 40 %.
            split: Where a table has a column `split`, only the rows of this split are taken.

        Raises:
            PcclipError: It is missing or in no such layout.
        """
        path = Path(path)
        if (path / "predicate-matrix-binary.txt").exists():
            return cls(path, "class", tuple(_matrix_cells(predicate_table(path))), strict=False)
        if (path / "attributes" / "class_attribute_labels_continuous.txt").exists():
            return cls(path, "class", tuple(_matrix_cells(Cub(str(path)).class_attributes)), strict=False)
        frame = read_frame(path, _COLUMNS)
        per = [name for name in ("class", "key") if name in frame]
        if len(per) != 1 or not {"attribute", "value"} <= set(frame):
            raise PcclipError(f"{path}: has the columns {', '.join(map(str, frame))}. {_COLUMNS}.")
        cells = []
        splits = frame["split"] if "split" in frame else [split] * len(frame)
        rows = zip(frame[per[0]], frame["attribute"], frame["value"], splits, strict=True)
        for row, (of, attribute, value, of_split) in enumerate(rows, 2):  # the heading is row 1
            if of_split == split and not (value == "" or pd.isna(value)):
                cells.append(Cell(str(of), str(attribute), value, f"row {row}"))
        return cls(path, per[0], tuple(cells))


def _matrix_cells(table: Mapping[str, Mapping[str, Any]]) -> Iterator[Cell]:
    for name, attributes in table.items():
        for attribute, value in attributes.items():
            yield Cell(name, attribute, value, f"{name}: {attribute}")


def read_frame(path: Path, layout: str) -> pd.DataFrame:
    """Reads a .csv or .tsv (all cells as text) or a .parquet.

    Args:
        path: The file.
        layout: Which columns it should have, for errors.

    Raises:
        PcclipError: It is missing, broken or something else.
    """
    kind = path.suffix.lower()
    try:
        if kind == ".parquet":
            return pd.read_parquet(path)
        if kind in (".csv", ".tsv"):
            separator = "," if kind == ".csv" else "\t"
            return pd.read_csv(path, sep=separator, dtype=str, na_filter=False, encoding="utf-8")
        raise ValueError("it is neither .csv, .tsv nor .parquet, nor a folder with AwA2's or CUB's lists")
    except (ValueError, OSError) as error:  # parser and decoding errors are ValueErrors
        raise PcclipError(f"{path}: cannot be read as a table ({str(error).strip()}). {layout}.") from error


def plain(name: str) -> str:
    """A class name without what releases spell differently: case, numbers before it, signs between words.

    `001.Black_footed_Albatross` is `black footed albatross`, `grizzly+bear` is `grizzly bear`.
    """
    return " ".join(re.findall(r"\w+", re.sub(r"^\d+\.", "", name).replace("_", " ").casefold()))


class Names:
    """Finds the class or picture that a table means.

    Args:
        names: Of the set.
        whose: File or folder of the set, for errors.
        kind: `class` (found by its `plain` name) or `key` (found as it stands).

    Raises:
        PcclipError: Two classes have the same plain name.
    """

    def __init__(self, names: Iterable[str], whose: Path, kind: str) -> None:
        self._kind, self._whose = kind, whose
        self._known: dict[str, str] = {}
        for name in names:
            if (other := self._known.setdefault(self._form(name), name)) != name:
                raise PcclipError(
                    f"{whose}: the classes {other!r} and {name!r} cannot be told apart by name, so no table "
                    "can be joined with them. Rename one."
                )

    def get(self, name: str) -> str | None:
        """The name that the set has for it; None where it has none."""
        return self._known.get(self._form(name))

    def error(self, name: str, file: Path, where: str) -> PcclipError:
        """What to say of a name that the set does not have."""
        near = difflib.get_close_matches(self._form(name), self._known, 1, 0.7)
        hint = f"does it mean {self._known[near[0]]!r}? " if near else ""
        remedy = (
            "Correct the name, or take it out."
            if self._kind == "class"
            else "Correct the key, take the row out, or say each row's split in a column 'split'."
        )
        return PcclipError(f"{file}: {where}: {self._whose} has no {self._kind} {name!r}; {hint}{remedy}")

    def _form(self, name: str) -> str:
        return plain(name) if self._kind == "class" else name
