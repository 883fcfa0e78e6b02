"""Checkpoints of a run: the last one, written atomically, every so many steps and on SIGTERM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException


class RunCheckpoint(ModelCheckpoint):
    """Keep `checkpoints/last.ckpt` of the run.

    Args:
        every_n_train_steps: optimizer steps between two checkpoints.
    """

    def __init__(self, every_n_train_steps: int = 200) -> None:
        """See the class."""
        super().__init__(
            filename="last",
            enable_version_counter=False,
            every_n_train_steps=every_n_train_steps,
            save_on_exception=True,
        )
        self._held_back = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What the run goes on from need not be saved again."""
        super().on_train_start(trainer, pl_module)
        own = self.dirpath is not None and Path(self.dirpath) / "last.ckpt"
        if own and trainer.ckpt_path is not None and own.resolve() == Path(trainer.ckpt_path).resolve():
            self._last_global_step_saved = trainer.global_step

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save where SIGTERM stopped us, between two steps; other errors may come amidst one."""
        if isinstance(exception, SIGTERMException):
            super().on_exception(trainer, pl_module, exception)

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Keep the weights of the step at which `max_steps` ends the run."""
        super().on_train_batch_end(trainer, *args, **kwargs)
        self._wait_for_step(trainer)
        # Later, Lightning counts the broken-off epoch as done: a longer run would skip the rest of it.
        if trainer.global_step == trainer.max_steps:
            self._save_last(trainer)

    def _wait_for_step(self, trainer: Trainer) -> None:
        """Hold SIGTERM back amidst accumulated batches: their gradients are in no checkpoint."""
        signals, loop = trainer._signal_connector, trainer.fit_loop.epoch_loop
        if loop._should_accumulate():
            self._held_back |= signals.received_sigterm
            signals.received_sigterm = False
        else:
            signals.received_sigterm |= self._held_back
            self._held_back = False

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the weights of the last step, whatever the cadence."""
        super().on_train_end(trainer, pl_module)
        self._save_last(trainer)

    def _save_last(self, trainer: Trainer) -> None:
        saved: int = self._last_global_step_saved  # type: ignore[has-type]
        if self.dirpath is not None and saved != trainer.global_step:
            trainer.save_checkpoint(Path(self.dirpath) / "last.ckpt", weights_only=False)
            self._last_global_step_saved = trainer.global_step
