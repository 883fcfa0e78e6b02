"""The LightningModule: towers, objectives, optimiser and what is logged of them; nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import GradClipAlgorithmType, rank_zero_info
from torch import Tensor

from pcclip.errors import PcclipError
from pcclip.model.checkpoint import check_compatible, describe
from pcclip.model.towers import load_towers
from pcclip.model.trainable import LoraOptions, TrainablePart, select_trainable
from pcclip.objective import CaptionInfoNCE, CaptionInputs, DifferenceInputs, DifferenceObjective, World
from pcclip.optim import parameter_groups
from pcclip.sharding import average_gradients, clip_by_norm, is_sharded, mean_over_ranks, shard, total_norm
from pcclip.strategies import Sharded
from pcclip.watch import LossWatch

Batch = dict[str, dict[str, Any]]


class DifferenceTraining(LightningModule):
    """Train a text tower (or more) on image differences, on captions, or on both.

    Args:
        name: open_clip tag, `hf-hub:ORG/NAME`, `local-dir:FOLDER` or one of pcclip's small configs.
        pretrained: open_clip's pretrained tag or a checkpoint file; null for folders and hubs.
        random_init: start from random weights; only for pretraining.
        trainable: which part trains (see `pcclip.model.trainable`).
        lora: rank, scale and targets of the adapters; only with `trainable: lora`.
        objective: loss over triples; null if the data holds captions only.
        caption_objective: loss over captioned pictures: pretraining, the captions baseline, or rehearsal.
        caption_weight: factor on the caption loss where both are trained.
        optimizer: class path and arguments; gets matrices, and vectors without weight decay.
        lr_scheduler: class path and arguments.
        lr_interval: when the scheduler steps.
        channels_last: memory layout of the image tower; faster for convolutions.
        compile_text: run the text tower's training steps through `torch.compile`: on a GPU a fifth to a third
            faster after a minute of compiling, kept in PyTorch's cache. Needs a C++ compiler.
    """

    def __init__(
        self,
        name: str,
        pretrained: str | None = None,
        random_init: bool = False,
        trainable: TrainablePart = "blocks",
        lora: LoraOptions | None = None,
        objective: DifferenceObjective | None = None,
        caption_objective: CaptionInfoNCE | None = None,
        caption_weight: float = 1.0,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_interval: Literal["step", "epoch"] = "step",
        channels_last: bool = False,
        compile_text: bool = False,
    ) -> None:
        """See the class."""
        super().__init__()
        if objective is None and caption_objective is None:
            raise PcclipError("model.objective and model.caption_objective are both null: set at least one")
        self.towers = load_towers(name, pretrained, random_init=random_init)
        self.trainable_part = trainable
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.towers.visual.to(memory_format=self.layout)
        self.report = select_trainable(self.towers, trainable, lora)
        self.towers.text_encoder.compiled = compile_text
        self.watch = LossWatch(self._stop_at)
        self.objective = objective
        self.caption_objective = caption_objective
        self.caption_weight = caption_weight
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.lr_interval = lr_interval
        self.strict_loading = False  # frozen weights are not in our checkpoints; we check the names ourselves
        # Taken before any checkpoint is restored: step 0 of the run, resumed or not.
        self.base_weights = {n: p.detach().clone() for n, p in self.tower_weights()}
        self.base_meta = describe(self.towers)

    def tower_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Names and tensors of the towers that training moves.

        These are the parameters that train and, where the image tower does, its running statistics: old
        weights with new statistics are no model. Spread over ranks they are parts, but for `sharding.whole`.
        """
        yield from ((n, p) for n, p in self.towers.named_parameters() if p.requires_grad)
        if not self.towers.image_frozen:
            of_images = {id(buffer) for buffer in self.towers.visual.buffers()}
            for name, buffer in self.towers.named_buffers():
                if id(buffer) in of_images and buffer.is_floating_point():
                    yield name, buffer

    @torch.no_grad()
    def set_tower_weights(self, weights: dict[str, Tensor]) -> None:
        """Put `weights` (as from `geometry.interpolate`) in place of what `tower_weights` names."""
        for name, tensor in self.tower_weights():
            tensor.copy_(weights[name])

    def interpolation_base(self, tuned: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights at share 0: the base's; adapters go to zero by one factor alone, so that all is linear."""
        return {n: tuned[n] if ".lora_A." in n else base for n, base in self.base_weights.items()}

    def caption_logit_scale(self) -> float | None:
        """Factor on the similarities that the caption objective learned, to be kept with the model."""
        objective = self.caption_objective
        if objective is None or not objective.temperature.learned:
            return None
        return float(objective.temperature.scale().detach())

    @property
    def world(self) -> World:
        """Rank and number of training processes."""
        return World(self.global_rank, self.trainer.world_size)

    def configure_model(self) -> None:
        """Spread what trains over the ranks, where the strategy is `pcclip.strategies.Sharded`."""
        strategy = self.trainer.strategy
        fits = self.trainer.state.fn == TrainerFn.FITTING
        if isinstance(strategy, Sharded) and fits and not is_sharded(self.towers):
            if self.towers.text_encoder.compiled:
                raise PcclipError(
                    "trainer.strategy=fsdp2 gathers the weights of one block at a time, compiled steps reach "
                    "over two: unset model.compile_text, or set trainer.strategy to ddp"
                )
            shard(self.towers, strategy.device_mesh["data_parallel"])

    def on_fit_start(self) -> None:
        """Train mode: towers are loaded in evaluation mode; a frozen image tower keeps to it."""
        self.train()

    def setup(self, stage: str) -> None:
        """Refuse precisions without fp32 master weights; say what trains."""
        if str(self.trainer.precision).endswith("true") and not str(self.trainer.precision).startswith("32"):
            raise PcclipError(
                f"trainer.precision={self.trainer.precision} keeps no fp32 master weights, and small updates "
                "are then lost: use bf16-mixed or 32-true"
            )
        if stage == "fit":
            rank_zero_info(str(self.report))

    def losses(self, batch: Batch, world: World) -> dict[str, Tensor]:
        """Losses of one batch by name, `loss` being what is minimised."""
        losses: dict[str, Tensor] = {}
        if (triples := batch.get("differences")) is not None:
            if self.objective is None:
                raise PcclipError(
                    "data.triples is set but model.objective is null: set one or unset the other"
                )
            image1_BD, image2_BD = self.images(triples, "1", "2")
            ids = (triples["text_id"], triples["image1_id"], triples["image2_id"])
            text_BD = self.towers.encode_texts(triples["tokens"], triples.get("lengths"))
            losses["difference_loss"] = self.objective(
                DifferenceInputs(text_BD, image1_BD, image2_BD, *ids), world
            )
        if (captions := batch.get("captions")) is not None:
            if self.caption_objective is None:
                raise PcclipError(
                    "data.captions is set but model.caption_objective is null: set or unset both"
                )
            (image_BD,) = self.images(captions, "")
            text_BD = self.towers.encode_texts(captions["tokens"], captions.get("lengths"))
            losses["caption_loss"] = self.caption_objective(
                CaptionInputs(text_BD, image_BD, captions["text_id"], captions["image_id"]), world
            )
        weights = {"difference_loss": 1.0, "caption_loss": self.caption_weight if len(losses) > 1 else 1.0}
        losses["loss"] = torch.stack([weights[n] * v for n, v in losses.items()]).sum()
        return losses

    def images(self, part: dict[str, Any], *suffixes: str) -> list[Tensor]:
        """(B, D) embeddings of a part's pictures: the bank's, or by the tower as it is."""
        if f"features{suffixes[0]}" in part:
            return [part[f"features{s}"] for s in suffixes]
        pixels = torch.cat([part[f"pixels{s}"] for s in suffixes]).contiguous(memory_format=self.layout)
        return list(self.towers.encode_images(pixels).chunk(len(suffixes)))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of this rank's rows against the global batch."""
        losses = self.losses(batch, self.world)
        self.watch.note(self.global_step, losses, {name: part["keys"] for name, part in batch.items()})
        rows = sum(len(part["keys"]) for part in batch.values())
        due = self.world.size > 1 and self.trainer._logger_connector.should_update_logs
        for name, value in (mean_over_ranks(losses) if due else losses).items():
            self.log(f"train/{name}", value, prog_bar=name == "loss", batch_size=rows)
        for name, module in (
            ("temperature", self.objective),
            ("caption_temperature", self.caption_objective),
        ):
            if (temperature := getattr(module, "temperature", None)) is not None:
                self.log(f"train/{name}", 1 / temperature.scale(), batch_size=rows)
        return losses["loss"]

    def _stop_at(self, step: int, losses: dict[str, float], keys: Mapping[str, Any]) -> None:
        record = {
            "step": step,
            "rank": self.global_rank,
            "losses": {name: str(value) for name, value in losses.items()},
            "keys": {name: list(part) for name, part in keys.items()},
        }
        folder = Path(self.trainer.log_dir or ".")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"nonfinite-rank{self.global_rank}.json"
        path.write_text(json.dumps(record, indent=1))
        raise PcclipError(
            f"the loss is not finite at step {step}; the keys of the batch are in {path}. "
            "Look at those records, or lower the learning rate"
        )

    def on_train_epoch_end(self) -> None:
        """Evaluations, and the end of the fit, come after this: not with broken weights."""
        self.watch.check()

    def on_validation_start(self) -> None:
        """As at an epoch's end."""
        self.watch.check()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Losses over this rank's batch alone: ranks may hold different numbers of batches."""
        self._log_losses(batch, "validation")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """The same losses; what `test` is about are the evaluations."""
        self._log_losses(batch, "test")

    def _log_losses(self, batch: Batch, prefix: str) -> None:
        rows = sum(len(part["keys"]) for part in batch.values())
        for name, value in self.losses(batch, World()).items():
            self.log(f"{prefix}/{name}", value, on_epoch=True, batch_size=rows, sync_dist=True)
        if self.trainer.state.fn == TrainerFn.FITTING:  # as evaluations count; Lightning would say one less
            self.log("step", float(self.global_step), on_epoch=True, batch_size=rows)

    def configure_optimizers(self) -> Any:
        """Optimizer over the parameters that train, in the groups of `pcclip.optim`."""
        trained = ((n, p) for n, p in self.named_parameters() if p.requires_grad)
        optimizer = self.optimizer(parameter_groups(trained))
        if self.lr_scheduler is None:
            return optimizer
        try:
            scheduler = {"scheduler": self.lr_scheduler(optimizer), "interval": self.lr_interval}
        except ValueError as error:
            raise PcclipError(
                f"model.lr_scheduler: {error}: check its settings and trainer.max_steps"
            ) from error
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip as Lightning does, fused optimisers under bf16 and spread gradients included."""
        precision = self.trainer.precision_plugin
        if is_sharded(self.towers) and gradient_clip_val and gradient_clip_algorithm in (None, "norm"):
            clip_by_norm((p for group in optimizer.param_groups for p in group["params"]), gradient_clip_val)
            return
        if isinstance(precision, MixedPrecision) and precision.scaler is None:
            # Lightning refuses them under any mixed precision, but only fp16 has scaled gradients to undo.
            algorithm = GradClipAlgorithmType(gradient_clip_algorithm or "norm")
            Precision.clip_gradients(precision, optimizer, gradient_clip_val or 0.0, algorithm)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_after_backward(self) -> None:
        """Average over ranks what neither DDP nor FSDP does: parameters beside spread ones (temperatures)."""
        if isinstance(self.trainer.strategy, Sharded) and self.trainer.world_size > 1:
            average_gradients(p for p in self.parameters() if p.requires_grad)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Log the gradient norm, before any clipping."""
        if self.trainer._logger_connector.should_update_logs:
            gradients = (p.grad for p in self.parameters() if p.grad is not None)
            self.log("train/gradient_norm", total_norm(gradients))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what trains, and say what it belongs to; a trained image tower keeps its statistics too."""
        self.watch.check()
        if self.trainable_part != "both":
            kept = {n for n, p in self.named_parameters() if p.requires_grad}
            checkpoint["state_dict"] = {n: t for n, t in checkpoint["state_dict"].items() if n in kept}
        checkpoint["pcclip"] = {**self.base_meta, "trainable": self.trainable_part}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another architecture, other base weights, or another trained part."""
        meta = checkpoint.get("pcclip")
        if meta is None:
            raise PcclipError(
                "the checkpoint was not written by pcclip: it names no architecture or base weights"
            )
        check_compatible(meta, self.towers)
        if meta["trainable"] != self.trainable_part:
            raise PcclipError(
                f"the checkpoint trained '{meta['trainable']}' but model.trainable is '{self.trainable_part}'"
            )
        expected = {n for n, p in self.named_parameters() if p.requires_grad}
        if missing := sorted(expected - checkpoint["state_dict"].keys()):
            raise PcclipError(f"the checkpoint lacks {len(missing)} trained weights, the first: {missing[0]}")
