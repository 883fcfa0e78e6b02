"""The pictures that a bank is made of, in whole batches by number, and how batches become rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pcclip.crew import Job
from pcclip.data.index import ShardIndex
from pcclip.data.indexes import load_indexes
from pcclip.data.records import IMAGE_EXTENSIONS, ShardError, Triple, decode_picture, image_extension
from pcclip.data.remote.ahead import ahead_in_order
from pcclip.data.remote.index import index_all
from pcclip.data.remote.shard import Shard

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Making:
    """How the rows of a bank are made, in each of the processes that make it.

    Attributes:
        shards: As in `build_bank`, like all others.
        preprocess: RGB picture to pixels (3, H, W).
        encode: Pixels (B, 3, H, W) to embeddings (B, D).
        batch_size: Pictures per call of `encode`.
        num_workers: Processes that decode.
        cache_dir: Of the shards' indexes.
        start_method: Of the workers.
    """

    shards: Sequence[Shard]
    preprocess: Callable[[Image.Image], Tensor]
    encode: Callable[[Tensor], Tensor]
    batch_size: int
    num_workers: int
    cache_dir: Path | None
    start_method: str | None

    @cached_property
    def indexes(self) -> list[ShardIndex]:
        """Of the shards."""
        indexes = load_indexes(self.shards, self.cache_dir)
        index_all(indexes)
        return indexes

    @property
    def source(self) -> list[dict[str, Any]]:
        """What the pictures come from, as `bank.json` says it."""
        return [{"name": i.path.name, "records": len(i), "bytes": i.stamp[0]} for i in self.indexes]

    @cached_property
    def pictures(self) -> BankPictures:
        """All of them."""
        index_all(self.indexes, known_too=True)
        return BankPictures(self.indexes, self.preprocess, self.batch_size)

    def job(self, first: int) -> Job[Tensor | str]:
        """The batches from number `first` on."""
        count = -(-len(self.pictures.keys) // self.batch_size) - first
        return Job(count, lambda numbers: self._loader([first + n for n in numbers]), self._rows)

    def _loader(self, batches: Sequence[int]) -> Iterator[Tensor | str]:
        import torch
        from torch.utils.data import DataLoader

        from pcclip.data.stream import leave_signals_to_the_main_process
        from pcclip.data.workers import check_temporary_folder

        if self.num_workers:
            check_temporary_folder()
        loader: DataLoader[Any] = DataLoader(
            self.pictures,  # type: ignore[arg-type]  # a map-style dataset, without importing torch
            batch_size=None,
            sampler=batches,
            num_workers=self.num_workers,
            worker_init_fn=leave_signals_to_the_main_process,
            pin_memory=torch.cuda.is_available(),
            multiprocessing_context=self.start_method if self.num_workers else None,
        )
        return iter(loader)

    def _rows(self, pixels: Tensor | str) -> npt.NDArray[np.float32]:
        import torch

        if isinstance(pixels, str):
            raise ShardError(pixels)
        with torch.inference_mode():
            rows: npt.NDArray[np.float32] = self.encode(pixels).float().cpu().numpy()
        return rows


class BankPictures:
    """Whole batches of preprocessed pictures by batch number; an error comes as its text.

    A picture record holds one picture, named by its key; a triple of payload `pixels` holds two, named in its
    JSON, and counts once: not for every triple, nor where a picture set before them holds it too.

    (An exception that crosses a DataLoader's process border arrives wrapped in a traceback.)
    """

    def __init__(
        self, indexes: Sequence[ShardIndex], preprocess: Callable[[Image.Image], Tensor], batch_size: int
    ) -> None:
        self.indexes = indexes
        self.preprocess = preprocess
        self.batch_size = batch_size
        self.keys: list[str] = []
        places: list[tuple[int, int, int]] = []
        seen: set[str] = set()
        for shard, index in enumerate(indexes):
            for record in range(len(index)):
                named = _named(index, record)
                for side, key in named:
                    if side == 0 or key not in seen:
                        places.append((shard, record, side))
                        self.keys.append(key)
                seen.update(key for _, key in named)
        self.places = np.array(places, np.int32).reshape(-1, 3)
        self._ahead = ahead_in_order(indexes, np.bincount(self.places[:, 0], minlength=len(indexes)).tolist())

    def __getitem__(self, batch: int) -> Tensor | str:
        import torch

        first = batch * self.batch_size
        last = min(first + self.batch_size, len(self.places))
        if self._ahead is not None:
            self._ahead.enter(0, first)
        try:
            return torch.stack([self._pixels(row) for row in range(first, last)])
        except ShardError as error:
            return str(error)

    def _pixels(self, row: int) -> Tensor:
        shard, record, side = self.places[row].tolist()
        index = self.indexes[shard]
        name = index.key(record) + (f".{side}" if side else "")
        extension = _extension(index.extensions(record), side)
        if extension is None:
            raise ShardError.at(
                index.path,
                name,
                "has no picture",
                "An embedding bank is made of a picture set, or of triples with pixels: check the setting.",
            )
        return self.preprocess(decode_picture(index.read(record, extension), name, index.path))


def _named(index: ShardIndex, record: int) -> list[tuple[int, str]]:
    """Side (0 for a picture record, 1 and 2 in a triple) and key of each picture in a record."""
    if _extension(index.extensions(record), 1) is None:
        return [(0, index.key(record))]
    triple = Triple.parse(index.key(record), index.read(record, "json"), index.path)
    return [(1, triple.image1), (2, triple.image2)]


def _extension(present: Sequence[str], side: int) -> str | None:
    if not side:
        return image_extension(present)
    return next((f"{side}.{e}" for e in IMAGE_EXTENSIONS if f"{side}.{e}" in present), None)
