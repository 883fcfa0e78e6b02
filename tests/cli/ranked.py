"""Fits over several processes of this machine, and what two runs have in common."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fitting import fit_words, losses
from safetensors.torch import load_file

# Plain SGD: Adam would blow rounding up where a gradient is zero (the bias of attention keys).
PLAIN = ["--model.optimizer=torch.optim.SGD", "--model.optimizer.lr=0.1", "--model.lr_scheduler=null"]
BARE = ["--trainer.callbacks=[]", "--data.validation_triples=null", "--data.num_workers=0"]
full = pytest.mark.skipif(
    os.environ.get("PCCLIP_FAULTS") != "full", reason="several fits: PCCLIP_FAULTS=full runs them"
)


def over(ranks: int, strategy: str, batch: int = 16) -> list[str]:
    """Words that spread a global batch over processes."""
    if ranks == 1 and strategy == "auto":
        return []
    return [
        f"--trainer.devices={ranks}",
        f"--trainer.strategy={strategy}",
        f"--data.batch_size={batch // ranks}",
    ]


def fit(place: Path, version: str, *words: str) -> Path:
    """A fit that ends well, and without threads of process groups, but those that torch's FSDP keeps."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.groups_at_exit", *fit_words(place, version, *words)],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    left = set(re.findall(r"threads of groups at exit: (\d+)", done.stderr))
    assert left == {"0"} or any("fsdp2" in word for word in words)
    return place / "runs/small" / version


def weights(run: Path) -> dict[str, torch.Tensor]:
    """What trained, of the last checkpoint: one file, of tensors alone, whole."""
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


def assert_same(ours: Path, theirs: Path, tolerance: float = 1e-5) -> None:
    """Losses of the steps that both logged, and final weights."""
    mine, expected = losses(ours), losses(theirs)
    assert mine == pytest.approx({step: expected[step] for step in mine}, abs=tolerance)
    mine, expected = weights(ours), weights(theirs)
    assert mine.keys() == expected.keys()
    for name in mine:
        assert torch.allclose(mine[name], expected[name], rtol=0, atol=tolerance), name


def moved(run: Path, place: Path) -> float:
    """How far training moved the weight that it moved most."""
    base = load_file(place / "base" / "open_clip_model.safetensors")
    trained = weights(run)
    return max(
        float((trained[n] - base[n.removeprefix("towers.clip.")]).abs().max())
        for n in trained
        if n.removeprefix("towers.clip.") in base
    )
