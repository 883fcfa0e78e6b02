"""`summary.json` of a run: before, after, delta, intervals, cost and versions."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer

from pcclip.callbacks.throughput import Throughput
from pcclip.checksums import seal
from pcclip.data.files import write_atomically
from pcclip.evaluation.measured import Measured
from pcclip.report.machine import peak_memory_bytes
from pcclip.training import DifferenceTraining

SCHEMA = 1
_PACKAGES = ("pcclip", "torch", "lightning", "open_clip_torch", "webdataset", "numpy")


@dataclass
class Summary:
    """What a run found, filled in as it goes.

    Attributes:
        base: results of the base model on the test split.
        tuned: results after the fit.
        interpolated: results at the interpolation share chosen on validation data.
        alpha: that share of the tuned weights.
        seconds: stage -> seconds of wall time.
    """

    base: Measured | None = None
    tuned: Measured | None = None
    interpolated: Measured | None = None
    alpha: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the seconds spent inside to `stage`."""
        start = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start

    def as_dict(self) -> dict[str, Any]:
        """Estimates of all stages that were measured, and paired deltas against the base."""
        found: dict[str, Any] = {}
        for stage in ("base", "tuned", "interpolated"):
            if (results := getattr(self, stage)) is not None:
                found[stage] = results.estimates()
        for stage, name in (("tuned", "delta"), ("interpolated", "interpolated_delta")):
            results = getattr(self, stage)
            if self.base is not None and results is not None:
                found[name] = results.minus(self.base).estimates()
        return found

    def write(self, folder: Path, trainer: Trainer, module: DifferenceTraining) -> None:
        """Write `folder/summary.json` atomically."""
        record = {
            "schema": SCHEMA,
            "experiment": folder.parent.name,
            "version": folder.name,
            "seed": int(os.environ.get("PL_GLOBAL_SEED", "0")),
            "steps": trainer.global_step,
            "precision": trainer.precision,
            "trainable": {"part": module.trainable_part, "parameters": module.report.total},
            "base_model": module.base_meta,
            "alpha": self.alpha,
            **self.as_dict(),
            "seconds": {stage: round(seconds, 2) for stage, seconds in self.seconds.items()},
            "cost": _cost(trainer),
            "versions": {"python": platform.python_version(), **{p: metadata.version(p) for p in _PACKAGES}},
        }
        write_atomically(folder / "summary.json", json.dumps(seal(record), indent=1).encode())


def _cost(trainer: Trainer) -> dict[str, Any]:
    """Of the first rank, since this process has started.

    `samples_per_second` (all ranks) and `loader_wait_share` are medians over what was logged, None where
    nothing was. `peak_memory_bytes` is that of the process, `peak_gpu_memory_bytes` what torch allocated.
    """
    logged = next((one for one in trainer.callbacks if isinstance(one, Throughput)), None)
    device = trainer.strategy.root_device
    return {
        "samples_per_second": statistics.median(logged.rates) if logged and logged.rates else None,
        "loader_wait_share": statistics.median(logged.waits) if logged and logged.waits else None,
        "peak_memory_bytes": peak_memory_bytes(),
        "peak_gpu_memory_bytes": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
    }
