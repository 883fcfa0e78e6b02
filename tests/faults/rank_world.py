"""A small fit over several processes, for faults that hit one of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml

from pcclip.cli import main

ROOT = Path(__file__).parents[2]
full = pytest.mark.skipif(os.environ.get("PCCLIP_FAULTS") != "full", reason="PCCLIP_FAULTS=full runs it")


def make(folder: Path) -> Path:
    """Small data, a small base model, and a configuration whose bank is named relative to where it runs."""
    from pcclip.model.checkpoint import save_folder
    from pcclip.model.towers import load_towers

    recipe = [f"--config={ROOT / 'data_recipes/shapes' / name}.yaml" for name in ("demo", "smoke")]
    made = [
        "prepare",
        *recipe,
        f"--out={folder / 'data'}",
        "--differences.payload=pixels",
        "--progress=false",
    ]
    assert main(made) == 0
    torch.manual_seed(0)
    save_folder(load_towers("pcclip-tiny", random_init=True), folder / "base")
    fit: dict[str, Any] = {
        "seed_everything": 0,
        "model": {
            "class_path": "pcclip.training.DifferenceTraining",
            "init_args": {
                "name": f"local-dir:{folder / 'base'}",
                "trainable": "text_no_embeddings",
                "objective": {"class_path": "pcclip.objective.DifferenceInfoNCE"},
                "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1}},
            },
        },
        "data": {
            "class_path": "pcclip.data.datamodule.DifferenceData",
            "init_args": {
                "triples": str(folder / "data/triples/train"),
                "payload": "pixels",
                "bank": "cache/bank",
                "batch_size": 16,
                "num_workers": 0,
            },
        },
        "trainer": {"accelerator": "cpu", "max_steps": 12, "max_epochs": -1, "log_every_n_steps": 1},
    }
    (folder / "fit.yaml").write_text(yaml.safe_dump(fit))
    return folder


def trained(run: Path) -> dict[str, torch.Tensor]:
    """Weights of a run's last checkpoint."""
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


def start(words: list[str], cwd: Path, log: Path) -> subprocess.Popen[bytes]:
    """A program of pcclip's in the background; its output goes to `log`."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}",
    }
    with log.open("wb") as out:
        return subprocess.Popen(
            [sys.executable, *words], stdout=out, stderr=out, cwd=cwd, env=environment, start_new_session=True
        )


def ranks_of(started: subprocess.Popen[bytes]) -> dict[int, psutil.Process]:
    """The processes that train, by rank, without their workers."""
    found: dict[int, psutil.Process] = {}
    every = [psutil.Process(started.pid), *psutil.Process(started.pid).children(recursive=True)]
    own = [one for one in every if "torch.distributed.run" not in one.cmdline()]
    for one in own:
        rank = int(one.environ().get("LOCAL_RANK", "0"))
        if rank not in found:  # parents come before their children
            found[rank] = one
    return found
