"""Any folder of pictures with a table of captions: CSV, TSV or parquet."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pcclip.data.records import IMAGE_EXTENSIONS
from pcclip.data.sources.base import Split
from pcclip.data.sources.listed import Entry, ListedPictures, digest_of, key_of, read
from pcclip.errors import PcclipError

if TYPE_CHECKING:
    import pandas as pd

_SPLIT_WORDS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
}


@dataclass
class Table(ListedPictures):
    """Pictures of a folder that a table names, with its captions.

    Several rows may name the same picture: it has the captions of all of them. A key is the file's path in
    the folder without its extension.

    Args:
        table: File ending in .csv, .tsv or .parquet (which needs pyarrow); the first row of a text file
            names its columns.
        images: Folder of the pictures; not read where `with_images` is false.
        file_column: Column of the picture's path in the folder, with or without its extension.
        caption_columns: Columns of captions; a cell of a parquet file may hold several.
        label_column: Column of the class, if there is one.
        attribute_columns: Columns of attributes: a column of numbers is one of degree, others are of kind.
        split_column: Column of train, validation (or val, valid, dev) and test; null: shared out by `train`,
            `validation` and `seed`.
        separator: Between cells of a text file; null: "," in a .csv, a tab in a .tsv.
        name: Of the set.
        licence: Of pictures and captions, for the cards of sets made from them.
    """

    table: str
    images: str = ""
    file_column: str = "file"
    caption_columns: list[str] = field(default_factory=lambda: ["caption"])
    label_column: str | None = None
    attribute_columns: list[str] = field(default_factory=list)
    split_column: str | None = None
    separator: str | None = None
    name: str = "table"
    licence: str = "unknown: see where the pictures and captions came from"

    places: ClassVar[tuple[str, ...]] = ("table", "images")

    def __post_init__(self) -> None:
        """Refuses a missing folder and an empty choice of columns."""
        super().__post_init__()
        if not self.caption_columns:
            raise PcclipError(
                f"{self.name}: 'caption_columns' is empty. Name the columns that hold captions."
            )
        if self.with_images and not Path(self.images or "?").is_dir():
            raise PcclipError(
                f"{self.name}: 'images' is {self.images!r}, which is no folder. Give the folder of the "
                f"pictures of {self.table}, or set 'with_images: false' to use its captions alone."
            )

    def material(self) -> dict[str, Any]:
        """Which table."""
        return {"table": digest_of(Path(self.table))}

    def _list_file(self) -> Path:
        return Path(self.table)

    def _entries(self) -> Iterator[Entry]:
        frame = self._read()
        known = {name: _values(frame[name]) for name in self.attribute_columns}
        captions = [frame[name].tolist() for name in self.caption_columns]
        labels = _texts(frame[self.label_column]) if self.label_column else [""] * len(frame)
        splits = _texts(frame[self.split_column]) if self.split_column else [""] * len(frame)
        folder = _Folder(Path(self.images), self.with_images)
        entries: dict[str, tuple[str, list[Any], dict[str, float | str], str, str, int]] = {}
        for row, file in enumerate(_texts(frame[self.file_column])):
            if not file:
                self._skipped["picture without a file name"] += 1
                continue
            if Path(file).is_absolute():
                raise PcclipError(
                    f"{self.table}: row {row + 1}: {file!r} is a whole path. Give paths as seen from the "
                    f"folder 'images', {self.images}."
                )
            attributes = {name: value for name, values in known.items() if (value := values[row]) is not None}
            about = (attributes, labels[row], splits[row])
            cells = [text for column in captions for text in _cell(column[row])]
            if file not in entries:
                entries[file] = (key_of(file), cells, *about, row)
                continue
            entries[file][1].extend(cells)
            if entries[file][2:5] != about:
                raise PcclipError(
                    f"{self.table}: row {row + 1} says {about} of {file!r}, but row {entries[file][5] + 1} "
                    f"{entries[file][2:5]}. Rows of one picture may differ in their captions only."
                )
        for file, (key, cells, attributes, label, split, row) in entries.items():
            chosen = self._split(split, row) if self.split_column else None
            where = f"row {row + 1}"
            yield Entry(key, folder.find(file), cells, label or None, attributes, chosen, where)

    def _read(self) -> pd.DataFrame:
        path = read(Path(self.table), "Give 'table' the file that names the pictures and their captions.")
        try:
            import pandas as pd
        except ImportError as error:
            raise PcclipError(f"{path}: tables are read by pandas: pip install pandas pyarrow.") from error
        kind = path.suffix.lower()
        try:
            if kind == ".parquet":
                frame = pd.read_parquet(path)
            elif kind in (".csv", ".tsv", ".txt") or self.separator:
                frame = pd.read_csv(
                    path,
                    sep=self.separator or ("," if kind == ".csv" else "\t"),
                    dtype=str,
                    na_filter=False,  # a caption may be "None" or "NA"
                    encoding="utf-8",
                )
            else:
                raise ValueError(f"the ending {kind!r} is not known")
        except ImportError as error:
            raise PcclipError(f"{path}: parquet needs pyarrow ({error}): pip install pyarrow.") from error
        except UnicodeDecodeError as error:
            raise PcclipError(
                f"{path}: is no text in UTF-8. Save it so (in a spreadsheet: as "
                "'CSV UTF-8'), or give a .parquet."
            ) from error
        except (ValueError, OSError) as error:  # parser and decoding errors are ValueErrors
            raise PcclipError(
                f"{path}: cannot be read as a table ({str(error).strip()}). Give a .csv or .tsv in "
                "UTF-8 with quotes around cells that hold a separator (set 'separator' where it is another), "
                "or a .parquet."
            ) from error
        self._check_columns([str(column) for column in frame.columns])
        return frame

    def _check_columns(self, present: Sequence[str]) -> None:
        wanted: dict[str, Sequence[str | None]] = {
            "file_column": [self.file_column],
            "caption_columns": self.caption_columns,
            "label_column": [self.label_column],
            "attribute_columns": self.attribute_columns,
            "split_column": [self.split_column],
        }
        for setting, names in wanted.items():
            for name in names:
                if name is not None and name not in present:
                    alike = {column.strip().lower(): column for column in present}
                    near = difflib.get_close_matches(name.strip().lower(), alike, n=1)
                    ask = f"{alike[near[0]]!r} meant" if near else "'separator' right"
                    raise PcclipError(
                        f"{self.table}: has no column {name!r} ('{setting}'). Its columns are "
                        f"{', '.join(map(repr, present))}; is {ask}?"
                    )

    def _split(self, word: str, row: int) -> Split:
        split = _SPLIT_WORDS.get(word.strip().lower())
        if split is None:
            raise PcclipError(
                f"{self.table}: row {row + 1} has {word!r} in the column {self.split_column!r}. Splits are "
                "train, validation and test."
            )
        return split


class _Folder:
    """Finds files whose extension the table does not give."""

    def __init__(self, folder: Path, look: bool) -> None:
        self._folder = folder
        self._look = look

    def find(self, name: str) -> Path:
        file = self._folder / name
        if self._look and file.suffix[1:].lower() not in IMAGE_EXTENSIONS:
            for extension in IMAGE_EXTENSIONS:
                if (found := file.with_name(f"{file.name}.{extension}")).is_file():
                    return found
        return file


def _cell(value: Any) -> list[Any]:
    """The captions of one cell: a text, or what a parquet file holds as a list."""
    if isinstance(value, list | tuple):
        return list(value)
    return value.tolist() if hasattr(value, "tolist") and getattr(value, "ndim", 0) == 1 else [value]


def _texts(column: pd.Series) -> list[str]:
    return ["" if value is None or value != value else str(value) for value in column.tolist()]


def _values(column: pd.Series) -> list[float | str | None]:
    """Numbers where the whole column is numbers, else texts; None for an empty cell."""
    texts = _texts(column)
    try:
        numbers = [float(text) if text.strip() else None for text in texts]
    except ValueError:
        return [text or None for text in texts]
    if any(number is not None and abs(number) == float("inf") for number in numbers):
        return [text or None for text in texts]
    return list(numbers)
