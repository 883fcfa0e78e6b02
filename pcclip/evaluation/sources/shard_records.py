"""Records of WebDataset shards with a picture and a class number or captions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pcclip.data.index import ShardIndex
from pcclip.data.records import ShardError, image_extension
from pcclip.data.sources.captions import usable
from pcclip.evaluation.sources.pictures import PackedPictures

LAYOUT = (
    "The layout is SPLIT/nshards.txt, SPLIT/0.tar ..., classnames.txt, zeroshot_classification_templates.txt "
    "and, for retrieval, dataset_type.txt, as clip_benchmark_export_wds writes them."
)


class Records:
    """The records of some shards, by number.

    Attributes:
        place: Folder of the first shard.
        keys: Of all records.
    """

    def __init__(self, shards: Sequence[ShardIndex]) -> None:
        self._shards = shards
        self.place = Path(str(shards[0].path)).parent  # these sets are read from folders
        self._places = [(shard, record) for shard in shards for record in range(len(shard))]
        self.keys = [shard.key(record) for shard, record in self._places]
        if len(set(self.keys)) < len(self.keys):  # numbered anew in each shard
            self.keys = [f"{shard.path.stem}/{shard.key(record)}" for shard, record in self._places]
        if len(set(self.keys)) < len(self.keys):  # or in each split
            self.keys = [
                f"{Path(str(shard.path)).parent.name}/{shard.path.stem}/{shard.key(record)}"
                for shard, record in self._places
            ]

    def of(self, keep: Sequence[int]) -> PackedPictures:
        """Some of their pictures."""
        extensions = [image_extension(self._places[n][0].extensions(self._places[n][1])) for n in keep]
        for number, extension in zip(keep, extensions, strict=True):
            if extension is None:
                shard, _ = self._places[number]
                raise ShardError.at(shard.path, self.keys[number], "has no picture", LAYOUT)

        def get(index: int) -> bytes:
            shard, record = self._places[keep[index]]
            return shard.read(record, extensions[index] or "")

        stamp = "\n".join(f"{Path(str(shard.path)).resolve()} {shard.stamp}" for shard in self._shards)
        return PackedPictures(tuple(self.keys[n] for n in keep), self.place, get, stamp)

    def labels(self, keep: Sequence[int]) -> list[int]:
        """Class numbers of some."""
        found = []
        for number in keep:
            shard, record = self._places[number]
            raw = shard.read(record, "cls").strip()
            if not raw.isdigit():
                raise ShardError.at(shard.path, self.keys[number], f"its cls is {raw[:20]!r}", LAYOUT)
            found.append(int(raw))
        return found

    def captions(self, keep: Sequence[int]) -> list[tuple[str, ...]]:
        """Captions of some, one a line."""
        found = []
        for number in keep:
            shard, record = self._places[number]
            texts = usable(shard.read(record, "txt").decode("utf-8", "replace").splitlines(), Counter())
            if not texts:
                raise ShardError.at(shard.path, self.keys[number], "has no caption", LAYOUT)
            found.append(texts)
        return found
