"""Rows that are pairs of pictures: of a picture set, or of a source whose pictures need not be there."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from pcclip.data.records import Picture
from pcclip.data.shards import SET_FILE, ShardIndex, load_indexes, resolve_shards
from pcclip.data.sources.base import CaptionedPictures, Split
from pcclip.generation.pairs import PairPlan, Pairs, draw_pool, make_pairs
from pcclip.generation.picture_texts import picture_text
from pcclip.generation.rows import HasBytes, Row, RowSource
from pcclip.untrusted import parse_json


@dataclass(frozen=True)
class ShardPicture:
    """A picture in a shard, read when it is asked for."""

    index: ShardIndex
    record: int

    def read_bytes(self) -> bytes:
        """The encoded file."""
        return Picture.parse(
            self.index.key(self.record), self.index.read_record(self.record), self.index.path
        ).image


@dataclass(frozen=True, slots=True)
class KnownPicture:
    """What is known of a picture that takes part in pairs, without its bytes."""

    captions: tuple[str, ...]
    attributes: Mapping[str, float | str]
    class_name: str | None
    picture: HasBytes


class PairedPictures(RowSource):
    """Rows that are pairs of pictures of one set; subclasses say where the pictures are.

    Attributes:
        plan: Which pictures and which pairs.
        name: Keys of the rows start with it.
        seed: Decides which pictures and pairs, and their directions.
    """

    plan: PairPlan
    name: str
    seed: int

    @abstractmethod
    def _keys(self) -> list[str]:
        """Keys of all pictures, in a fixed order."""

    @abstractmethod
    def _describe_pictures(self, keys: Sequence[str]) -> dict[str, KnownPicture]:
        """What is known of the pictures that take part."""

    @cached_property
    def _known(self) -> dict[str, KnownPicture]:
        return self._describe_pictures(draw_pool(self._keys(), self.plan, self.seed))

    @cached_property
    def _pairs(self) -> Pairs:
        classes = {key: known.class_name for key, known in self._known.items()}
        return make_pairs(list(self._known), self.plan, self.seed, classes)

    def count(self) -> int:
        """As many as the plan says; twice that where it makes both directions."""
        return len(self._pairs)

    def rows(self, start: int = 0) -> Iterator[Row]:
        """The pairs in their drawn order."""
        known = self._known
        for number, (image1, image2) in enumerate(self._pairs.rows(start), start):
            a, b = known[image1], known[image2]
            yield Row(
                number,
                f"{self.name}-{number:08d}",
                image1,
                image2,
                a.captions,
                b.captions,
                a.attributes,
                b.attributes,
                a.picture,
                b.picture,
            )

    def describe(self) -> dict[str, Any]:
        """The settings, and the keys, captions and attributes of the pictures by their hash."""
        content = hashlib.sha256()
        for key, known in self._known.items():
            content.update(
                repr((key, known.captions, sorted(known.attributes.items()))).encode(errors="replace")
            )
        return super().describe() | {"content": content.hexdigest()[:16]}


@dataclass
class PicturePairs(PairedPictures):
    """Pairs of the pictures of a set of shards.

    Args:
        pictures: The picture set: a folder, a tar, a glob or a brace pattern.
        plan: Which pictures and which pairs.
        name: Keys of the rows start with it.
        seed: Decides which pictures and pairs, and their directions.
        note: The licence of the set, where its `set.json` does not say it.
    """

    incidental: ClassVar[tuple[str, ...]] = ("pictures", "note")

    pictures: str
    plan: PairPlan
    name: str
    seed: int = 0
    note: str = ""

    def licence(self) -> str:
        """As `note` or the set's card says."""
        file = Path(self.pictures) / SET_FILE
        if not self.note and file.is_file():
            return str(parse_json(file.read_bytes()).get("card", {}).get("licence") or super().licence())
        return self.note or super().licence()

    @cached_property
    def _places(self) -> dict[str, tuple[ShardIndex, int]]:
        indexes = load_indexes(resolve_shards(self.pictures))
        return {key: (index, at) for index in indexes for at, key in enumerate(index.keys)}

    def _keys(self) -> list[str]:
        return list(self._places)

    def _describe_pictures(self, keys: Sequence[str]) -> dict[str, KnownPicture]:
        known = {}
        for key in keys:
            index, at = self._places[key]
            picture = picture_text(index, at)
            known[key] = KnownPicture(
                picture.captions, picture.attributes, picture.class_name, ShardPicture(index, at)
            )
        return known


@dataclass(frozen=True)
class _SourcePicture:
    source: CaptionedPictures
    key: str

    def read_bytes(self) -> bytes:
        return self.source.image(self.key)


@dataclass
class SourcePairs(PairedPictures):
    """Pairs of the pictures of a source, such as COCO's captions file, as they come.

    With `with_images: false` the source's pictures need not be there: their captions are enough for a
    language model, and training looks pictures up by their key.

    Args:
        source: Where captions, classes and attributes come from.
        plan: Which pictures and which pairs.
        name: Keys of the rows start with it.
        split: Of the source.
        seed: Decides which pictures and pairs, and their directions.
    """

    incidental: ClassVar[tuple[str, ...]] = ("source",)

    source: CaptionedPictures
    plan: PairPlan
    name: str
    split: Split = "train"
    seed: int = 0

    def licence(self) -> str:
        """The source's."""
        return self.source.licence

    def _keys(self) -> list[str]:
        return [picture.key for picture in self.source.texts(self.split)]

    def _describe_pictures(self, keys: Sequence[str]) -> dict[str, KnownPicture]:
        wanted = set(keys)
        found = {
            p.key: KnownPicture(p.captions, p.attributes, p.class_name, _SourcePicture(self.source, p.key))
            for p in self.source.texts(self.split)
            if p.key in wanted
        }
        return {key: found[key] for key in keys}
