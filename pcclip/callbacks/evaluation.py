"""Evaluations before, during and after a fit, the weight interpolation, and `summary.json`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from pcclip.callbacks.summary import Summary
from pcclip.evaluation.interpolation import CurvePoint, choose_alpha, plot_curve
from pcclip.evaluation.protocol import Protocol, Results
from pcclip.evaluation.features import image_features
from pcclip.evaluation.sets import EvaluationSet
from pcclip.geometry import interpolate, unit
from pcclip.model.checkpoint import save_folder
from pcclip.model.towers import Towers
from pcclip.runs import point_latest
from pcclip.training import DifferenceTraining


@dataclass
class Evaluation:
    """One protocol on one set.

    Attributes:
        protocol: what is measured.
        data: folder made by `pcclip prepare`, with `evaluation.json`.
        every_n_validations: cadence during the fit; step 0 and the end are always measured.
    """

    protocol: Protocol
    data: str
    every_n_validations: int = 1


@dataclass
class Interpolation:
    """Sweep of the weights between base and tuned, after the fit.

    Attributes:
        alphas: shares of the tuned weights; 0 and 1 are measured anyway.
    """

    alphas: list[float] = field(default_factory=lambda: [i / 10 for i in range(11)])


class TowerEncoders:
    """Encode functions of the towers as they are now, in fp32, without gradients."""

    def __init__(self, towers: Towers, device: torch.device, batch_size: int = 256) -> None:
        """Wrap `towers`; texts are encoded `batch_size` at a time."""
        self.towers, self.device, self.batch_size = towers, device, batch_size

    @torch.no_grad()
    def encode_images(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) pixels -> (B, D) unit fp32 rows on the CPU."""
        return unit(self.towers.encode_images(pixels.to(self.device))).cpu()

    @torch.no_grad()
    def encode_texts(self, texts: list[str]) -> Tensor:
        """M texts -> (M, D) unit fp32 rows on the CPU."""
        parts = (texts[i : i + self.batch_size] for i in range(0, len(texts), self.batch_size))
        rows = [self.towers.encode_texts(self.towers.tokenizer(part).to(self.device)) for part in parts]
        return unit(torch.cat(rows)).cpu()


