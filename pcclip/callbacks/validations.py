"""The validations of a run across stops: each done to its end, and counted, once."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException


def is_due(trainer: Trainer) -> bool:
    """Whether a validation follows the batch that was the last one."""
    loop = trainer.fit_loop
    # The fetcher is None once all is torn down; it matters for one kind alone, which ours is not.
    return trainer.enable_validation and loop.epoch_loop._should_check_val_fx(loop._data_fetcher)  # type: ignore[arg-type]


def validate_again(trainer: Trainer) -> None:
    """Runs the validation that was due when the run was stopped, if one was.

    The checkpoint of its step is written before it, or amidst it on SIGTERM, and Lightning takes it for done
    when the run goes on. All ranks call this.
    """
    if not trainer.global_step or not is_due(trainer):
        return
    loop, connector, stage = trainer.fit_loop.epoch_loop, trainer._logger_connector, trainer.state.stage
    first = connector._first_loop_iter
    loop.val_loop.restarting = False
    trainer.validating = True
    loop.val_loop.run()
    trainer.state.stage = stage
    connector._first_loop_iter = first
    if trainer.received_sigterm:
        raise SIGTERMException


class Validations(Callback):
    """Counts the validations of a fit, and repeats the one that a stop may have broken off.

    It comes after all callbacks whose `on_train_start` a validation needs.
    """

    def __init__(self) -> None:
        """Start with none."""
        self.count = 0
        self._batches = -1

    @classmethod
    def number(cls, trainer: Trainer) -> int:
        """The number of the validation that is being done, from 1; across stops, too."""
        return next(one.count for one in trainer.callbacks if isinstance(one, cls))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Before the first step of a run that goes on."""
        validate_again(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count it; one that is done again is the same one."""
        batches = trainer.fit_loop.epoch_loop.batch_progress.total.ready
        if batches != self._batches:
            self.count, self._batches = self.count + 1, batches

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"count": self.count, "batches": self._batches}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.count, self._batches = int(state_dict["count"]), int(state_dict["batches"])
