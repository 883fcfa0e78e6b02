"""Rows about the captions of a picture set, to be rewritten one by one."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from pcclip.data.records import Picture
from pcclip.data.shards import SET_FILE, ShardIndex, ShardSet, load_indexes, resolve_shards
from pcclip.errors import PcclipError
from pcclip.generation.pairs import PairPlan, draw_pool
from pcclip.generation.picture_pairs import ShardPicture
from pcclip.generation.picture_texts import picture_text
from pcclip.generation.rows import Row, RowSource


@dataclass
class CaptionRows(RowSource):
    """A row for every caption: as `caption1`, with its picture as `picture1`; there is no second one.

    Args:
        pictures: The picture set: a folder, a tar, a glob or a brace pattern.
        name: Keys of the rows start with it.
        sample: How many pictures take part, drawn at random; 0: all. By the same `seed` these are the
            pictures of `PicturePairs` with as many.
        captions: Captions of a picture that are rewritten, from its first on; 0: all.
        seed: Decides which pictures.
        note: The licence of the set, where its `set.json` does not say it.
    """

    incidental: ClassVar[tuple[str, ...]] = ("pictures", "note")

    pictures: str
    name: str
    sample: int = 0
    captions: int = 0
    seed: int = 0
    note: str = ""

    def __post_init__(self) -> None:
        """Refuses numbers that mean nothing."""
        if self.sample < 0 or self.captions < 0:
            raise PcclipError(
                f"rows: 'sample' is {self.sample}, 'captions' {self.captions}; give 0 (all) or more."
            )

    def count(self) -> int:
        """As many as there are captions."""
        return sum(self._scanned[0])

    def rows(self, start: int = 0) -> Iterator[Row]:
        """Captions in the order of the pictures in their shards."""
        first = 0
        for (index, at), captions in zip(self._places(), self._scanned[0], strict=True):
            if first + captions > start:
                picture = picture_text(index, at)
                for number, text in enumerate(self.asked(picture), first):
                    if number >= start:
                        yield self._row(number, picture.key, text, ShardPicture(index, at))
            first += captions

    def whole_pictures(self) -> Iterator[Picture]:
        """The pictures that the rows are about, with their bytes, in the rows' order."""
        for index, at in self._places():
            yield Picture.parse(index.key(at), index.read_record(at), index.path)

    def asked(self, picture: Picture) -> tuple[str, ...]:
        """The captions of a picture that are rewritten, blank ones left out."""
        given = tuple(text for text in picture.captions if text.strip())
        return given[: self.captions or None]

    def describe(self) -> dict[str, Any]:
        """The settings, and the keys and captions by their hash."""
        return super().describe() | {"content": self._scanned[1]}

    def licence(self) -> str:
        """As `note` or the set's card says."""
        folder = Path(self.pictures)
        if not self.note and (folder / SET_FILE).is_file():
            return str(ShardSet.load(folder).card.get("licence") or super().licence())
        return self.note or super().licence()

    def _row(self, number: int, key: str, text: str, picture: ShardPicture) -> Row:
        return Row(number, f"{self.name}-{number:08d}", key, "", (text,), picture1=picture)

    def _places(self) -> Iterator[tuple[ShardIndex, int]]:
        for index in self._indexes:
            for at in range(len(index)):
                if self._drawn is None or index.key(at) in self._drawn:
                    yield index, at

    @cached_property
    def _indexes(self) -> list[ShardIndex]:
        return load_indexes(resolve_shards(self.pictures))

    @cached_property
    def _drawn(self) -> frozenset[str] | None:
        if not self.sample:
            return None
        plan = PairPlan(pictures=self.sample, method="all")
        return frozenset(draw_pool([key for index in self._indexes for key in index.keys], plan, self.seed))

    @cached_property
    def _scanned(self) -> tuple[array[int], str]:
        """Rows of each picture, and a hash of all that is asked about."""
        counts, content = array("I"), hashlib.sha256()
        for index, at in self._places():
            picture = picture_text(index, at)
            texts = self.asked(picture)
            counts.append(len(texts))
            content.update(repr((picture.key, texts)).encode(errors="replace"))
        return counts, content.hexdigest()[:16]
