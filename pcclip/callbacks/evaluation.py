"""Evaluations before, during and after a fit, the weight interpolation, and `summary.json`."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from pcclip.callbacks.summary import Summary
from pcclip.evaluation.bench import Bench, Evaluation
from pcclip.evaluation.encoding.encoders import TowerEncoders
from pcclip.evaluation.encoding.features import FeatureCache
from pcclip.evaluation.encoding.models import Model
from pcclip.evaluation.interpolation import choose_alpha, curve_point, plot_curve
from pcclip.evaluation.measured import FIT, RESULTS, Measured
from pcclip.geometry import interpolate
from pcclip.model.checkpoint import save_folder
from pcclip.runs import point_latest
from pcclip.training import DifferenceTraining


@dataclass
class Interpolation:
    """Sweep of the weights between base and tuned, after the fit.

    Attributes:
        alphas: shares of the tuned weights; 0 and 1 are measured anyway.
    """

    alphas: list[float] = field(default_factory=lambda: [i / 10 for i in range(11)])


class EvaluationSuite(Callback):
    """Run evaluations at step 0, at validations and at the end; write the run's summary.

    The first rank evaluates while the others wait.

    Args:
        evaluations: sets and their protocols.
        interpolation: sweep base-to-tuned weights after the fit; null for none (pretraining).
        cache_dir: where image embeddings of a frozen tower are kept; null keeps them in memory only.
    """

    def __init__(
        self,
        evaluations: list[Evaluation],
        interpolation: Interpolation | None = None,
        cache_dir: str | None = "data/cache",
    ) -> None:
        """See the class."""
        self.evaluations = evaluations
        self.interpolation = interpolation
        self.cache_dir = Path(cache_dir) if cache_dir else None
        self.summary = Summary()
        self.bench: Bench | None = None
        self.base_model: Model | None = None
        self.validations = 0
        self.finished = False

    # -- measuring ---------------------------------------------------------------------------

    def measure(
        self,
        module: DifferenceTraining,
        split: Literal["test", "validation"],
        only_due: bool = False,
        is_base: bool = False,
    ) -> Measured:
        """Results by set of all (or the due) evaluations with the weights as they are, in fp32.

        Args:
            module: Whose towers.
            split: Whether the split that is reported or the one by which things are chosen.
            only_due: Leave out what is not due at this validation.
            is_base: The weights are the base model's.
        """
        towers = module.towers
        if self.bench is None:
            self.bench = Bench(FeatureCache(self.cache_dir if towers.image_frozen else None))
        model = Model.of(towers, TowerEncoders(towers, module.device))
        base = None if is_base else self._base(module)
        measured = Measured()
        with torch.autocast(module.device.type, enabled=False):
            for one in self.evaluations:
                if only_due and self.validations % one.every_n_validations:
                    continue
                name = one.split if split == "test" else one.validation
                measured.add(self.bench.measure(one, name, model, base))
        return measured

    def _base(self, module: DifferenceTraining) -> Model:
        if self.base_model is None:
            with other_weights(module, module.base_weights):
                self.base_model = Model.of(module.towers, _BaseEncoders(module))
        return self.base_model

    def _log(self, trainer: Trainer, measured: Measured, prefix: str) -> None:
        if isinstance(trainer.logger, TensorBoardLogger):
            for name, value in measured.values_by_name().items():
                trainer.logger.experiment.add_scalar(f"{prefix}/{name}", value, trainer.global_step)

    # -- the course of a fit -----------------------------------------------------------------

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the base model, on both splits; a resumed run reads what it measured then."""
        assert isinstance(pl_module, DifferenceTraining)
        if trainer.is_global_zero and self.evaluations:
            stored = self._results(trainer) / "base"
            if stored.is_dir():
                self.summary.base = Measured.load(stored)
            else:
                with self.summary.timed("base_evaluation"), other_weights(pl_module, pl_module.base_weights):
                    self._log(trainer, self.measure(pl_module, "validation", is_base=True), "validation")
                    self.summary.base = self.measure(pl_module, "test", is_base=True)
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
            self._finish(trainer, pl_module)
        self.finished = True
        trainer.strategy.barrier("summary")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finish a run that was killed after its last step, for which Lightning skips `on_train_end`."""
        assert isinstance(pl_module, DifferenceTraining)
        if trainer.is_global_zero and not self.finished:
            self._finish(trainer, pl_module)

    def _finish(self, trainer: Trainer, pl_module: DifferenceTraining) -> None:
        with self.summary.timed("tuned_evaluation"):
            self.summary.tuned = self.measure(pl_module, "test")
        self.summary.tuned.save(self._results(trainer) / "tuned")
        self._log(trainer, self.summary.tuned, "test")
        folder = self._folder(trainer)
        meta = {**pl_module.base_meta, "trained": pl_module.trainable_part}
        for written in ("model", "interpolated"):  # by a run that was killed while it wrote
            shutil.rmtree(folder / written, ignore_errors=True)
        save_folder(pl_module.towers, folder / "model", meta, logit_scale=pl_module.caption_logit_scale())
        if self.interpolation is not None:
            with self.summary.timed("interpolation"):
                self._interpolate(trainer, pl_module, folder)
        point_latest(folder)
        self.summary.write(folder, trainer, pl_module)  # last: by it the run has finished

    def _interpolate(self, trainer: Trainer, module: DifferenceTraining, folder: Path) -> None:
        assert self.interpolation is not None
        tuned = {n: p.detach().cpu().clone() for n, p in module.tower_weights()}  # where the base weights are
        curve = {}
        for alpha in sorted({0.0, 1.0, *self.interpolation.alphas}):
            with other_weights(module, interpolate(module.interpolation_base(tuned), tuned, alpha)):
                curve[alpha] = list(self.measure(module, "validation").values())
        points = [curve_point(alpha, results, curve[0.0]) for alpha, results in curve.items()]
        chosen = choose_alpha(points)
        with other_weights(module, interpolate(module.interpolation_base(tuned), tuned, chosen)):
            self.summary.interpolated, self.summary.alpha = self.measure(module, "test"), chosen
            self.summary.interpolated.save(self._results(trainer) / "interpolated")
            meta = {**module.base_meta, "trained": module.trainable_part, "alpha": chosen}
            save_folder(
                module.towers, folder / "interpolated", meta, logit_scale=module.caption_logit_scale()
            )
        figure = plot_curve(points, chosen, folder / "interpolation.png")
        if isinstance(trainer.logger, TensorBoardLogger):
            trainer.logger.experiment.add_figure("interpolation", figure, trainer.global_step)
        record = {"chosen": chosen, "split": "validation", "points": [vars(p) for p in points]}
        (folder / "interpolation.json").write_text(json.dumps(record, indent=1))

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

    def _results(self, trainer: Trainer) -> Path:
        return self._folder(trainer) / RESULTS / FIT


class _BaseEncoders:
    """Encoders of the base model, whose weights are put in for as long as they encode."""

    def __init__(self, module: DifferenceTraining) -> None:
        self._module = module

    def encode_images(self, pixels: Tensor) -> Tensor:
        with other_weights(self._module, self._module.base_weights):
            return TowerEncoders(self._module.towers, self._module.device).encode_images(pixels)

    def encode_texts(self, texts: list[str]) -> Tensor:
        with other_weights(self._module, self._module.base_weights):
            return TowerEncoders(self._module.towers, self._module.device).encode_texts(texts)


@contextmanager
def other_weights(module: DifferenceTraining, weights: dict[str, Tensor]) -> Iterator[None]:
    """Other tower weights for a while."""
    kept: dict[str, Any] = {n: p.detach().clone() for n, p in module.tower_weights()}
    module.set_tower_weights(weights)
    try:
        yield
    finally:
        module.set_tower_weights(kept)
