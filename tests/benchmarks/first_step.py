"""A callback that prints when the first training step was done."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class FirstStep(Callback):
    """Prints `FIRST STEP` and the time of day in seconds."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Prints once."""
        if trainer.global_step == 1:
            print(f"FIRST STEP {time.time()}", flush=True)
