"""Whole steps over 1, 2 and 4 processes of this machine: samples per second, efficiency, share of
communication.

    python -m tests.benchmarks.ranks [--processes 1 2 4] [--strategies ddp fsdp2] [--repeats 3]

Every fit is the real command line on data and a model that the benchmark makes: the same global batch (strong
scaling), one thread per process. Communication is the share of the time in which a collective is under way
(torch profiler, first rank), whether or not something is computed meanwhile. With more processes than cores
the figures say what the machinery costs, not what it gains.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

ROOT = Path(__file__).parents[2]
WARM, TIMED, PROFILED = 10, 40, 10
STEPS = WARM + TIMED + PROFILED
RESULT = "PCCLIP_BENCHMARK_RESULT"


class Measure(Callback):
    """Times the steps after the first few, then profiles some more; the first rank writes what it found."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the time, begin or end the profile."""
        if trainer.global_step == WARM:
            self.start = time.perf_counter()
            self.samples = 0
        elif trainer.global_step <= WARM + TIMED and trainer.global_step > WARM:
            self.samples += sum(len(part["keys"]) for part in batch.values()) * trainer.world_size
        if trainer.global_step == WARM + TIMED:
            self.seconds = time.perf_counter() - self.start
            self.profile = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])
            self.profile.__enter__()
            self.began = time.perf_counter()
        if trainer.global_step == STEPS:
            seconds = time.perf_counter() - self.began
            self.profile.__exit__(None, None, None)
            if trainer.is_global_zero:
                share = in_flight(self.profile.events()) / seconds
                found = {"rate": self.samples / self.seconds, "communication": share}
                Path(os.environ[RESULT]).write_text(json.dumps(found))


def in_flight(events: Any) -> float:
    """Seconds in which at least one collective was under way."""
    spans = sorted(
        (e.time_range.start, e.time_range.end) for e in events if e.name.startswith(("gloo:", "nccl:"))
    )
    total, reached = 0.0, 0.0
    for start, end in spans:
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total / 1e6


def settings(folder: Path, batch: int, model: str) -> dict[str, Any]:
    """A fit of the text blocks from a bank, with nothing but steps."""
    return {
        "model": {
            "class_path": "pcclip.training.DifferenceTraining",
            "init_args": {
                "name": model,
                "random_init": True,
                "trainable": "blocks",
                "objective": {"class_path": "pcclip.objective.DifferenceInfoNCE"},
            },
        },
        "data": {
            "class_path": "pcclip.data.datamodule.DifferenceData",
            "init_args": {
                "triples": str(folder / "data/triples/train"),
                "payload": "pixels",
                "bank": str(folder / "bank"),
                "batch_size": batch,
                "num_workers": 0,
                "precompute_tokens": True,
            },
        },
        "checkpoint": {"every_n_train_steps": 100000},
        "trainer": {
            "accelerator": "cpu",
            "max_steps": STEPS,
            "max_epochs": -1,
            "enable_progress_bar": False,
            "callbacks": [{"class_path": "tests.benchmarks.ranks.Measure"}],
        },
    }


def fit(folder: Path, processes: int, strategy: str, batch: int, name: str) -> dict[str, float]:
    """One fit; what `Measure` wrote."""
    result = folder / f"{name}.json"
    words = [f"--config={folder / 'fit.yaml'}", f"--runs={folder / 'runs'}", f"--version={name}"]
    if processes > 1:
        words += [f"--trainer.devices={processes}", f"--trainer.strategy={strategy}"]
    words.append(f"--data.batch_size={batch // processes}")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", RESULT: str(result), "CUDA_VISIBLE_DEVICES": ""}
    environment["PYTHONPATH"] = f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"
    done = subprocess.run(
        [sys.executable, "-m", "pcclip", "fit", *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return json.loads(result.read_text())


def main() -> None:
    """Measure, print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--strategies", nargs="+", default=["ddp", "fsdp2"])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", default="pcclip-small")
    asked = parser.parse_args()
    from pcclip.cli import main as pcclip

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = [f"--config={ROOT / 'data_recipes/shapes' / one}.yaml" for one in ("demo", "smoke")]
        pcclip(
            [
                "prepare",
                *recipe,
                f"--out={folder / 'data'}",
                "--differences.payload=pixels",
                "--progress=false",
            ]
        )
        (folder / "fit.yaml").write_text(json.dumps(settings(folder, asked.batch, asked.model)))
        kinds = [(n, s) for n in asked.processes for s in (asked.strategies if n > 1 else ["alone"])]
        found: dict[tuple[int, str], list[dict[str, float]]] = {kind: [] for kind in kinds}
        for repeat in range(asked.repeats):
            for n, strategy in kinds:
                found[n, strategy].append(fit(folder, n, strategy, asked.batch, f"{strategy}-{n}-{repeat}"))
    rates = {kind: statistics.median(one["rate"] for one in ones) for kind, ones in found.items()}
    first = rates[kinds[0]] / kinds[0][0]
    print(f"global batch {asked.batch}, {asked.model}, {os.cpu_count()} cores, medians of {asked.repeats}\n")
    print("| processes | strategy | samples/s | per process, of one's | communication under way |")
    print("|---|---|---|---|---|")
    for (n, strategy), ones in found.items():
        share = statistics.median(one["communication"] for one in ones)
        rate = rates[n, strategy]
        print(f"| {n} | {strategy} | {rate:.0f} | {rate / n / first:.0%} | {share:.0%} |")


if __name__ == "__main__":
    main()
