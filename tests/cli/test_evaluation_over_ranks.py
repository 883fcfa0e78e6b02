"""The ranks of a fit share its evaluation: what it finds is what one process finds, to the byte."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from fitting import command


def measured(run: Path) -> dict[str, bytes]:
    found = {str(f.relative_to(run)): f.read_bytes() for f in (run / "results/fit").rglob("*.npz")}
    for name in ("model", "interpolated"):
        found[name] = (run / name / "open_clip_model.safetensors").read_bytes()
    summary = json.loads((run / "summary.json").read_text())
    for differs in ("version", "seconds", "cost", "sha256"):
        del summary[differs]
    return found | {
        "summary": json.dumps(summary).encode(),
        "curve": (run / "interpolation.json").read_bytes(),
    }


@pytest.mark.slow
def test_two_ranks_measure_what_one_does(place, whole):
    """The run was killed after its last step, before it measured anything."""
    run = place / "runs/small/measured-by-two"
    shutil.copytree(whole, run)
    (run / "summary.json").unlink()
    for folder in ("results", "model", "interpolated"):
        shutil.rmtree(run / folder)
    two = ["--trainer.devices=2", "--trainer.strategy=ddp", "--data.batch_size=8"]
    words = command(place, "resume", str(run), *two)
    done = subprocess.run(words, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    expected = measured(whole)
    assert len(expected) == 7  # three results, two models, summary, curve
    assert measured(run) == expected
