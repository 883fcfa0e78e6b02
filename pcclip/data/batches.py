"""Whole batches of triples or captioned pictures, made from shards, in a worker or not.

Shape letters: B records of this rank, L longest text in tokens, D embedding width.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from pcclip.data.bank import Bank
from pcclip.data.index import ShardIndex
from pcclip.data.present import Kept
from pcclip.data.records import (
    IMAGE_EXTENSIONS,
    Payload,
    Picture,
    ShardError,
    Triple,
    decode_picture,
    stable_hash,
)
from pcclip.data.remote.ahead import ReadAhead, room_for
from pcclip.data.remote.shard import RemoteShard
from pcclip.data.sets import SET_FILE, ShardSet
from pcclip.data.stream import At, Cut, Failure, GlobalOrder
from pcclip.data.tokens import Ragged, TextTokens, TokenTable, gather
from pcclip.errors import PcclipError

Part = dict[str, Any]
Located = Sequence[tuple[int, int]]
"""Shard number and record number, of each record of a batch."""
Preprocess = Callable[[Image.Image], Tensor]

_POSITIVE = (1 << 63) - 1


class Source(Protocol):
    """Makes parts of batches from the records of some shards."""

    indexes: Sequence[ShardIndex]
    lengths: Sequence[int]

    def collate(self, located: Located, epoch: int) -> Part:
        """One part of a batch."""
        ...


class TripleSource:
    """Triples of either payload.

    Args:
        indexes: Of the triple shards.
        payload: `keys` joins the pictures' embeddings from `bank`; `pixels` decodes those in the shards.
        texts: Makes token ids.
        bank: Holds the pictures' embeddings; needed for the payload `keys`.
        preprocess: RGB picture to (3, H, W), for the payload `pixels` without a bank.
        tables: Precomputed tokens of each shard, instead of `texts` on the fly.
        kept: For each shard the numbers of the records that are used; all where None.

    Attributes:
        lengths: How many records of each shard are used.

    Raises:
        PcclipError: The shards hold another payload or no triples.
    """

    def __init__(
        self,
        indexes: Sequence[ShardIndex],
        payload: Payload,
        texts: TextTokens,
        bank: Bank | None = None,
        preprocess: Preprocess | None = None,
        tables: Sequence[TokenTable] | None = None,
        kept: Sequence[Kept] | None = None,
    ) -> None:
        if (bank is None) == (preprocess is None) or (bank is None and payload == "keys"):
            raise ValueError("payload 'keys' takes a bank, payload 'pixels' a bank or a preprocessing")
        check_payload(indexes, payload)
        self.indexes = indexes
        self.lengths: Sequence[int] = [len(records) for records in (indexes if kept is None else kept)]
        self._kept = kept
        self._texts = texts
        self._bank = bank
        self._preprocess = preprocess
        self._tables = tables

    def collate(self, located: Located, epoch: int) -> Part:
        """Makes a batch.

        Returns:
            `tokens` (B, L); `lengths`, their B real numbers (NumPy, int64); `text_id`, `image1_id` and
            `image2_id` (B,) int64, equal where texts or keys are; `keys`, B record keys (NumPy); and
            `features1`, `features2` (B, D) unit rows, or `pixels1`, `pixels2` (B, 3, H, W).

        Raises:
            ShardError: A record is no triple, or a picture of it is missing or cannot be decoded.
        """
        located = self.records(located)
        triples = []
        for shard, record in located:
            index = self.indexes[shard]
            triples.append(Triple.parse(index.key(record), index.read(record, "json"), index.path))
        texts = [triple.difference for triple in triples]
        ragged = self._texts.ragged(texts) if self._tables is None else gather(self._tables, located)
        part: Part = {
            **_tokens(self._texts, ragged),
            "text_id": stable_ids(texts),
            "image1_id": stable_ids([triple.image1 for triple in triples]),
            "image2_id": stable_ids([triple.image2 for triple in triples]),
            "keys": np.array([triple.key for triple in triples]),
        }
        if self._bank is not None:
            part["features1"], part["features2"] = self._features(self._bank, located, triples)
        if self._preprocess is not None:
            part["pixels1"] = self._pixels(self._preprocess, located, "1")
            part["pixels2"] = self._pixels(self._preprocess, located, "2")
        return part

    def records(self, located: Located) -> Located:
        """Numbers within the shards of records that are numbered among those in use."""
        if self._kept is None:
            return located
        return [(shard, int(self._kept[shard][record])) for shard, record in located]

    def _features(self, bank: Bank, located: Located, triples: list[Triple]) -> tuple[Tensor, Tensor]:
        names = [triple.image1 for triple in triples] + [triple.image2 for triple in triples]
        rows = bank.find(names)
        missing = np.flatnonzero(rows < 0)
        if len(missing):
            at = int(missing[0]) % len(triples)
            raise ShardError.at(
                self.indexes[located[at][0]].path,
                triples[at].key,
                f"the bank {bank.folder} has no picture {names[int(missing[0])]!r}, which it compares",
                "Build the bank from the picture set that these triples are about, or set "
                "data.missing_pictures to 'leave_out'.",
            )
        features = torch.from_numpy(bank.embeddings(rows))
        return features[: len(triples)], features[len(triples) :]

    def _pixels(self, preprocess: Preprocess, located: Located, which: str) -> Tensor:
        pixels = []
        for shard, record in located:
            index = self.indexes[shard]
            present = index.extensions(record)
            extension = next((f"{which}.{e}" for e in IMAGE_EXTENSIONS if f"{which}.{e}" in present), None)
            if extension is None:
                raise ShardError.at(
                    index.path,
                    index.key(record),
                    f"has no picture .{which}.jpg, only {', '.join('.' + name for name in present)}",
                    "Set data.payload to 'keys' and name a bank, or write the triples with their pictures.",
                )
            name = f"{index.key(record)}.{extension}"
            pixels.append(preprocess(decode_picture(index.read(record, extension), name, index.path)))
        return torch.stack(pixels)


class CaptionSource:
    """Captioned pictures; of several captions one is drawn by (seed, epoch, key).

    Args:
        indexes: Of the picture shards.
        texts: Makes token ids.
        images: A bank that holds the pictures, or a preprocessing of RGB pictures to (3, H, W).
        seed: Of the draw of captions, and of `images` where it is random.
        augments: Whether `images` is a random preprocessing; it then draws by (seed, epoch, key).
    """

    def __init__(
        self,
        indexes: Sequence[ShardIndex],
        texts: TextTokens,
        images: Bank | Preprocess,
        seed: int = 0,
        augments: bool = False,
    ) -> None:
        check_payload(indexes, None)
        self.indexes = indexes
        self.lengths: Sequence[int] = [len(index) for index in indexes]
        self._texts = texts
        self._images = images
        self._seed = seed
        self._augments = augments

    def collate(self, located: Located, epoch: int) -> Part:
        """Makes a batch.

        Returns:
            `tokens` (B, L); `lengths`, their B real numbers (NumPy, int64); `text_id`, `image_id` (B,) int64,
            `keys`, and `features` (B, D) unit rows or `pixels` (B, 3, H, W).

        Raises:
            ShardError: A picture has no caption, or cannot be decoded.
            BankError: A picture is not in the bank.
        """
        pictures = []
        for shard, record in located:
            index = self.indexes[shard]
            pictures.append(Picture.parse(index.key(record), index.read_record(record), index.path))
        shards = [self.indexes[shard].path for shard, _ in located]
        texts = [self._caption(p, s, epoch) for p, s in zip(pictures, shards, strict=True)]
        keys = [picture.key for picture in pictures]
        part: Part = {
            **_tokens(self._texts, self._texts.ragged(texts)),
            "text_id": stable_ids(texts),
            "image_id": stable_ids(keys),
            "keys": np.array(keys),
        }
        if isinstance(self._images, Bank):
            part["features"] = torch.from_numpy(self._images.embeddings(self._images.rows(keys)))
        else:
            decoded = (decode_picture(p.image, p.key, s) for p, s in zip(pictures, shards, strict=True))
            rows = [self._pixels(self._images, i, k, epoch) for i, k in zip(decoded, keys, strict=True)]
            part["pixels"] = torch.stack(rows)
        return part

    def _caption(self, picture: Picture, shard: object, epoch: int) -> str:
        if not picture.captions:
            raise ShardError.at(
                shard, picture.key, "has no caption", f"Add {picture.key}.txt, or leave the picture out."
            )
        return picture.captions[
            stable_hash(f"caption {self._seed} {epoch} {picture.key}") % len(picture.captions)
        ]

    def _pixels(self, preprocess: Preprocess, image: Image.Image, key: str, epoch: int) -> Tensor:
        if not self._augments:
            return preprocess(image)
        drawn = stable_hash(f"augment {self._seed} {epoch} {key}")
        before = random.getstate()  # some transforms draw from torch, some from random
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(drawn & _POSITIVE)
                random.seed(drawn)
                return preprocess(image)
        finally:
            random.setstate(before)


def _tokens(texts: TextTokens, ragged: Ragged) -> Part:
    # Lengths stay on the host, so that the text tower need not ask a GPU for them; as an array, as keys are,
    # because trainers walk through lists element by element to find tensors.
    return {"tokens": texts.pad(*ragged), "lengths": ragged[1]}


@dataclass(frozen=True)
class Stream:
    """Records in an order, cut into this rank's batches; `make_stream` makes one."""

    source: Source
    order: GlobalOrder
    cut: Cut
    ahead: ReadAhead | None = None

    def part(self, epoch: int, batch: int) -> Part:
        """This rank's batch number `batch` of an epoch."""
        if self.ahead is not None:
            self.ahead.enter(epoch, int(self.cut.positions(batch)[0]))
        return self.source.collate(self.located(epoch, batch), epoch)

    def located(self, epoch: int, batch: int) -> Located:
        """Where the records of that batch lie, among those in use."""
        shards, records = self.order.locate(epoch, self.cut.positions(batch))
        return list(zip(shards.tolist(), records.tolist(), strict=True))


