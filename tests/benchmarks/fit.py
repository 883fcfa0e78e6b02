"""A real `pcclip fit` of a text tower on a bank: samples per second, share of waiting for the loader."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jsonargparse import auto_cli
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pcclip.cli import main
from pcclip.data.bank import BankWriter
from pcclip.data.records import Triple
from pcclip.data.shards import ShardSetWriter
from pcclip.model.checkpoint import save_folder
from pcclip.model.towers import load_towers
from tests.benchmarks.steps import texts

PAPER = 20 * 499_500
"""Samples of the paper's whole finetuning: 20 epochs (section 4)."""


def prepare(folder: Path, model: str, triples: int, pictures: int = 2000) -> None:
    """A model with random weights, a bank of random rows and triples of 15 to 60 words."""
    towers = load_towers(model, random_init=True)
    save_folder(towers, folder / "model", {})
    rng, names = np.random.default_rng(0), [f"p{i:06d}" for i in range(pictures)]
    with BankWriter(
        folder / "bank", names, towers.embed_dim, towers.image_fingerprint(), "float32", []
    ) as writer:
        writer.append(rng.standard_normal((pictures, towers.embed_dim)).astype(np.float32))
    with ShardSetWriter(folder / "triples", "triples", records_per_shard=5000) as shards:
        for i, text in enumerate(texts(triples, rng)):
            a, b = rng.choice(pictures, 2, replace=False)
            triple = Triple(f"t{i:07d}", names[a], names[b], text, {"writer": "bench"})
            shards.write_triple(triple, None, None)


def experiment(folder: Path, batch: int, steps: int, compiled: bool, precision: str) -> dict[str, Any]:
    """The paper's settings of the fit (section 4), evaluations apart."""
    return {
        "experiment": "bench",
        "runs": str(folder / "runs"),
        "model": {
            "class_path": "pcclip.training.DifferenceTraining",
            "init_args": {
                "name": f"local-dir:{folder / 'model'}",
                "compile_text": compiled,
                "objective": {
                    "class_path": "pcclip.objective.DifferenceInfoNCE",
                    "init_args": {"temperature": 1.0},
                },
                "optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 1e-8, "fused": True}},
            },
        },
        "data": {
            "class_path": "pcclip.data.datamodule.DifferenceData",
            "init_args": {
                "triples": str(folder / "triples"),
                "bank": str(folder / "bank"),
                "batch_size": batch,
                "num_workers": 2,
                "precompute_tokens": True,
            },
        },
        "trainer": {
            "max_steps": steps,
            "max_epochs": -1,
            "precision": precision,
            "log_every_n_steps": 10,
            "enable_progress_bar": False,
            "devices": 1,
        },
    }


def run(
    model: str = "ViT-L-14",
    batches: list[int] | None = None,
    steps: int = 200,
    triples: int = 100_000,
    compiled: bool = True,
    precision: str = "bf16-mixed",
) -> None:
    """Fits, and prints what TensorBoard holds of it.

    Args:
        model: Whose text tower.
        batches: Triples per step; 512 and 2,048 by default.
        steps: Of each fit; the first fifth warms up.
        triples: In the shards.
        compiled: Whether the text tower is compiled.
        precision: Of the trainer.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, model, triples)
        for batch in batches or [512, 2048]:
            settings = experiment(folder, batch, steps, compiled, precision)
            (folder / "fit.yaml").write_text(yaml.safe_dump(settings))
            start = time.perf_counter()
            if main(["fit", "--config", str(folder / "fit.yaml"), "--version", str(batch)]):
                raise SystemExit(1)
            spent = time.perf_counter() - start
            events = EventAccumulator(str(folder / "runs/bench" / str(batch)))
            events.Reload()
            speed, waited = (
                [e.value for e in events.Scalars(f"train/{name}") if e.step > steps // 5]
                for name in ("samples_per_second", "loader_wait_share")
            )
            median = statistics.median(speed)
            Console(width=140).print(
                f"{model}, batch {batch}, compiled {compiled}, {precision}: {median:,.0f} samples/s "
                f"(from {min(speed):,.0f} to {max(speed):,.0f}), waiting for the loader "
                f"{100 * statistics.median(waited):.2f} %; the paper's 20 epochs of 499,500 would take "
                f"{PAPER / median / 60:.1f} minutes; {spent:.0f} s for this fit in all"
            )


if __name__ == "__main__":
    auto_cli(run, as_positional=False)
