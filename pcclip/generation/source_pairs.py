"""Pairs of a source's pictures, without a picture set: for jobs that need captions and attributes only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pcclip.data.sources.base import CaptionedPictures, Split
from pcclip.generation.pairs import PairPlan
from pcclip.generation.rows import KnownPicture, PairedPictures


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