def make_stream(
    source: Source,
    what: str,
    batch_size: int,
    *,
    rank: int = 0,
    world: int = 1,
    training: bool = True,
    seed: int = 0,
    shuffle_shards: int = 16,
    room: int | None = None,
) -> Stream:
    """A shuffled stream of full batches for training, or every record once in order for validation.

    Args:
        source: Of the records.
        what: Names the data in errors.
        batch_size: Records per rank and batch.
        rank: Of this process.
        world: Number of processes.
        training: Which of both.
        seed: Of the shuffling.
        shuffle_shards: Shards whose records are mixed.
        room: Bytes of the cache for shards at URLs, where several streams share it (`room_for`).

    Raises:
        PcclipError: There are too few records, or the cache is too small for those mixed at a time.
    """
    order = GlobalOrder(list(source.lengths), seed, training, shuffle_shards)
    cut = Cut(len(order), batch_size, rank, world, whole=not training)
    cut.check(what, len(source.indexes))
    room = room_for([(what, source.indexes, shuffle_shards if training else 1)]) if room is None else room
    return Stream(source, order, cut, ReadAhead(source.indexes, order, room, training) if room else None)


class TrainingBatches(Dataset[dict[str, Part] | Failure]):
    """One part of every stream per batch; the first stream defines the epoch.

    The others go through epochs of their own, as often as they have to, in step with it.

    Args:
        streams: By the part's name in the batch.
    """

    def __init__(self, streams: Mapping[str, Stream]) -> None:
        self.streams = dict(streams)
        self.steps = len(next(iter(self.streams.values())).cut)

    def __getitem__(self, at: At) -> dict[str, Part] | Failure:
        step = at[0] * self.steps + at[1]
        try:
            return {name: s.part(*divmod(step, len(s.cut))) for name, s in self.streams.items()}
        except PcclipError as error:
            return Failure(error)


