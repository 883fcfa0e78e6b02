"""Text-driven picture retrieval by a table of (picture, change, changed picture)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from pcclip.data.sources.listed import key_of
from pcclip.errors import PcclipError
from pcclip.evaluation.encoding.encoders import CachedEncoders
from pcclip.evaluation.protocol import Subject
from pcclip.evaluation.protocols.change_search import ChangeProtocol, ChangeQueries
from pcclip.evaluation.protocols.difference_cases import draw_pictures
from pcclip.evaluation.protocols.difference_tasks import Gallery
from pcclip.evaluation.sets import EvaluationSet
from pcclip.evaluation.sources.attribute_tables import read_frame
from pcclip.evaluation.statistics import Floats, Indices

_COLUMNS = (
    "A table of changes has the columns 'image1', 'change' and 'image2', and maybe 'group', 'split', "
    "'caption1' and 'caption2'"
)
_SHOWN = 10  # keys in an error


@dataclass(frozen=True)
class Change:
    """A row of a table.

    Attributes:
        image1: Key of the picture.
        image2: Key of the changed picture.
        change: The text.
        group: Of like changes; "" where there is none.
        captions: Of the picture and of the changed one; empty where the table has none.
    """

    image1: str
    image2: str
    change: str
    group: str
    captions: tuple[str, ...]


@dataclass(frozen=True)
class ChangeTable(ChangeProtocol):
    """Finds the changed picture by a table that says which picture changes into which, by what text.

    As `change_retrieval.ChangeRetrieval`, with the methods `sentence` (the direction is the embedding of the
    change, in its frame), `sentence_alone`, `nearest` and `chance`; with the columns `caption1` and
    `caption2` also `word_delta` and `caption_alone`. Rows with the same first picture and text are one query
    with several right pictures.

    A table is .csv, .tsv or .parquet with the columns `image1`, `change`, `image2`. Pictures are joined by
    key, or by file name. Where there is a column `split`, only rows of the split that is measured are used.

    Metrics: `change_retrieval/S-LABEL-mean/METHOD_SCORE`, as means over the groups where there is a column
    `group`; then `change_retrieval/S-LABEL-GROUP/METHOD_recall_at_K` too.

    Attributes:
        tables: Tables by the split whose pictures they are of.
        speaks_of: Whose difference the text states: `image2` ("make it darker", "is darker than before"), or
            `image1` as in triple shards ("the first is brighter than the second").
        frame: Sentence with `{}` for the text of the change.
        candidates: Pictures that are drawn to search among, beside the table's own; null for all there are.
        label: Put behind the set's name.
    """

    name: ClassVar[str] = "change_retrieval"

    tables: dict[str, str] = field(default_factory=dict)
    speaks_of: Literal["image1", "image2"] = "image2"
    frame: str = "{}"
    candidates: int | None = None
    label: str = "table"

    def task(self) -> str:
        """The label."""
        return self.label

    def asked(self, subject: Subject) -> tuple[Gallery, list[ChangeQueries], dict[str, Any]]:
        """Reads the table of the split.

        Raises:
            PcclipError: There is none, it is broken, or it names pictures that the set does not have.
        """
        data = subject.data
        if data.split not in self.tables:
            raise PcclipError(
                f"{self.name}: 'tables' has none for the split {data.split!r} of {data.path}, only for "
                f"{', '.join(self.tables) or 'none'}. Add one; to report without choosing the weight on "
                "another split, give a fixed 'weight'."
            )
        if "{}" not in self.frame:
            raise PcclipError(f"{self.name}: 'frame' is {self.frame!r}; it should have {{}} for the change")
        path = Path(self.tables[data.split])
        changes = read_changes(path, data.split, data)
        numbers = {key: index for index, key in enumerate(data.keys)}
        named = {numbers[key] for change in changes for key in (change.image1, change.image2)}
        pictures = self._gallery(data, named)
        groups: dict[str, list[Change]] = {}
        for change in changes:
            groups.setdefault(change.group, []).append(change)
        found = [
            self._group(name, rows, numbers, pictures, subject.encoders)
            for name, rows in sorted(groups.items())
        ]
        return Gallery.of(pictures, subject.features), found, {"rows": len(changes)}

    def _gallery(self, data: EvaluationSet, named: set[int]) -> Indices:
        drawn = draw_pictures(data, self.candidates or len(data), self.seed).tolist()
        return np.array(sorted(named.union(drawn), key=data.keys.__getitem__), np.int64)

    def _group(
        self,
        name: str,
        changes: Sequence[Change],
        numbers: dict[str, int],
        pictures: Indices,
        encoders: CachedEncoders,
    ) -> ChangeQueries:
        places = {int(picture): place for place, picture in enumerate(pictures)}
        queries: dict[tuple[str, str], list[Change]] = {}
        for change in sorted(changes, key=lambda one: (one.image1, one.change, one.image2)):
            queries.setdefault((change.image1, change.change), []).append(change)
        right = np.zeros((len(queries), len(pictures)), np.bool_)
        for query, rows in enumerate(queries.values()):
            right[query, [places[numbers[row.image2]] for row in rows]] = True
        first = np.array([numbers[key] for key, _ in queries], np.int64)
        said: Floats = encoders.texts([self.frame.replace("{}", text) for _, text in queries])
        towards = said if self.speaks_of == "image2" else -said
        directions, alone = {"sentence": towards}, {"sentence_alone": towards}
        captions = [rows[0].captions for rows in queries.values()]
        if all(captions):
            own, changed = (encoders.texts(side) for side in zip(*captions, strict=True))
            directions["word_delta"], alone["caption_alone"] = changed - own, changed
        return ChangeQueries(name, first, right, directions, alone)


def read_changes(path: Path, split: str, data: EvaluationSet) -> list[Change]:
    """Reads a table, its pictures joined by name with those of a set.

    Args:
        path: .csv, .tsv or .parquet.
        split: Only rows of this one, where the table has splits.
        data: The set.

    Raises:
        PcclipError: The table lacks a column or has no row, a cell is empty, a picture changes into itself,
            only some rows have captions, or the set lacks pictures that the table names; all are named.
    """
    frame = read_frame(path, _COLUMNS)
    if not {"image1", "change", "image2"} <= set(frame):
        raise PcclipError(f"{path}: has the columns {', '.join(map(str, frame))}. {_COLUMNS}.")
    present = [name for name in ("group", "split", "caption1", "caption2") if name in frame]
    known = set(data.keys)
    missing: dict[str, int] = {}
    changes = []
    for row, cells in enumerate(frame.astype(object).fillna("").to_dict("records"), 2):  # row 1: the heading
        if "split" in present and str(cells["split"]) != split:
            continue
        one, change, two = (str(cells[name]).strip() for name in ("image1", "change", "image2"))
        if not (one and change and two):
            raise PcclipError(f"{path}: row {row}: 'image1', 'change' or 'image2' is empty. Fill it in.")
        keys = [name if name in known else key_of(name) for name in (one, two)]
        for name, key in zip((one, two), keys, strict=True):
            if key not in known:
                missing.setdefault(name, row)
        if keys[0] == keys[1]:
            raise PcclipError(f"{path}: row {row}: {one!r} changes into itself. Take the row out.")
        captions = tuple(str(cells[name]).strip() for name in ("caption1", "caption2") if name in present)
        full = len(captions) == 2 and all(captions)
        changes.append(
            Change(keys[0], keys[1], change, str(cells.get("group", "")), captions if full else ())
        )
    if missing:
        named = ", ".join(f"{name!r} (row {row})" for name, row in list(missing.items())[:_SHOWN])
        raise PcclipError(
            f"{path}: {data.path} (split {data.split!r}) lacks {len(missing)} of the pictures that the table "
            f"names: {named}{' ...' * (len(missing) > _SHOWN)}. Correct the names, take the rows out, or say "
            "each row's split in a column 'split'."
        )
    if not changes:
        raise PcclipError(f"{path}: has no row of the split {split!r}. {_COLUMNS}.")
    some = sum(bool(change.captions) for change in changes)
    if 0 < some < len(changes):
        raise PcclipError(
            f"{path}: only {some} of {len(changes)} rows have both 'caption1' and 'caption2'. Fill them in "
            "everywhere, or take the columns out."
        )
    return changes
