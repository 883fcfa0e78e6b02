"""Existing image-text WebDatasets, as img2dataset writes them: read where they lie, not written again."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from pcclip.data.progress import progress_bar
from pcclip.data.records import Picture, ShardError, image_extension, stable_hash
from pcclip.data.sets import MARKER
from pcclip.data.shards import SET_FILE, ShardIndex, load_indexes, resolve_shards
from pcclip.data.sources.base import SPLITS, Split
from pcclip.data.sources.captions import told, usable
from pcclip.data.sources.splits import SharedOut
from pcclip.errors import PcclipError
from pcclip.untrusted import parse_json

_log = logging.getLogger(__name__)
_LEFT_OUT = -1
_LONG = 100_000  # records from which on a pass is worth a progress bar


@dataclass
class WebDataset(SharedOut):
    """Pictures and captions of tar shards: KEY.jpg (or .png, .webp), KEY.txt, KEY.json.

    A caption is KEY.txt, else "caption" in KEY.json; sets that pcclip wrote have all captions, the class and
    attributes in KEY.json. Records without a picture or a caption are counted and left out.

    Args:
        shards: A folder of tars, a glob, a brace pattern, or a list of these.
        label: Key in KEY.json whose value is the class, if there is one.
        cache_dir: Where the shards' indexes are kept; null: in the folder of the shards.
        name: Of the set.
        licence: Of pictures and captions, for the cards of sets made from them.
    """

    shards: str | list[str]
    label: str | None = None
    cache_dir: str | None = None
    name: str = "webdataset"
    licence: str = "unknown: see where the pictures and captions came from"

    places: ClassVar[tuple[str, ...]] = ("shards", "cache_dir")

    def material(self) -> dict[str, Any]:
        """Which shards: their names and sizes."""
        return {"shards": [(index.path.name, index.stamp[0]) for index in self._indexes]}

    def count(self, split: Split) -> int:
        """How many pictures with captions the split has; the first call reads all texts once."""
        wanted = SPLITS.index(split)
        return sum(int((splits == wanted).sum()) for splits in self._splits)

    def pictures(self, split: Split) -> Iterator[Picture]:
        """The pictures of a split, in the order of the shards."""
        return self._read(split, with_image=True)

    def texts(self, split: Split) -> Iterator[Picture]:
        """The same without reading pictures."""
        return self._read(split, with_image=False)

    def image(self, key: str) -> bytes:
        """Reads one picture, found by its key."""
        hashes, places = self._places
        wanted = np.uint64(stable_hash(key))
        at = int(np.searchsorted(hashes, wanted))
        while at < len(hashes) and hashes[at] == wanted:
            shard, record = (int(n) for n in places[at])
            index = self._indexes[shard]
            if index.key(record) == key and (extension := image_extension(index.extensions(record))):
                return index.read(record, extension)
            at += 1
        raise PcclipError(f"{self.shards}: no shard has a picture {key!r}. Is it a key of another set?")

    def skipped(self) -> dict[str, int]:
        """Records and captions that were left out, by reason."""
        _ = self._splits
        return dict(self._skipped)

    @cached_property
    def _skipped(self) -> Counter[str]:
        return Counter()

    @cached_property
    def _indexes(self) -> list[ShardIndex]:
        specs = [self.shards] if isinstance(self.shards, str) else self.shards
        cache = Path(self.cache_dir) if self.cache_dir else None
        return load_indexes(resolve_shards([_tars(spec) for spec in specs]), cache)

    @cached_property
    def _splits(self) -> list[npt.NDArray[np.int8]]:
        """For each shard, the number of each record's split; -1 where it is left out."""
        self._skipped.clear()
        total = sum(map(len, self._indexes))
        found = []
        with progress_bar(total >= _LONG) as bar:
            task = bar.add_task(f"{self.name}: read captions", total=total)
            for index in self._indexes:
                found.append(np.full(len(index), _LEFT_OUT, np.int8))
                for record in range(len(index)):
                    if self._parse(index, record, False, self._skipped) is not None:
                        found[-1][record] = SPLITS.index(self.split_of(index.key(record)))
                bar.advance(task, len(index))
        kept = sum(int((splits >= 0).sum()) for splits in found)
        pictures, captions = told(self._skipped, "picture"), told(self._skipped, "caption")
        line = f"{self.shards}: {kept:,} of {total:,} records are used"
        line += f"; records left out: {pictures}" if pictures else ""
        line += f"; captions left out: {captions}" if captions else ""
        if not kept:
            raise PcclipError(f"{line}. A record is KEY.jpg (or .png, .webp) with KEY.txt or KEY.json.")
        if pictures or captions:
            _log.warning(line)
        return found

    @cached_property
    def _places(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint32]]:
        """Sorted hashes of all keys, and their shard and record."""
        total = sum(map(len, self._indexes))
        hashes = np.fromiter(
            (stable_hash(key) for index in self._indexes for key in index.keys), np.uint64, total
        )
        shards = np.repeat(np.arange(len(self._indexes), dtype=np.uint32), [len(i) for i in self._indexes])
        records = np.concatenate([np.arange(len(index), dtype=np.uint32) for index in self._indexes])
        order = np.argsort(hashes, kind="stable")
        return hashes[order], np.stack([shards, records], axis=1)[order]

    def _read(self, split: Split, with_image: bool) -> Iterator[Picture]:
        wanted, ignored = SPLITS.index(split), Counter[str]()
        for index, splits in zip(self._indexes, self._splits, strict=True):
            for record in np.flatnonzero(splits == wanted).tolist():
                picture = self._parse(index, record, with_image, ignored)
                if picture is not None:
                    yield picture

    def _parse(
        self, index: ShardIndex, record: int, with_image: bool, skipped: Counter[str]
    ) -> Picture | None:
        present = index.extensions(record)
        extension = image_extension(present)
        if extension is None:
            skipped["picture missing"] += 1
            return None
        members: dict[str, bytes] = {
            name: index.read(record, name) for name in ("txt", "json") if name in present
        }
        members[extension] = index.read(record, extension) if with_image else b""
        try:
            picture = Picture.parse(index.key(record), members, index.path)
        except ShardError:
            skipped["picture whose txt or json cannot be read"] += 1
            return None
        captions = usable(picture.captions, skipped)
        if not captions:
            skipped["picture without a caption"] += 1
            return None
        kind = picture.class_name if self.label is None else _label(members.get("json", b"{}"), self.label)
        return replace(picture, caption=captions[0], captions=captions, class_name=kind)


def _tars(spec: str) -> str:
    """A folder that pcclip did not write stands for the tars in it."""
    folder = Path(spec)
    if folder.is_dir() and not (folder / SET_FILE).exists() and not (folder / MARKER).exists():
        return f"{spec.rstrip('/')}/*.tar"
    return spec


def _label(raw: bytes, key: str) -> str | None:
    known: Sequence[Any] | dict[str, Any] = parse_json(raw)
    value = known.get(key) if isinstance(known, dict) else None
    return None if value is None else str(value)