class EvaluationSuite(Callback):
    """Run evaluations at step 0, at validations and at the end; write the run's summary.

    The first rank evaluates while the others wait.

    Args:
        evaluations: protocols and their sets.
        interpolation: sweep base-to-tuned weights after the fit; null for none (pretraining).
        cache_dir: where image embeddings of a frozen tower are kept; inside each set's folder if null.
    """

    def __init__(
        self,
        evaluations: list[Evaluation],
        interpolation: Interpolation | None = None,
        cache_dir: str | None = None,
    ) -> None:
        """See the class."""
        self.evaluations = evaluations
        self.interpolation = interpolation
        self.cache_dir = cache_dir
        self.summary = Summary()
        self.sets: dict[tuple[str, str], EvaluationSet] = {}
        self.validations = 0

    # -- measuring ---------------------------------------------------------------------------

    def measure(self, module: DifferenceTraining, split: str, only_due: bool = False) -> Results:
        """Results of all (or the due) evaluations with the weights as they are."""
        results = Results()
        encoders = TowerEncoders(module.towers, module.device)
        with _evaluating(module):
            for one in self.evaluations:
                if only_due and self.validations % one.every_n_validations:
                    continue
                data = self._set(one.data, split)
                features = image_features(
                    data,
                    encoders,
                    module.towers.preprocess,
                    fingerprint=module.towers.image_fingerprint() if module.towers.image_frozen else None,
                    cache_dir=self.cache_dir,
                )
                results.update(one.protocol.run(encoders, data, features))
        return results

    def _set(self, data: str, split: str) -> EvaluationSet:
        if (data, split) not in self.sets:
            self.sets[data, split] = EvaluationSet.load(data, split)
        return self.sets[data, split]

    def _log(self, trainer: Trainer, results: Results, prefix: str) -> None:
        if isinstance(trainer.logger, TensorBoardLogger):
            for name, estimate in results.estimates().items():
                trainer.logger.experiment.add_scalar(f"{prefix}/{name}", estimate.value, trainer.global_step)

    # -- the course of a fit -----------------------------------------------------------------

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the base model, on both splits; a resumed run reads what it measured then."""
        assert isinstance(pl_module, DifferenceTraining)
        if trainer.is_global_zero and self.evaluations:
            stored = self._folder(trainer) / "base-results.npz"
            if stored.is_file():
                self.summary.base = Results.load(stored)
            else:
                with self.summary.timed("base_evaluation"), _weights(pl_module, pl_module.base_weights):
                    self._log(trainer, self.measure(pl_module, "validation"), "validation")
                    self.summary.base = self.measure(pl_module, "test")
                    self._log(trainer, self.summary.base, "test")
                self.summary.base.save(stored)
        trainer.strategy.barrier("base evaluation")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of the fit."""
        self.fit_started = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate on the validation split, by each evaluation's cadence."""
        assert isinstance(pl_module, DifferenceTraining)
        if trainer.state.fn == "test" or trainer.sanity_checking:
            return
        self.validations += 1
        if trainer.is_global_zero:
            with self.summary.timed("validation"):
                results = self.measure(pl_module, "validation", only_due=True)
            self._log(trainer, results, "validation")
            rank_zero_info(f"step {trainer.global_step}: {results.headline()}")
        trainer.strategy.barrier("validation")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the tuned model, sweep the interpolation, save models and the summary."""
        assert isinstance(pl_module, DifferenceTraining)
        if trainer.is_global_zero and not trainer.received_sigterm:
            self.summary.seconds["fit"] = time.perf_counter() - self.fit_started
            with self.summary.timed("tuned_evaluation"):
                self.summary.tuned = self.measure(pl_module, "test")
            self._log(trainer, self.summary.tuned, "test")
            folder = self._folder(trainer)
            meta = {**pl_module.base_meta, "trained": pl_module.trainable_part}
            save_folder(pl_module.towers, folder / "model", meta, logit_scale=pl_module.caption_logit_scale())
            if self.interpolation is not None:
                with self.summary.timed("interpolation"):
                    self._interpolate(trainer, pl_module, folder)
            self.summary.write(folder, trainer, pl_module)
            point_latest(folder)
        trainer.strategy.barrier("summary")

    def _interpolate(self, trainer: Trainer, module: DifferenceTraining, folder: Path) -> None:
        assert self.interpolation is not None
        tuned = {n: p.detach().clone() for n, p in module.tower_weights()}
        points = []
        for alpha in sorted({0.0, 1.0, *self.interpolation.alphas}):
            with _weights(module, interpolate(module.interpolation_base(tuned), tuned, alpha)):
                points.append(CurvePoint.of(alpha, self.measure(module, "validation")))
        chosen = choose_alpha(points)
        with _weights(module, interpolate(module.interpolation_base(tuned), tuned, chosen)):
            self.summary.interpolated, self.summary.alpha = self.measure(module, "test"), chosen
            meta = {**module.base_meta, "trained": module.trainable_part, "alpha": chosen}
            save_folder(module.towers, folder / "interpolated", meta, logit_scale=module.caption_logit_scale())
        figure = plot_curve(points, chosen, folder / "interpolation.png")
        if isinstance(trainer.logger, TensorBoardLogger):
            trainer.logger.experiment.add_figure("interpolation", figure, trainer.global_step)
        curve = {"chosen": chosen, "split": "validation", "points": [vars(p) for p in points]}
        (folder / "interpolation.json").write_text(json.dumps(curve, indent=1))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate the loaded weights on the test split and print them."""
        assert isinstance(pl_module, DifferenceTraining)
        if trainer.is_global_zero:
            results = self.measure(pl_module, "test")
            self._log(trainer, results, "test")
            self.summary.tuned = results
            self.summary.write(self._folder(trainer), trainer, pl_module)
            rank_zero_info(results.headline())
        trainer.strategy.barrier("test")

    def _folder(self, trainer: Trainer) -> Path:
        folder = Path(trainer.logger.log_dir if trainer.logger is not None else ".")  # type: ignore[arg-type]
        folder.mkdir(parents=True, exist_ok=True)
        return folder


@contextmanager
def _evaluating(module: LightningModule) -> Iterator[None]:
    """Evaluation mode without autocast, restored afterwards."""
    training = module.training
    module.eval()
    with torch.autocast(module.device.type, enabled=False), torch.inference_mode(False):
        yield
    module.train(training)


@contextmanager
def _weights(module: DifferenceTraining, weights: dict[str, Tensor]) -> Iterator[None]:
    """Other tower weights for a while."""
    kept: dict[str, Any] = {n: p.detach().clone() for n, p in module.tower_weights()}
    module.set_tower_weights(weights)
    try:
        yield
    finally:
        module.set_tower_weights(kept)
