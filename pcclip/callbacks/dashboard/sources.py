"""The records behind a training batch: texts and pictures, as the shards hold them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pcclip.data.batches import Stream, TrainingBatches, TripleSource
from pcclip.data.datamodule import DifferenceData
from pcclip.data.index import ShardIndex
from pcclip.data.records import Triple, decode_picture, image_extension
from pcclip.data.sets import resolve_shards
from pcclip.data.stream import ResumableLoader
from pcclip.errors import PcclipError

DIFFERENCES, CAPTIONS = "differences", "captions"
_PICTURES = 1_000_000
"""Pictures of a set up to which one is looked for by its key."""

Pair = tuple[Image.Image | None, Image.Image | None]


@dataclass(frozen=True)
class Shown:
    """A triple as people see it.

    Attributes:
        text: Its difference.
        pictures: The first and the second; None where they are not at hand.
    """

    text: str
    pictures: Pair = (None, None)


class Records:
    """The training records of a run.

    Args:
        loader: Of the training batches.
        data: Whose loader.
    """

    def __init__(self, loader: ResumableLoader, data: DifferenceData) -> None:
        self._loader = loader
        self._data = data
        self._pictures: list[ShardIndex] | None = None

    @classmethod
    def of(cls, loader: object, data: object) -> Records | None:
        """Those of a trainer's loader and datamodule; None where they are not ours."""
        if not isinstance(loader, ResumableLoader) or not isinstance(data, DifferenceData):
            return None
        return cls(loader, data) if isinstance(loader.dataset, TrainingBatches) else None

    def stream(self, part: str) -> Stream | None:
        """That a part of the batches comes from."""
        return self._loader.dataset.streams.get(part)  # type: ignore[attr-defined]

    def triples(self, rows: Sequence[int], keys: Sequence[str], pictured: Sequence[int]) -> dict[int, Shown]:
        """Triples of the batch that was handed out last.

        Args:
            rows: Their numbers in the batch.
            keys: Keys of all records of the batch.
            pictured: Those of `rows` whose pictures are wanted.

        Returns:
            By row; one that lies at a URL, or cannot be read, is absent.
        """
        stream, cursor = self.stream(DIFFERENCES), self._loader.cursor
        if stream is None or not isinstance(stream.source, TripleSource) or not cursor.position:
            return {}
        located = stream.source.records(stream.located(cursor.epoch, cursor.position - 1))
        places = {row: (stream.source.indexes[located[row][0]], located[row][1]) for row in rows}
        found: dict[int, tuple[ShardIndex, int, Triple]] = {}
        for row, (index, record) in places.items():
            if isinstance(index.path, Path) and index.key(record) == keys[row]:
                found[row] = index, record, Triple.parse(keys[row], index.read(record, "json"), index.path)
        wanted = {key for row in pictured if row in found for key in _images(found[row][2])}
        pictures = self._by_key(wanted) if self._data.payload == "keys" else {}
        return {
            row: Shown(
                triple.difference,
                _pair(index, record, triple, pictures) if row in pictured else (None, None),
            )
            for row, (index, record, triple) in found.items()
        }

    def sampled(self, part: str, count: int) -> Iterator[tuple[ShardIndex, int]]:
        """The first records of the first epoch, which is shuffled: shard and number within it.

        Shards at URLs are left alone: when they are fetched is the loader's to say.
        """
        stream = self.stream(part)
        if stream is None:
            return
        shards, records = stream.order.locate(0, np.arange(min(count, len(stream.order))))
        located = list(zip(shards.tolist(), records.tolist(), strict=True))
        if isinstance(stream.source, TripleSource):
            located = list(stream.source.records(located))
        for shard, record in located:
            if isinstance((index := stream.source.indexes[shard]).path, Path):
                yield index, record

    def _by_key(self, wanted: set[str]) -> dict[str, Image.Image]:
        """Pictures of the run's picture sets by key, where those are on this machine and not too many."""
        if self._pictures is None:
            try:
                named = resolve_shards(self._data.pictures, self._data.remote) if self._data.pictures else []
                local = [shard for shard in named if isinstance(shard, Path)]
                indexes = [ShardIndex.load(shard, self._data.cache_dir) for shard in local]
            except PcclipError:  # the bank is all that the run needs: the pictures may be gone
                indexes = []
            self._pictures = indexes if sum(map(len, indexes)) <= _PICTURES else []
        found: dict[str, Image.Image] = {}
        for index in self._pictures:
            for record, key in enumerate(index.keys):
                if key in wanted and (picture := _picture(index, record)) is not None:
                    found[key] = picture
            if len(found) == len(wanted):
                break
        return found


def _images(triple: Triple) -> tuple[str, str]:
    return triple.image1, triple.image2


def _pair(index: ShardIndex, record: int, triple: Triple, pictures: Mapping[str, Image.Image]) -> Pair:
    if pictures:
        return pictures.get(triple.image1), pictures.get(triple.image2)
    return _picture(index, record, "1."), _picture(index, record, "2.")


def _picture(index: ShardIndex, record: int, which: str = "") -> Image.Image | None:
    """A picture of a record; None where it has none or a damaged one, which is no matter of a dashboard."""
    names = [name.removeprefix(which) for name in index.extensions(record) if name.startswith(which)]
    extension = image_extension(names)
    if extension is None:
        return None
    try:
        return decode_picture(index.read(record, which + extension), index.key(record), index.path)
    except PcclipError:
        return None
