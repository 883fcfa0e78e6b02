"""Texts about single pairs of pictures, as a language model or a person writes them: a table, or triples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pcclip.data.records import Triple
from pcclip.data.shards import ShardIndex, resolve_shards
from pcclip.errors import PcclipError
from pcclip.evaluation.sources.attribute_tables import Names, read_frame

_COLUMNS = "A table of texts has the columns 'image1', 'image2' and 'text' (and maybe 'reversed' and 'split')"


@dataclass(frozen=True)
class PairText:
    """A text about a pair of pictures.

    Attributes:
        first: Key of the picture that the text describes.
        second: Key of the picture that it is compared with.
        text: How the first differs from the second.
        reversed: How the second differs from the first, where that was written too.
    """

    first: str
    second: str
    text: str
    reversed: str | None


def load_pair_texts(path: str, split: str, names: Names) -> tuple[PairText, ...]:
    """Reads a table, or triple shards.

    A row about (b, a) is the reversed text of a row about (a, b) that has none; both are scored.

    Args:
        path: .csv, .tsv or .parquet; or a folder or address of triple shards (`difference` is the text).
        split: Where a table has a column `split`, only the rows of this split are taken.
        names: Finds the pictures of the set.

    Raises:
        PcclipError: It cannot be read, has no texts, or names a picture that the set lacks.
    """
    table = Path(path).suffix.lower() in (".csv", ".tsv", ".parquet")
    texts = []
    for where, one in _from_table(Path(path), split) if table else _from_triples(path):
        for key in (one.first, one.second):
            if names.get(key) is None:
                raise names.error(key, Path(path), where)
        if one.first == one.second or not one.text.strip():
            raise PcclipError(
                f"{path}: {where}: compares {one.first!r} with {one.second!r} by the text {one.text!r}; it "
                "takes two pictures and a text that is not empty. Take it out."
            )
        texts.append(one)
    if not texts:
        raise PcclipError(f"{path}: has no texts about pictures of the split {split!r}. {_COLUMNS}.")
    by_pair = {(one.first, one.second): one.text for one in texts}
    return tuple(
        one
        if one.reversed is not None
        else PairText(one.first, one.second, one.text, by_pair.get((one.second, one.first)))
        for one in texts
    )


def _from_table(path: Path, split: str) -> Iterator[tuple[str, PairText]]:
    frame = read_frame(path, _COLUMNS)
    if not {"image1", "image2", "text"} <= set(frame):
        raise PcclipError(f"{path}: has the columns {', '.join(map(str, frame))}. {_COLUMNS}.")
    frame = frame.fillna("")
    for row, cells in enumerate(frame.to_dict("records"), 2):  # the heading is row 1
        if cells.get("split", split) == split:
            back = str(cells.get("reversed", "")).strip()
            yield (
                f"row {row}",
                PairText(str(cells["image1"]), str(cells["image2"]), str(cells["text"]), back or None),
            )


def _from_triples(path: str) -> Iterator[tuple[str, PairText]]:
    for shard in resolve_shards(path):
        index = ShardIndex.load(shard)
        for record, key in enumerate(index.keys):
            triple = Triple.parse(key, index.read(record, "json"), index.path)
            yield (
                f"{index.path.name}: record {key!r}",
                PairText(triple.image1, triple.image2, triple.difference, None),
            )
