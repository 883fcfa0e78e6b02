"""Evaluations before, during and after a fit, the weight interpolation, and `summary.json`."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from pcclip.callbacks.dashboard.callback import Dashboard
from pcclip.callbacks.dashboard.events import writer_of, writes
from pcclip.callbacks.summary import Summary
from pcclip.callbacks.validations import Validations
from pcclip.callbacks.weights import BaseEncoders, other_weights
from pcclip.crew import Crew
from pcclip.data.progress import progress_bar
from pcclip.evaluation.bench import Bench, Evaluation
from pcclip.evaluation.encoding.encoders import TowerEncoders
from pcclip.evaluation.encoding.features import FeatureCache
from pcclip.evaluation.encoding.models import Model
from pcclip.evaluation.exhibits.files import write_exhibits
from pcclip.evaluation.interpolation import CurvePoint, choose_alpha, curve_point, plot_curve
from pcclip.evaluation.measured import FIT, RESULTS, VALIDATION, Measured
from pcclip.geometry import interpolate
from pcclip.model.checkpoint import save_folder
from pcclip.runs import point_latest
from pcclip.sharding import with_whole_weights
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

    The first rank evaluates, the others share in the embedding of pictures and texts.

    Args:
        evaluations: sets and their protocols.
        interpolation: sweep base-to-tuned weights after the fit; null for none (pretraining).
        cache_dir: where image embeddings of a frozen tower are kept; null keeps them in memory only.
        test: measure the split that is reported. false measures validation splits alone, so that many runs
            can be tried and one chosen without a look at it (`pcclip sweep`).
    """

    def __init__(
        self,
        evaluations: list[Evaluation],
        interpolation: Interpolation | None = None,
        cache_dir: str | None = "data/cache",
        test: bool = True,
    ) -> None:
        """See the class."""
        self.evaluations = evaluations
        self.interpolation = interpolation
        self.cache_dir = Path(cache_dir) if cache_dir else None
        self.test = test
        self.summary = Summary()
        self.base_validation = Measured()
        self.bench: Bench | None = None
        self.base_model: Model | None = None
        self.crew: Crew | None = None
        self.known = False
        self.finished = False

    def measure(
        self,
        module: DifferenceTraining,
        split: Literal["test", "validation"],
        number: int | None = None,
        models: Mapping[str, Model] | None = None,
    ) -> Measured:
        """Results by set of all (or the due) evaluations with the weights as they are, in fp32.

        Every rank must call this; only the first one gets results.

        Args:
            module: Whose towers.
            split: Whether the split that is reported or the one by which things are chosen.
            number: Of a validation amidst a fit: what is not due at it is left out.
            models: Of `models`, where the same weights are measured several times; `base` alone where that is
                what is measured.
        """
        bench, models = self._bench(module), models or self.models(module)
        measured = Measured()

        def measure() -> None:
            for one in self.evaluations:
                if number is not None and number % one.every_n_validations:
                    continue
                name = one.split if split == "test" else one.validation
                now = models.get("now")
                measured.add(bench.measure(one, name, now or models["base"], now and models["base"]))

        self._lead(module, measure, models)
        return measured

    def models(self, module: DifferenceTraining) -> dict[str, Model]:
        """The weights as they are (`now`) and the base model (`base`); texts are encoded once by each."""
        now = Model.of(module.towers, TowerEncoders(module.towers, module.device), "now", self._crew())
        return {"now": now, "base": self._base(module)}

    def _lead(
        self, module: DifferenceTraining, work: Callable[[], None], models: Mapping[str, Model]
    ) -> None:
        bench = self._bench(module)
        with torch.autocast(module.device.type, enabled=False):
            self._crew().lead(work, lambda order: bench.job(order, models[order.model]))

    def _bench(self, module: DifferenceTraining) -> Bench:
        if self.bench is None:
            self.bench = Bench(FeatureCache(self.cache_dir if module.towers.image_frozen else None))
        return self.bench

    def _base(self, module: DifferenceTraining) -> Model:
        if self.base_model is None:
            encoders = BaseEncoders(module)
            with encoders.worn():
                self.base_model = Model.of(module.towers, encoders, "base", self._crew())
        return self.base_model

    def _crew(self) -> Crew:
        if self.crew is None:
            self.crew = Crew.of_job()
        return self.crew

    def _log(self, trainer: Trainer, measured: Measured, prefix: str, step: int | None = None) -> None:
        if writes(trainer):
            at = trainer.global_step if step is None else step
            for name, value in measured.values_by_name().items():
                writer_of(trainer).add_scalar(f"{prefix}/{name}", value, at)

    @with_whole_weights
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the base model, on both splits; a resumed run reads what it measured then."""
        assert isinstance(pl_module, DifferenceTraining)
        if not self.evaluations:
            return
        crew, folder = self._crew(), self._folder(trainer) / RESULTS
        stored = {suite: folder / suite / "base" for suite in (VALIDATION, *[FIT] * self.test)}
        self.known = crew.agree(all(place.is_dir() for place in stored.values()))
        if self.known:
            self.base_validation = crew.lead(lambda: Measured.load(stored[VALIDATION])) or Measured()
            if self.test:
                self.summary.base = crew.lead(lambda: Measured.load(stored[FIT]))
        else:
            self._measure_base(pl_module, stored)
        if (board := Dashboard.of(trainer)) is not None:
            board.base = self.base_validation

    def _measure_base(self, module: DifferenceTraining, places: Mapping[str, Path]) -> None:
        crew = self._crew()
        with self.summary.timed("base_evaluation"), other_weights(module, module.base_weights):
            encoders = TowerEncoders(module.towers, module.device)
            models = {"base": Model.of(module.towers, encoders, "base", crew)}
            if self.test:
                self.summary.base = base = self.measure(module, "test", models=models)
                crew.lead(lambda: base.save(places[FIT]))
            self.base_validation = self.measure(module, "validation", models=models)
        crew.lead(lambda: self.base_validation.save(places[VALIDATION]))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log what the base model is; start the clock of the fit."""
        if not self.known or trainer.global_step == 0:  # a run that was killed at once begins again
            self._log(trainer, self.base_validation, "validation", 0)
            self._log(trainer, self.summary.base or Measured(), "test", 0)
        self.fit_started = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate on the validation split, by each evaluation's cadence."""
        assert isinstance(pl_module, DifferenceTraining)
        if trainer.state.fn == "test" or trainer.sanity_checking:
            return
        number = Validations.number(trainer) if trainer.state.fn == "fit" else None
        with self.summary.timed("validation"):
            results = self.measure(pl_module, "validation", number)
        self._log(trainer, results, "validation")
        if (board := Dashboard.of(trainer)) is not None and self.evaluations:
            board.validate(trainer, results)
        rank_zero_info(f"step {trainer.global_step}: {results.headline()}")

    @with_whole_weights
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the tuned model, sweep the interpolation, save models and the summary."""
        assert isinstance(pl_module, DifferenceTraining)
        if not self._crew().agree(trainer.received_sigterm):
            self.summary.seconds["fit"] = time.perf_counter() - self.fit_started
            self._finish(trainer, pl_module)
        self.finished = True

    @with_whole_weights
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finish a run that was killed after its last step, for which Lightning skips `on_train_end`."""
        assert isinstance(pl_module, DifferenceTraining)
        if not self.finished:
            self._finish(trainer, pl_module)

    def _finish(self, trainer: Trainer, pl_module: DifferenceTraining) -> None:
        # Anew, and the test split first: which texts share a batch moves embeddings by rounding, and what a
        # run finds is not to depend on how often it was stopped.
        self.base_model = None
        crew, folder, models = self._crew(), self._folder(trainer), self.models(pl_module)
        with self.summary.timed("tuned_evaluation"):
            if self.test:
                self.summary.tuned = tuned = self.measure(pl_module, "test", models=models)
                crew.lead(lambda: tuned.save(folder / RESULTS / FIT / "tuned"))
                self._log(trainer, tuned, "test")
            validation = self.measure(pl_module, "validation", models=models)
            crew.lead(lambda: validation.save(folder / RESULTS / VALIDATION / "tuned"))
        if self.test:
            with self.summary.timed("exhibits"):
                self._exhibit(pl_module, folder, models)

        def clear() -> None:
            for written in ("model", "interpolated"):  # by a run that was killed while it wrote
                shutil.rmtree(folder / written, ignore_errors=True)

        crew.lead(clear)
        self._save_towers(pl_module, folder / "model")
        if self.interpolation is not None:
            with self.summary.timed("interpolation"):
                self._interpolate(trainer, pl_module, folder, validation)
        if (board := Dashboard.of(trainer)) is not None:
            board.finish(trainer, validation, self.summary)
        crew.lead(lambda: point_latest(folder))
        crew.lead(lambda: self.summary.write(folder, trainer, pl_module))  # last: by it the run has finished

    def _exhibit(self, module: DifferenceTraining, folder: Path, models: Mapping[str, Model]) -> None:
        bench = self._bench(module)
        self._lead(
            module,
            lambda: write_exhibits(folder, self.evaluations, bench, models["base"], models["now"]),
            models,
        )

    def _save_towers(self, module: DifferenceTraining, folder: Path, **meta: Any) -> None:
        meta = {**module.base_meta, "trained": module.trainable_part, **meta}
        scale = module.caption_logit_scale()
        self._crew().lead(lambda: save_folder(module.towers, folder, meta, logit_scale=scale))

    def _interpolate(
        self, trainer: Trainer, module: DifferenceTraining, folder: Path, validation: Measured
    ) -> None:
        assert self.interpolation is not None
        crew = self._crew()
        tuned = {n: p.detach().cpu().clone() for n, p in module.tower_weights()}  # where the base weights are
        curve = {0.0: list(self.base_validation.values()), 1.0: list(validation.values())}
        between = sorted({*self.interpolation.alphas} - {0.0, 1.0})
        with progress_bar(crew.leads, transient=True) as bar:
            task = bar.add_task("interpolated weights", total=len(between))
            for alpha in between:
                with other_weights(module, interpolate(module.interpolation_base(tuned), tuned, alpha)):
                    curve[alpha] = list(self.measure(module, "validation").values())
                bar.advance(task)

        def choose() -> float:
            points = [curve_point(alpha, results, curve[0.0]) for alpha, results in sorted(curve.items())]
            chosen = choose_alpha(points)
            self._write_curve(trainer, points, chosen, folder)
            return chosen

        self.summary.alpha = chosen = float(crew.agree(crew.lead(choose)) or 0.0)
        with other_weights(module, interpolate(module.interpolation_base(tuned), tuned, chosen)):
            if self.test:
                self.summary.interpolated = interpolated = self.measure(module, "test")
                crew.lead(lambda: interpolated.save(folder / RESULTS / FIT / "interpolated"))
            self._save_towers(module, folder / "interpolated", alpha=chosen)

    def _write_curve(self, trainer: Trainer, points: list[CurvePoint], chosen: float, folder: Path) -> None:
        figure = plot_curve(points, chosen, folder / "interpolation.png")
        if writes(trainer):
            writer_of(trainer).add_figure("interpolation", figure, trainer.global_step)
        record = {"chosen": chosen, "split": "validation", "points": [vars(p) for p in points]}
        (folder / "interpolation.json").write_text(json.dumps(record, indent=1))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate the loaded weights on the test split and print them."""
        assert isinstance(pl_module, DifferenceTraining)
        self.summary.tuned = results = self.measure(pl_module, "test")
        self._log(trainer, results, "test")
        self._crew().lead(lambda: self.summary.write(self._folder(trainer), trainer, pl_module))
        rank_zero_info(results.headline())

    def _folder(self, trainer: Trainer) -> Path:
        folder = Path(trainer.logger.log_dir if trainer.logger is not None else ".")  # type: ignore[arg-type]
        folder.mkdir(parents=True, exist_ok=True)
        return folder
