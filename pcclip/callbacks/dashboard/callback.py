"""The callback that writes a run's dashboard, on the first rank."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from pcclip.callbacks.dashboard import hparams
from pcclip.callbacks.dashboard.changes import headline_changes, log_changes, nothing_changed
from pcclip.callbacks.dashboard.ending import final_metrics, log_exhibits
from pcclip.callbacks.dashboard.events import RunEvents, writer_of, writes
from pcclip.callbacks.dashboard.figures import log_figure
from pcclip.callbacks.dashboard.hardest import compare, hardest_figure
from pcclip.callbacks.dashboard.layout import layout
from pcclip.callbacks.dashboard.samples import caption_samples, difference_samples
from pcclip.callbacks.dashboard.sources import CAPTIONS, DIFFERENCES, Records
from pcclip.callbacks.summary import Summary
from pcclip.callbacks.validations import is_due
from pcclip.evaluation.measured import Measured
from pcclip.sharding import whole
from pcclip.training import DifferenceTraining


class Dashboard(Callback):
    """What a run shows in TensorBoard beside its scalars.

    A page of custom scalars by purpose; changes against step 0 with their intervals; confusion matrices and
    ranked pictures of base and tuned model; the hardest pairs of the batch before each validation; texts of
    the training data; vectors for the projector; a row of the table of hyperparameters. `EvaluationSuite`
    tells it what was measured. A resumed run goes on where it was, each point once.

    Args:
        enabled: whether all that is written; false leaves the scalars.
        samples: texts of the training data that are shown; 0 for none.
        hardest: pairs of a batch that are shown at each validation; 0 for none.
    """

    def __init__(self, enabled: bool = True, samples: int = 40, hardest: int = 6) -> None:
        """See the class."""
        self.enabled = enabled
        self.samples = samples
        self.hardest = hardest
        self.base = Measured()
        self._validated: int | None = None
        self._records: Records | None = None

    @staticmethod
    def of(trainer: Trainer) -> Dashboard | None:
        """That of a trainer, where this process writes one."""
        board = next((one for one in trainer.callbacks if isinstance(one, Dashboard)), None)
        return board if board is not None and board.enabled and writes(trainer) else None

    # -- the course of a fit -----------------------------------------------------------------

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what is written once."""
        assert isinstance(pl_module, DifferenceTraining)
        if Dashboard.of(trainer) is None:
            return
        self._records = Records.of(trainer.train_dataloader, trainer.datamodule)
        if trainer.global_step and RunEvents.of(trainer).resumed:
            return
        writer = writer_of(trainer)
        objectives = pl_module.objective, pl_module.caption_objective
        temperature = any(getattr(one, "temperature", None) is not None for one in objectives)
        compares = bool(self.hardest) and pl_module.objective is not None and trainer.enable_validation
        writer.add_custom_scalars(layout(list(self.base.values_by_name()), temperature, compares))
        log_changes(writer, nothing_changed(self.base), 0)
        config = Path(trainer.logger.log_dir) / "config.yaml"
        if config.is_file():
            hparams.log_settings(writer, hparams.settings_of(config))
        if self._records is not None and self.samples:
            for part, table in ((DIFFERENCES, difference_samples), (CAPTIONS, caption_samples)):
                if self._records.stream(part) is not None:
                    writer.add_text(f"samples/{part}", table(self._records, self.samples), 0)
        writer.flush()

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Log the largest learning rate of this step."""
        if trainer._logger_connector.should_update_logs:
            pl_module.log("train/learning_rate", max(float(group["lr"]) for group in optimizer.param_groups))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show the hardest pairs of the last batch before a validation; and before its step's checkpoint."""
        assert isinstance(pl_module, DifferenceTraining)
        wanted = self.hardest and self.enabled and DIFFERENCES in batch and pl_module.objective is not None
        if wanted and is_due(trainer):
            with whole(pl_module):
                if Dashboard.of(trainer) is not None:
                    self._show_hardest(trainer, pl_module, batch[DIFFERENCES])

    def _show_hardest(self, trainer: Trainer, module: DifferenceTraining, part: dict[str, Any]) -> None:
        writer, step = writer_of(trainer), trainer.global_step
        compared = compare(module, part, self.hardest)
        writer.add_scalar("in_batch/own_text_fits_best", compared.text_accuracy, step)
        writer.add_scalar("in_batch/own_pair_fits_best", compared.image_accuracy, step)
        pairs = [one.row for one in compared.hardest]
        if pairs and self._records is not None:
            rows = list(dict.fromkeys(pairs + [one.preferred for one in compared.hardest]))
            shown = self._records.triples(rows, part["keys"], pairs)
            log_figure(writer, "hardest/pairs", hardest_figure(compared.hardest, shown, step), step)
        writer.flush()

    # -- what `EvaluationSuite` tells ----------------------------------------------------------

    def validate(self, trainer: Trainer, measured: Measured) -> None:
        """Log the changes of the validation split; once per step.

        Args:
            trainer: Of the run; its first rank.
            measured: By the model as it is.
        """
        if trainer.global_step != self._validated:
            self._validated = trainer.global_step
            writer = writer_of(trainer)
            log_changes(writer, headline_changes(measured, self.base), trainer.global_step)
            writer.flush()

    def finish(self, trainer: Trainer, validation: Measured, summary: Summary) -> None:
        """Log what is known at the end of a fit, whose exhibits are written.

        Args:
            trainer: Of the run; its first rank.
            validation: Of the tuned model on validation splits.
            summary: Of the run.
        """
        self.validate(trainer, validation)
        writer, run = writer_of(trainer), Path(trainer.logger.log_dir)
        log_exhibits(writer, run, trainer.global_step)
        hparams.log_outcome(writer, final_metrics(summary, validation, self.base), trainer.global_step)
        writer.flush()
