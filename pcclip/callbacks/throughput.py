"""How fast a fit runs and how long it waits for data."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class Throughput(Callback):
    """Log `train/samples_per_second` (all ranks) and `train/loader_wait_share` (0 to 1, this rank).

    Waiting is the time in which the loader was asked for a batch and had none ready; copies to the device and
    the steps themselves are not. Validation does not count at all.

    Attributes:
        rates: Samples per second as logged, since this process has started.
        waits: The shares of waiting likewise.
    """

    def __init__(self) -> None:
        """Start with nothing measured."""
        self.rates: list[float] = []
        self.waits: list[float] = []
        self._reset(0.0)

    def _reset(self, waited: float) -> None:
        self.samples = 0
        self.seconds = 0.0
        self.waited = waited
        self.mark: float | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to measure."""
        self._reset(_waited(trainer))
        self.mark = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave validation out of the measurement."""
        self.mark = None

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Begin again after a validation."""
        if self.mark is None:
            self.mark = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A step is done: log every `log_every_n_steps` steps."""
        now = time.perf_counter()
        if self.mark is not None:
            self.seconds += now - self.mark
        self.mark = now
        self.samples += sum(len(part["keys"]) for part in batch.values())
        if trainer.global_step % trainer.log_every_n_steps == 0 and self.seconds > 0:
            waited = _waited(trainer)
            self.rates.append(self.samples * trainer.world_size / self.seconds)
            self.waits.append(min((waited - self.waited) / self.seconds, 1.0))
            pl_module.log("train/samples_per_second", self.rates[-1])
            pl_module.log("train/loader_wait_share", self.waits[-1])
            self._reset(waited)
            self.mark = now


def _waited(trainer: Trainer) -> float:
    """Seconds so far; of a loader that is not ours, none are known."""
    return getattr(trainer.train_dataloader, "waited", 0.0)
