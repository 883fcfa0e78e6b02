"""Texts about classes and about pairs of classes: `texts.json`, its schema and its readers.

`{"schema": 1, "kind": "class texts", "card": {...}, "texts": [{"class": NAME, "texts": [TEXT, ...]}, ...]}`;
in the kind `pair texts` each entry also has `other`, and its texts say how `class` differs from `other`. An
entry may have no text: all that were written for it were rejected.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pcclip.data.files import write_atomically
from pcclip.data.records import SCHEMA
from pcclip.errors import PcclipError
from pcclip.untrusted import parse_json

TEXTS_FILE = "texts.json"
TextKind = Literal["class texts", "pair texts"]


@dataclass(frozen=True)
class ClassText:
    """What was written about a class, or about how it differs from another.

    Args:
        name: The class.
        other: The class that it is compared with; None for descriptions.
        texts: All texts; may be empty.
    """

    name: str
    other: str | None
    texts: tuple[str, ...]


@dataclass(frozen=True)
class ClassTexts:
    """What a `texts.json` holds.

    Args:
        kind: `class texts` or `pair texts`.
        entries: One for each class or ordered pair of classes.
        card: Where the texts come from.
    """

    kind: TextKind
    entries: Sequence[ClassText]
    card: dict[str, Any]

    def write(self, file: Path) -> None:
        """Writes the file whole or not at all, an entry a line."""
        head = {"schema": SCHEMA, "kind": self.kind, "card": self.card}
        lines = [_dump(_entry(entry)) for entry in self.entries]
        text = _dump(head)[:-1] + ', "texts": [\n' + ",\n".join(lines) + "\n]}\n"
        write_atomically(file, text.encode())

    @classmethod
    def load(cls, path: str | Path) -> ClassTexts:
        """Reads a `texts.json`, or that of a folder.

        Raises:
            PcclipError: It is missing, broken or of another schema.
        """
        file = Path(path) / TEXTS_FILE if Path(path).is_dir() else Path(path)
        try:
            raw = parse_json(file.read_bytes())
            if raw["schema"] != SCHEMA or raw["kind"] not in ("class texts", "pair texts"):
                raise ValueError(f"schema {raw['schema']!r} and kind {raw['kind']!r}")
            pairs = raw["kind"] == "pair texts"
            entries = [
                ClassText(str(e["class"]), str(e["other"]) if pairs else None, tuple(map(str, e["texts"])))
                for e in raw["texts"]
            ]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PcclipError(
                f"{file}: is no file of texts about classes ({error!r}). Name the {TEXTS_FILE}, or the "
                "folder, that `pcclip write` has made of classes or pairs of classes."
            ) from error
        return cls(raw["kind"], entries, dict(raw["card"]))


def read_class_texts(path: str | Path) -> dict[str, tuple[str, ...]]:
    """The descriptions of each class, in the file's order.

    Raises:
        PcclipError: The file is missing or broken, or holds texts about pairs.
    """
    return {entry.name: entry.texts for entry in _of_kind(path, "class texts")}


def read_pair_texts(path: str | Path) -> dict[tuple[str, str], tuple[str, ...]]:
    """By ordered pair (a, b) the texts that say how class a differs from class b, in the file's order.

    Raises:
        PcclipError: The file is missing or broken, or holds texts about single classes.
    """
    return {(e.name, e.other or ""): e.texts for e in _of_kind(path, "pair texts")}


def _of_kind(path: str | Path, kind: TextKind) -> Sequence[ClassText]:
    read = ClassTexts.load(path)
    if read.kind != kind:
        raise PcclipError(f"{path}: holds {read.kind}, but {kind} are wanted. Check the setting.")
    return read.entries


def _entry(entry: ClassText) -> dict[str, Any]:
    other = {} if entry.other is None else {"other": entry.other}
    return {"class": entry.name} | other | {"texts": list(entry.texts)}


def _dump(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)
