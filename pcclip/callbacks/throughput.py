"""How fast a fit runs and how long it waits for data."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class Throughput(Callback):
    """Log `train/samples_per_second` (all ranks) and `train/loader_wait_share` (0 to 1, this rank).

    Time between two batches, when the trainer waits for the loader, counts as waiting;
    validation does not count at all.
    """

    def __init__(self) -> None:
        """Start with nothing measured."""
        self._reset()

    def _reset(self) -> None:
        self.samples = 0
        self.waited = self.worked = 0.0
        self.mark: float | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to measure."""
        self._reset()
        self.mark = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave validation out of the measurement."""
        self.mark = None

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """A batch has come: what passed since the last one was waiting."""
        now = time.perf_counter()
        if self.mark is not None:
            self.waited += now - self.mark
        self.mark = now

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A step is done: log every `log_every_n_steps` steps."""
        now = time.perf_counter()
        if self.mark is not None:
            self.worked += now - self.mark
        self.mark = now
        self.samples += sum(len(part["keys"]) for part in batch.values())
        if trainer.global_step % trainer.log_every_n_steps == 0 and self.worked > 0:
            seconds = self.waited + self.worked
            pl_module.log("train/samples_per_second", self.samples * trainer.world_size / seconds)
            pl_module.log("train/loader_wait_share", self.waited / seconds)
            self._reset()
            self.mark = now
