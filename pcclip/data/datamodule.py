"""The LightningDataModule: from settings to loaders of whole batches."""

from __future__ import annotations

import hashlib
import multiprocessing
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from pcclip.data.bank import Bank, build_bank
from pcclip.data.batches import Batches, CaptionSource, Encoding, Payload, Source, Stream, TripleSource
from pcclip.data.index import ShardIndex
from pcclip.data.sets import resolve_shards
from pcclip.data.stream import GlobalOrder, ResumableLoader
from pcclip.data.tokens import tokenize_shards
from pcclip.errors import PcclipError

Shards = str | list[str]


class DifferenceData(LightningDataModule):
    """Streams triples, captioned pictures, or both in step, from WebDataset shards.

    Args:
        triples: training triples: a folder, glob, brace pattern or a list of them.
        validation_triples: triples of the validation loss.
        payload: `keys` joins embeddings from the bank; `pixels` reads the pictures in the shards.
        pictures: picture sets that the bank is built from, on demand.
        bank: folder of the embedding bank of `pictures`.
        captions: captioned pictures to train on, alone or in step with the triples.
        validation_captions: captioned pictures of the validation loss.
        batch_size: triples per rank and step.
        caption_batch_size: captioned pictures per rank and step; `batch_size` if null.
        num_workers: processes that make batches.
        seed: of the order of samples.
        shuffle_shards: consecutive shards whose records are mixed.
        precompute_tokens: tokenise all triples once, into sidecars.
        cache_dir: of indexes and sidecars; beside the shards if null.
        start_method: how workers start; Python's default if null.
    """

    def __init__(
        self,
        triples: Shards | None = None,
        validation_triples: Shards | None = None,
        payload: Payload = "keys",
        pictures: Shards | None = None,
        bank: str | None = None,
        captions: Shards | None = None,
        validation_captions: Shards | None = None,
        batch_size: int = 512,
        caption_batch_size: int | None = None,
        num_workers: int = 1,
        seed: int = 0,
        shuffle_shards: int = 16,
        precompute_tokens: bool = False,
        cache_dir: str | None = None,
        start_method: Literal["fork", "spawn", "forkserver"] | None = None,
    ) -> None:
        """See the class."""
        super().__init__()
        if triples is None and captions is None:
            raise PcclipError("data.triples and data.captions are both null: name training data")
        if triples is not None and payload == "keys" and bank is None:
            raise PcclipError("data.payload is 'keys' but data.bank is null: name the folder of the bank")
        self.triples, self.validation_triples, self.payload = triples, validation_triples, payload
        self.pictures, self.bank = pictures, bank
        self.captions, self.validation_captions = captions, validation_captions
        self.batch_size = batch_size
        self.caption_batch_size = caption_batch_size or batch_size
        self.num_workers, self.seed, self.shuffle_shards = num_workers, seed, shuffle_shards
        self.precompute_tokens, self.start_method = precompute_tokens, start_method
        self.cache_dir = Path(cache_dir) if cache_dir else None

    def train_dataloader(self) -> ResumableLoader:
        """Shuffled whole global batches; the triples, if any, define the epoch."""
        streams = {}
        if self.triples is not None:
            source = self._triple_source(self.triples)
            streams["differences"] = self._stream(source, self.batch_size, "triples", self.triples)
        if self.captions is not None:
            captions = CaptionSource(self._indexes(self.captions), self._encoding(), self.seed)
            streams["captions"] = self._stream(captions, self.caption_batch_size, "captions", self.captions)
        return self._loader(streams, training=True)

    def val_dataloader(self) -> ResumableLoader | list[Any]:
        """Every sample once, in order; none if no validation data is named."""
        streams: list[dict[str, Stream]] = []
        if self.validation_triples is not None and self.triples is not None:
            source: Source = self._triple_source(self.validation_triples)
            streams.append({"differences": self._validation(source, self.batch_size)})
        if self.validation_captions is not None:
            source = CaptionSource(self._indexes(self.validation_captions), self._encoding(), self.seed)
            streams.append({"captions": self._validation(source, self.caption_batch_size)})
        if len(streams) > 1:
            return [self._loader(s, training=False) for s in streams]
        return self._loader(streams[0], training=False) if streams else []

    def test_dataloader(self) -> ResumableLoader | list[Any]:
        """The validation loader: `test` is about the evaluations, which bring their own pictures."""
        return self.val_dataloader()

    # -- parts -------------------------------------------------------------------------------

    def _towers(self) -> Any:
        assert self.trainer is not None
        return self.trainer.lightning_module.towers

    def _encoding(self) -> Encoding:
        towers = self._towers()
        return Encoding(towers.tokenizer, towers.preprocess, towers.ragged, towers.pad_id)

    def _indexes(self, shards: Shards) -> list[ShardIndex]:
        return [ShardIndex.load(path, self.cache_dir) for path in resolve_shards(shards)]

    def _triple_source(self, shards: Shards) -> TripleSource:
        indexes = self._indexes(shards)
        encoding = self._encoding()
        tables = None
        if self.precompute_tokens:
            fingerprint = self._towers().tokenizer_fingerprint()
            tables = tokenize_shards(indexes, encoding.tokenizer, fingerprint, encoding.pad_id, self.cache_dir)
        bank = self._open_bank() if self.payload == "keys" else None
        return TripleSource(indexes, self.payload, encoding, bank, tables)

    def _open_bank(self) -> Bank:
        """Open the bank, or build it: one process works, the others wait."""
        assert self.bank is not None
        towers = self._towers()
        if not towers.image_frozen:
            raise PcclipError(
                "data.payload is 'keys', but the image tower trains, and a bank would go stale: "
                "use data.payload=pixels, or a model.trainable that leaves the image tower alone"
            )
        fingerprint = towers.image_fingerprint()
        if Path(self.bank).exists() or self.pictures is None:
            return Bank.open(self.bank, fingerprint)
        device = next(towers.parameters()).device

        def encode(pixels: Tensor) -> Tensor:
            with torch.autocast(device.type, enabled=False):
                return towers.encode_images(pixels.to(device)).float()

        return build_bank(
            self.bank,
            resolve_shards(self.pictures),
            towers.preprocess,
            encode,
            fingerprint,
            towers.embed_dim,
            num_workers=self.num_workers,
            cache_dir=self.cache_dir,
            start_method=self.start_method,
        )

    def _stream(self, source: Source, batch_size: int, key: str, shards: Shards) -> Stream:
        assert self.trainer is not None
        order = GlobalOrder([len(i) for i in source.indexes], self.seed, True, self.shuffle_shards)
        group = batch_size * self.trainer.world_size
        if len(order) < group:
            raise PcclipError(
                f"data.{key}={shards}: too few records: {len(order)} in {len(source.indexes)} shards, but one "
                f"global batch takes {group} ({self.trainer.world_size} ranks x {batch_size}). Lower the batch "
                "size, use fewer ranks, or make more data"
            )
        return Stream(source, order, batch_size)

    def _validation(self, source: Source, batch_size: int) -> Stream:
        return Stream(source, GlobalOrder([len(i) for i in source.indexes], 0, False), batch_size)

    def _loader(self, streams: dict[str, Stream], training: bool) -> ResumableLoader:
        trainer = self.trainer
        assert trainer is not None
        if trainer.world_size > 1 and trainer._accelerator_connector.use_distributed_sampler:
            raise PcclipError("set trainer.use_distributed_sampler to false: the stream splits by itself")
        batches = Batches(streams, trainer.global_rank, trainer.world_size, training)
        return ResumableLoader(
            batches,
            batches.count(),
            self._identity(streams, trainer.world_size) if training else {},
            num_workers=self.num_workers,
            multiprocessing_context=self._context(),
            persistent_workers=self.num_workers > 0 and training,
            prefetch_factor=4 if self.num_workers else None,
            pin_memory=trainer.strategy.root_device.type == "cuda",
        )

    def _context(self) -> Any:
        if not self.num_workers or self.start_method is None:
            return None
        return multiprocessing.get_context(self.start_method)

    def _identity(self, streams: dict[str, Stream], world_size: int) -> dict[str, Any]:
        """What a resumed run must share; the number of ranks may change, the global batch may not."""
        digest = hashlib.sha256()
        for name, stream in streams.items():
            for index in stream.source.indexes:
                digest.update(f"{name} {index.path.name} {len(index)} {index.stamp[0]}".encode())
        sizes = "+".join(str(s.batch_size * world_size) for s in streams.values())
        return {
            "seed": self.seed,
            "global batch": sizes,
            "shuffle_shards": self.shuffle_shards,
            "shards": digest.hexdigest()[:16],
        }
