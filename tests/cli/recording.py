"""A callback that writes down which samples every rank has trained on, and stops the run on the way."""

import json
import os
import signal
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class Recording(Callback):
    """Append the keys of every batch to `FOLDER/RANK.jsonl`, once its step is done.

    Args:
        folder: Where.
        stop_at: Number of the optimizer step after which a signal is sent; never if negative.
        how: Name of the signal.
        batch: Of the batches of that step, the one after which it is sent.
    """

    def __init__(self, folder: str, stop_at: int = -1, how: str = "SIGTERM", batch: int = 0) -> None:
        self.folder = Path(folder)
        self.stop_at = stop_at
        self.how = signal.Signals[how]
        self.batch = batch

    def on_train_batch_start(
        self, trainer: Trainer, module: LightningModule, batch: Any, number: int
    ) -> None:
        self.step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, number: int
    ) -> None:
        keys = {name: list(map(str, part["keys"])) for name, part in batch.items()}
        line = {"epoch": trainer.current_epoch, "batch": number, "step": self.step, "keys": keys}
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{trainer.global_rank}.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        accumulated = trainer.accumulate_grad_batches
        if (self.step, number % accumulated) == (self.stop_at, self.batch):
            trainer.strategy.barrier()  # until all have written
            if trainer.is_global_zero:
                os.killpg(0, self.how)  # as schedulers do


def recorded(folder: Path) -> dict[tuple[int, int], dict[str, list[str]]]:
    """Keys by (epoch, batch) and part, of all ranks together in the order of the ranks."""
    found: dict[tuple[int, int], dict[str, list[str]]] = {}
    for file in sorted(folder.glob("*.jsonl"), key=lambda file: int(file.stem)):
        for line in map(json.loads, file.read_text().splitlines()):
            at = found.setdefault((line["epoch"], line["batch"]), {})
            for name, keys in line["keys"].items():
                at.setdefault(name, []).extend(keys)
    return found
