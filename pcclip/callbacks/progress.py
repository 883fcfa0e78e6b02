"""Progress of a fit in optimizer steps, with the time left: a bar on a terminal, a few lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.progress import Progress, TaskID

from pcclip.data.progress import clock, progress_bar
from pcclip.quiet import lively


class StepProgress(ProgressBar):
    """Shows how many of the run's steps are done, whatever epochs are.

    Args:
        lines: Without a terminal, how many lines a whole fit prints.
    """

    def __init__(self, lines: int = 10) -> None:
        """See the class."""
        super().__init__()
        self.lines = lines
        self.enabled = True
        self.bar: Progress | None = None
        self.task = TaskID(0)
        self.total = 0
        self.started = (0, 0.0)

    def disable(self) -> None:
        """Show nothing; Lightning calls it on all ranks but the first."""
        self.enabled = False

    def enable(self) -> None:
        """Show progress."""
        self.enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin where the run stands."""
        self.total = int(trainer.estimated_stepping_batches)
        self.started = (trainer.global_step, time.perf_counter())
        if self.enabled and lively():
            self.bar = progress_bar()
            self.bar.start()
            _logs_to_stderr()
            self.task = self.bar.add_task("steps", total=self.total, completed=trainer.global_step)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """One more step."""
        step = trainer.global_step
        if self.bar is not None:
            self.bar.update(self.task, completed=step)
            if step % trainer.log_every_n_steps == 0:
                self.bar.update(self.task, description=self._described(trainer))
        elif self.enabled and step * self.lines // self.total > (step - 1) * self.lines // self.total:
            done, seconds = step - self.started[0], time.perf_counter() - self.started[1]
            left = (self.total - step) * seconds / max(done, 1)
            said = f"step {step:,} of {self.total:,}, {self._described(trainer)}"
            print(f"{said}, {clock(left)} left", file=sys.stderr, flush=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the finished bar."""
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the terminal back."""
        self._stop()

    def _stop(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
            _logs_to_stderr()

    @staticmethod
    def _described(trainer: Trainer) -> str:
        # Not at every step: reading it waits for the device.
        loss = trainer.callback_metrics.get("train/loss")
        return "loss unknown" if loss is None else f"loss {float(loss):.3f}"


def _logs_to_stderr() -> None:
    """Lets Lightning's messages go where standard error goes now: above the bar while one is drawn."""
    for handler in logging.getLogger("lightning.pytorch").handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(sys.stderr)