class ValidationBatches(Dataset[dict[str, Part] | Failure]):
    """The batches of the first stream, then those of the next: a batch has one part.

    Args:
        streams: By the part's name in the batch.
    """

    def __init__(self, streams: Mapping[str, Stream]) -> None:
        self._places = [(name, s, b) for name, s in streams.items() for b in range(len(s.cut))]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, at: At) -> dict[str, Part] | Failure:
        name, stream, batch = self._places[at[1]]
        try:
            return {name: stream.part(0, batch)}
        except PcclipError as error:
            return Failure(error)


def stable_ids(names: Sequence[str]) -> Tensor:
    """(n,) int64 in [0, 2^63), the same for the same string in every process."""
    return torch.from_numpy(np.fromiter((stable_hash(n) & _POSITIVE for n in names), np.int64, len(names)))


def check_payload(indexes: Sequence[ShardIndex], payload: Payload | None) -> None:
    """Refuses shards of a set whose `set.json` says that it holds something else.

    Args:
        indexes: Of the shards.
        payload: Of triples; None where pictures are wanted.

    Raises:
        PcclipError: It names the set, what it holds and the setting.
    """
    kind = "pictures" if payload is None else "triples"
    for folder, held in _sets_of(indexes):
        if held.kind != kind:
            raise PcclipError(f"{folder}: is a set of {held.kind}, but {kind} are wanted. Check the setting.")
        if held.payload != payload:
            other = (
                "name a bank in data.bank" if held.payload == "keys" else "its pictures go through the tower"
            )
            raise PcclipError(
                f"{folder}: its triples have the payload {held.payload!r}, but data.payload is {payload!r}. "
                f"Set data.payload to {held.payload!r} ({other}), or write the triples again."
            )


def _sets_of(indexes: Sequence[ShardIndex]) -> list[tuple[object, ShardSet | RemoteShard]]:
    """Folder or URL of each set that has a `set.json`, and what that says of it."""
    shards = [index.path for index in indexes]
    remote = {s.parent: s for s in shards if isinstance(s, RemoteShard) and s.kind is not None}
    local = sorted({s.parent for s in shards if isinstance(s, Path)})
    found: list[tuple[object, ShardSet | RemoteShard]] = [*remote.items()]
    return found + [(f, ShardSet.load(f)) for f in local if (f / SET_FILE).is_file()]
