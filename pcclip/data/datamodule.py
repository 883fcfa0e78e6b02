"""The LightningDataModule: from settings to loaders of whole batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_info
from torch import Tensor

from pcclip.crew import Crew
from pcclip.data.bank import Bank, build_bank
from pcclip.data.batches import (
    CaptionSource,
    Preprocess,
    Source,
    Stream,
    TrainingBatches,
    TripleSource,
    ValidationBatches,
    check_payload,
    make_stream,
)
from pcclip.data.identity import identity
from pcclip.data.index import ShardIndex
from pcclip.data.indexes import load_indexes
from pcclip.data.present import keep_present
from pcclip.data.records import Payload
from pcclip.data.remote.ahead import room_for
from pcclip.data.remote.cache import Counts, ShardCache
from pcclip.data.remote.index import index_all
from pcclip.data.remote.options import RemoteOptions
from pcclip.data.remote.shard import Shard, check_url, is_url
from pcclip.data.sets import resolve_shards
from pcclip.data.stream import BatchLoader, ResumableLoader, check_identity
from pcclip.data.tokens import TextTokens, token_tables, tokenize_shards
from pcclip.errors import PcclipError

Shards = str | list[str]


class DifferenceData(LightningDataModule):
    """Streams triples, captioned pictures, or both in step, from WebDataset shards.

    A training batch has a part `differences`, a part `captions`, or both; a validation batch has one of them.
    The tokenizer, the preprocessing and the image tower are those of the trainer's module (`module.towers`).

    Args:
        triples: Training triples: a folder, glob, brace pattern, the URL of one, or a list of them.
        validation_triples: Triples of the validation loss.
        payload: What the triples' shards hold: `keys` joins embeddings from the bank; `pixels` sends the
            pictures through the tower, at every step or once, into a bank, if one is named.
        pictures: Picture sets that the bank is built from where it does not exist yet.
        bank: Folder of the embedding bank. With `pixels` it is built from the triples' own pictures (and
            `pictures`, if any). Captioned pictures are looked up in it, too, unless it is of triples alone.
        missing_pictures: What to do with triples whose pictures are not in the bank: `refuse`, which stops
            the run, or `leave_out`, which counts them in the log.
        captions: Captioned pictures to train on, alone or in step with the triples, which define the epoch.
        validation_captions: Captioned pictures of the validation loss.
        batch_size: Triples per rank and step.
        caption_batch_size: Captioned pictures per rank and step; `batch_size` if null.
        augment: Whether captioned pictures are cropped at random (open_clip's training transform).
        num_workers: Processes per rank that make batches.
        seed: Of the order of samples and the draw of captions.
        shuffle_shards: Shards whose records are mixed with one another.
        precompute_tokens: Tokenize all triples once, into files beside the shards.
        cache_dir: For the shards' indexes and tokens instead of beside the shards.
        start_method: How workers start; Python's default if null.
        remote: How shards at URLs are fetched and kept.
    """

    def __init__(
        self,
        triples: Shards | None = None,
        validation_triples: Shards | None = None,
        payload: Payload = "keys",
        pictures: Shards | None = None,
        bank: str | None = None,
        missing_pictures: Literal["refuse", "leave_out"] = "refuse",
        captions: Shards | None = None,
        validation_captions: Shards | None = None,
        batch_size: int = 512,
        caption_batch_size: int | None = None,
        augment: bool = False,
        num_workers: int = 1,
        seed: int = 0,
        shuffle_shards: int = 16,
        precompute_tokens: bool = False,
        cache_dir: str | None = None,
        start_method: Literal["fork", "spawn", "forkserver"] | None = None,
        remote: RemoteOptions | None = None,
    ) -> None:
        super().__init__()
        if triples is None and captions is None:
            raise PcclipError("data.triples and data.captions are both null: name training data")
        named = triples is not None or validation_triples is not None
        if named and payload == "keys" and bank is None:
            raise PcclipError(
                "data.payload is 'keys' but data.bank is null: name the bank's folder, and in data.pictures "
                "the set to build it from; or set data.payload to 'pixels'"
            )
        if augment and bank is not None:
            raise PcclipError("data.augment needs pixels, but data.bank replaces them: unset one of the two")
        counts = {
            "batch_size": batch_size,
            "caption_batch_size": caption_batch_size,
            "num_workers": num_workers,
        }
        for name, count in counts.items():
            least = 0 if name == "num_workers" else 1
            if count is not None and count < least:
                raise PcclipError(f"data.{name}={count}: give at least {least}")
        self.triples, self.validation_triples, self.payload = triples, validation_triples, payload
        self.pictures, self.bank, self.missing_pictures = pictures, bank, missing_pictures
        self.captions, self.validation_captions = captions, validation_captions
        self.batch_size = batch_size
        self.caption_batch_size = batch_size if caption_batch_size is None else caption_batch_size
        self.augment = augment
        self.num_workers = num_workers
        self.seed = seed
        self.shuffle_shards = shuffle_shards
        self.precompute_tokens = precompute_tokens
        self.cache_dir = None if cache_dir is None else Path(cache_dir)
        self.start_method = start_method
        self.remote = remote or RemoteOptions()
        for shards in self._named():
            for spec in [shards] if isinstance(shards, str) else shards:
                if is_url(spec):
                    check_url(spec)  # now: the settings have not been written into the run's folder yet
        self._counts: Counts | None = None
        self._training: dict[str, Stream] = {}
        self._indexed: dict[str, list[ShardIndex]] = {}
        self._restored: dict[str, Any] | None = None
        self._identity: dict[str, Any] = {}

    def prepare_data(self) -> None:
        """Makes, in one process per node, what does not exist yet: indexes of shards at URLs, tokens."""
        for named in self._named():
            if any(map(is_url, [named] if isinstance(named, str) else named)):
                self._indexes(named)
        if self.precompute_tokens:
            towers = self._towers()
            texts, fingerprint = TextTokens(towers.tokenizer), towers.tokenizer_fingerprint()
            for shards in (self.triples, self.validation_triples):
                if shards is not None:
                    tokenize_shards(self._indexes(shards), texts, fingerprint, self.cache_dir)

    def setup(self, stage: str) -> None:
        """Builds the bank where there is none yet: the processes of a node together, each node its own.

        On a shared file system the first node that takes its lock builds it, the others wait.

        Raises:
            PcclipError: A set is not there, is one of something else or too small, or the bank is stale: now,
                and not after minutes of evaluation.
        """
        for named in self._named():
            if not any(map(is_url, [named] if isinstance(named, str) else named)):
                resolve_shards(named, self.remote)
                if stage == "fit":
                    check_payload(self._indexes(named), self._wanted(named))
        if self.bank is not None:
            crew = Crew.of_node(self._trainer().num_devices)
            if crew.agree(not Path(self.bank).exists()):
                self._build_bank(self.bank, crew)
        if stage == "fit":
            self._training = self._training_streams()

    def train_dataloader(self) -> ResumableLoader:
        """Shuffled batches; the loader's state goes into checkpoints.

        Raises:
            PcclipError: Too few records, another payload, a stale bank, or a checkpoint of other data.
        """
        trainer = self._trainer()
        if trainer.overfit_batches:
            raise PcclipError(
                "trainer.overfit_batches replaces the order of samples by its own, which this data does not "
                "have. Use trainer.limit_train_batches with a small set."
            )
        streams = self._training or self._training_streams()
        batches = TrainingBatches(streams)
        self._identity = identity(streams, self.seed, self.shuffle_shards)
        if self._restored is not None and trainer.state.fn == TrainerFn.FITTING:
            check_identity(self._restored, self._identity)
        return ResumableLoader(
            batches, batches.steps, self._identity, self.num_workers, self.start_method, self._pins()
        )

    def _training_streams(self) -> dict[str, Stream]:
        sources: dict[str, tuple[Source, str, int]] = {}
        if self.triples is not None:
            what = f"data.triples={self.triples}"
            sources["differences"] = self._triple_source(self.triples), what, self.batch_size
        if self.captions is not None:
            source = self._caption_source(self.captions, self.augment)
            sources["captions"] = source, f"data.captions={self.captions}", self.caption_batch_size
        room = room_for([(what, source.indexes, self.shuffle_shards) for source, what, _ in sources.values()])
        if room:
            self._counts = self._cache().counts()
        return {
            name: self._stream(source, what, size, room=room)
            for name, (source, what, size) in sources.items()
        }

    def val_dataloader(self) -> BatchLoader | list[BatchLoader]:
        """Every sample once over all ranks, in order; nothing where no validation data is named."""
        streams: dict[str, Stream] = {}
        if self.validation_triples is not None:
            source: Source = self._triple_source(self.validation_triples)
            what = f"data.validation_triples={self.validation_triples}"
            streams["differences"] = self._stream(source, what, self.batch_size, training=False)
        if self.validation_captions is not None:
            source = self._caption_source(self.validation_captions, False)
            what = f"data.validation_captions={self.validation_captions}"
            streams["captions"] = self._stream(source, what, self.caption_batch_size, training=False)
        if not streams:
            return []
        batches = ValidationBatches(streams)
        places = [(0, batch) for batch in range(len(batches))]
        return BatchLoader(batches, places, self.num_workers, self.start_method, self._pins())

    def test_dataloader(self) -> BatchLoader | list[BatchLoader]:
        """The validation loader: `test` is about the evaluations, which bring their own pictures."""
        return self.val_dataloader()

    def state_dict(self) -> dict[str, Any]:
        """What the order of samples depends on."""
        # Lightning does not restore the loader's state at the end of an epoch: check other data here.
        return self._identity

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remembers what `train_dataloader` then compares."""
        self._restored = state_dict

    def teardown(self, stage: str) -> None:
        """Says what fetching the shards took."""
        if self._counts is None:
            return
        done, self._counts = self._cache().counts() - self._counts, None
        rank_zero_info(f"shards at URLs: {done} ({self.remote.folder}, all processes)")

    def _trainer(self) -> Trainer:
        if self.trainer is None:
            raise RuntimeError("DifferenceData works inside a Trainer; use pcclip.data.batches without one")
        if self.trainer.world_size > 1 and self.trainer._accelerator_connector.use_distributed_sampler:
            raise PcclipError(
                "trainer.use_distributed_sampler is true, and would give every rank a part of its part. "
                "Set it to false: the stream itself gives ranks disjoint samples."
            )
        return self.trainer

    def _towers(self) -> Any:
        return self._trainer().lightning_module.towers

    def _pins(self) -> bool:
        return self._trainer().strategy.root_device.type == "cuda"

    def _indexes(self, shards: Shards) -> list[ShardIndex]:
        if (found := self._indexed.get(repr(shards))) is None:
            leads = self._trainer().is_global_zero
            found = load_indexes(resolve_shards(shards, self.remote), self.cache_dir, leads)
            index_all(found, progress=leads)
            self._indexed[repr(shards)] = found
        return found

    def _wanted(self, shards: Shards) -> Payload | None:
        if shards not in (self.triples, self.validation_triples):
            return None
        return "pixels" if self.bank is None else self.payload

    def _named(self) -> list[Shards]:
        """Every setting that names shards."""
        named = self.triples, self.validation_triples, self.pictures, self.captions, self.validation_captions
        return [shards for shards in named if shards is not None]

    def _cache(self) -> ShardCache:
        return ShardCache(self.remote.folder, self.remote.limit)

    def _texts(self) -> TextTokens:
        towers = self._towers()
        return TextTokens(towers.tokenizer, towers.trim)

    def _triple_source(self, shards: Shards) -> TripleSource:
        indexes = self._indexes(shards)
        tables = kept = None
        if self.bank is not None and self.missing_pictures == "leave_out":
            kept = keep_present(indexes, self._open_bank(self.bank), str(shards))
        if self.precompute_tokens:
            tables = token_tables(indexes, self._towers().tokenizer_fingerprint(), self.cache_dir)
        if self.bank is not None:
            bank = self._open_bank(self.bank)
            return TripleSource(indexes, self.payload, self._texts(), bank=bank, tables=tables, kept=kept)
        preprocess = self._towers().preprocess
        return TripleSource(indexes, "pixels", self._texts(), preprocess=preprocess, tables=tables)

    def _caption_source(self, shards: Shards, augment: bool) -> CaptionSource:
        towers = self._towers()
        preprocess = towers.preprocess_train if augment else towers.preprocess
        images: Bank | Preprocess = preprocess
        if self.bank is not None and (self.payload == "keys" or self.pictures is not None):
            images = self._open_bank(self.bank)
        return CaptionSource(self._indexes(shards), self._texts(), images, self.seed, augment)

    def _stream(
        self, source: Source, what: str, batch_size: int, training: bool = True, room: int | None = None
    ) -> Stream:
        trainer = self._trainer()
        return make_stream(
            source,
            what,
            batch_size,
            rank=trainer.global_rank,
            world=trainer.world_size,
            training=training,
            seed=self.seed,
            shuffle_shards=self.shuffle_shards,
            room=room,
        )

    def _open_bank(self, folder: str) -> Bank:
        towers = self._towers()
        if not towers.image_frozen:
            raise PcclipError(
                f"data.bank={folder}: the image tower trains, and its bank would be stale after one step. "
                "Set data.payload to 'pixels', or model.trainable to a part without the image tower."
            )
        return Bank.open(folder, towers.image_fingerprint())

    def _bank_shards(self, folder: str) -> list[Shard]:
        wanted = [] if self.pictures is None else [self.pictures]
        if self.payload == "pixels":
            wanted += [spec for spec in (self.triples, self.validation_triples) if spec is not None]
        if not wanted:
            raise PcclipError(
                f"data.bank={folder} does not exist. Name the picture set to build it from in data.pictures."
            )
        return [path for spec in wanted for path in resolve_shards(spec, self.remote)]

    def _build_bank(self, folder: str, crew: Crew) -> None:
        shards = self._bank_shards(folder)
        towers, device = self._towers(), self._trainer().strategy.root_device
        home = next(towers.visual.parameters()).device
        was_training = towers.training

        def encode(pixels: Tensor) -> Tensor:
            with torch.autocast(device.type, enabled=False):
                return towers.encode_images(pixels.to(device))

        try:
            towers.eval()
            towers.visual.to(device)
            build_bank(
                folder,
                shards,
                towers.preprocess,
                encode,
                towers.image_fingerprint(),
                towers.embed_dim,
                num_workers=self.num_workers,
                cache_dir=self.cache_dir,
                start_method=self.start_method,
                progress=crew.leads,
                crew=crew,
            )
        finally:
            towers.visual.to(home)
            towers.train(was_training)
