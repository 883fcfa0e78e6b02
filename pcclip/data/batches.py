"""Whole batches of triples or captioned pictures, made in a worker.

Shape letters: B samples of this rank, L longest text in tokens, D embedding width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from pcclip.data.bank import Bank
from pcclip.data.index import ShardIndex
from pcclip.data.records import Picture, ShardError, Triple, decode_picture, stable_hash
from pcclip.data.sets import SET_FILE, ShardSet
from pcclip.data.stream import GlobalOrder, Ints
from pcclip.data.tokens import TokenTable
from pcclip.errors import PcclipError

Payload = Literal["keys", "pixels"]
Located = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Encoding:
    """What a worker needs of a model to make tensors; it never holds the model itself.

    Attributes:
        tokenizer: texts -> (n, context) ids, padded on the right.
        preprocess: picture -> (3, H, W) pixels.
        trim: cut columns that hold padding only (towers whose padding plays no part).
        pad_id: id of the padding.
    """

    tokenizer: Callable[[list[str]], Tensor]
    preprocess: Callable[[Any], Tensor]
    trim: bool = True
    pad_id: int = 0

    def tokens(self, texts: list[str]) -> Tensor:
        """(B, L) ids, trimmed to the longest text."""
        ids = self.tokenizer(texts)
        if not self.trim:
            return ids
        used = (ids != self.pad_id).any(0).nonzero()
        return ids[:, : int(used[-1]) + 1].contiguous() if len(used) else ids


class Source(Protocol):
    """Records of shards that become parts of a batch."""

    indexes: list[ShardIndex]

    def collate(self, located: Located, epoch: int) -> dict[str, Any]:
        """Make one part of a batch from (shard, record) numbers."""
        ...


def ids(texts: Sequence[str]) -> Tensor:
    """(n,) int64, equal where two strings are."""
    return torch.from_numpy(np.fromiter((stable_hash(t) for t in texts), np.uint64, len(texts)).view(np.int64))


class TripleSource:
    """Triples of either payload.

    Args:
        indexes: of the triple shards.
        payload: `keys` (needs `bank`) or `pixels`.
        encoding: tokenizer and preprocessing.
        bank: embeddings of the pictures that the triples name.
        tokens: ids made beforehand, or None.
    """

    def __init__(
        self,
        indexes: list[ShardIndex],
        payload: Payload,
        encoding: Encoding,
        bank: Bank | None = None,
        tokens: list[TokenTable] | None = None,
    ) -> None:
        """See the class."""
        if (payload == "keys") != (bank is not None):
            raise PcclipError("payload 'keys' needs a bank of embeddings, and 'pixels' takes none")
        check_payload(indexes, payload)
        self.indexes, self.payload, self.encoding, self.bank = indexes, payload, encoding, bank
        self.token_tables = tokens

    def collate(self, located: Located, epoch: int) -> dict[str, Any]:
        """Tokens, ids, keys, and features or pixels of both pictures."""
        triples = []
        for shard, record in located:
            index = self.indexes[shard]
            triples.append(Triple.parse(index.key(record), index.read(record, "json"), index.path))
        texts = [t.difference for t in triples]
        part: dict[str, Any] = {
            "tokens": self._tokens(located, texts),
            "text_id": ids(texts),
            "image1_id": ids([t.image1 for t in triples]),
            "image2_id": ids([t.image2 for t in triples]),
            "keys": [t.key for t in triples],
        }
        if self.bank is not None:
            part["features1"], part["features2"] = self._features(self.bank, located, triples)
        else:
            part["pixels1"] = torch.stack([self._pixels(s, r, "1") for s, r in located])
            part["pixels2"] = torch.stack([self._pixels(s, r, "2") for s, r in located])
        return part

    def _tokens(self, located: Located, texts: list[str]) -> Tensor:
        if self.token_tables is None:
            return self.encoding.tokens(texts)
        return TokenTable.gather(self.token_tables, located, self.encoding.pad_id)

    def _features(self, bank: Bank, located: Located, triples: list[Triple]) -> tuple[Tensor, Tensor]:
        names = [t.image1 for t in triples] + [t.image2 for t in triples]
        rows = bank.find(names)
        if (rows < 0).any():
            at = int(np.flatnonzero(rows < 0)[0])
            shard = self.indexes[located[at % len(triples)][0]].path
            raise ShardError.at(
                shard,
                triples[at % len(triples)].key,
                f"its picture {names[at]!r} is not in the bank {bank.folder} ({len(bank)} pictures)",
                "Build the bank from the picture set that the triples were written for, or remove the record.",
            )
        features = torch.from_numpy(bank.embeddings(rows))
        return features[: len(triples)], features[len(triples) :]

    def _pixels(self, shard: int, record: int, which: str) -> Tensor:
        index = self.indexes[shard]
        present = set(index.extensions(record))
        extension = next((f"{which}.{e}" for e in ("jpg", "png", "jpeg", "webp") if f"{which}.{e}" in present), "")
        if not extension:
            raise ShardError.at(
                index.path,
                index.key(record),
                f"has no picture .{which}.jpg",
                "Use data.payload=keys with a bank, or write the triples with the payload pixels.",
            )
        image = index.read(record, extension)
        return self.encoding.preprocess(decode_picture(image, f"{index.key(record)}.{extension}", index.path))


class CaptionSource:
    """Captioned pictures; of several captions one is drawn by (seed, epoch, key).

    Args:
        indexes: of the picture shards.
        encoding: tokenizer and preprocessing.
        seed: of the draw.
        bank: embeddings of the pictures; None reads and preprocesses pixels.
    """

    def __init__(
        self, indexes: list[ShardIndex], encoding: Encoding, seed: int, bank: Bank | None = None
    ) -> None:
        """See the class."""
        self.indexes, self.encoding, self.seed, self.bank = indexes, encoding, seed, bank

    def collate(self, located: Located, epoch: int) -> dict[str, Any]:
        """Tokens, ids, keys, and features or pixels of the pictures."""
        keys, texts, pixels = [], [], []
        for shard, record in located:
            index = self.indexes[shard]
            picture = Picture.parse(index.key(record), index.read_record(record), index.path)
            keys.append(picture.key)
            texts.append(self._caption(picture, epoch, index.path))
            if self.bank is None:
                image = decode_picture(picture.image, picture.key, index.path)
                pixels.append(self.encoding.preprocess(image))
        part: dict[str, Any] = {
            "tokens": self.encoding.tokens(texts),
            "text_id": ids(texts),
            "image_id": ids(keys),
            "keys": keys,
        }
        if self.bank is None:
            part["pixels"] = torch.stack(pixels)
        else:
            part["features"] = torch.from_numpy(self.bank.embeddings(self.bank.rows(keys)))
        return part

    def _caption(self, picture: Picture, epoch: int, shard: Path) -> str:
        captions = picture.captions or ((picture.caption,) if picture.caption else ())
        if not captions:
            raise ShardError.at(shard, picture.key, "has no caption", "Add KEY.txt, or leave the picture out.")
        return captions[stable_hash(f"{self.seed} {epoch} {picture.key}") % len(captions)]


@dataclass(frozen=True)
class Stream:
    """A source, its order, and how many of its samples a batch of one rank holds."""

    source: Source
    order: GlobalOrder
    batch_size: int


class Batches(Dataset[dict[str, dict[str, Any]]]):
    """(epoch, batch) -> `{"differences": {...}, "captions": {...}}`, of the streams there are.

    The first stream defines the epoch; a second one runs through epochs of its own in step with it.

    Args:
        streams: by name.
        rank: of this process.
        world_size: number of processes.
        training: whole global batches only; otherwise every sample once, the last batch short.
    """

    def __init__(self, streams: dict[str, Stream], rank: int, world_size: int, training: bool) -> None:
        """See the class."""
        self.streams, self.rank, self.world_size, self.training = streams, rank, world_size, training

    def count(self) -> int:
        """Batches of this rank in an epoch."""
        first = next(iter(self.streams.values()))
        if self.training:
            return len(first.order) // (first.batch_size * self.world_size)
        batches = -(-len(first.order) // first.batch_size)
        return (batches - self.rank + self.world_size - 1) // self.world_size

    def __getitem__(self, at: tuple[int, int]) -> dict[str, dict[str, Any]]:
        """One batch of this rank."""
        return {name: self._part(stream, *at) for name, stream in self.streams.items()}

    def _part(self, stream: Stream, epoch: int, batch: int) -> dict[str, Any]:
        size, total = stream.batch_size, len(stream.order)
        if self.training:
            per_epoch = total // (size * self.world_size)
            epoch, batch = divmod(epoch * self.count() + batch, per_epoch)
        start = (batch * self.world_size + self.rank) * size
        positions: Ints = np.arange(start, min(start + size, total))
        shards, records = stream.order.locate(epoch, positions)
        return stream.source.collate(list(zip(shards.tolist(), records.tolist(), strict=True)), epoch)


def check_payload(indexes: Sequence[ShardIndex], payload: Payload) -> None:
    """Refuse sets that say they hold the other payload.

    Raises:
        PcclipError: naming the set.
    """
    for folder in {index.path.parent for index in indexes}:
        if (folder / SET_FILE).is_file():
            held = ShardSet.load(folder)
            if held.kind != "triples":
                raise PcclipError(f"{folder} is a set of {held.kind}, but data.triples wants triples")
            if held.payload == "keys" and payload == "pixels":
                raise PcclipError(
                    f"{folder} holds no pictures (its payload is 'keys'): set data.payload to 'keys' and name "
                    "the picture set in data.pictures"
                )
