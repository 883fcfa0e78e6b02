"""Fits that are killed and resumed, also with fewer processes, end as one that was not."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from fitting import STEPS, command, fit_words, losses, unmeasured
from ranked import PLAIN, full
from safetensors.torch import load_file

from pcclip.cli import main


@pytest.mark.parametrize(
    ("how", "group"),
    [
        (signal.SIGKILL, False),
        (signal.SIGTERM, True),
        pytest.param(signal.SIGKILL, True, marks=full),
        pytest.param(signal.SIGTERM, False, marks=full),
    ],
)
def test_a_killed_fit_resumes_to_the_same_losses_and_weights(place, whole, how, group):
    """Schedulers signal the whole process group, loader workers included."""
    version = f"{how.name.lower()}-{group}"
    run = place / "runs" / "small" / version
    log = (place / f"{version}.log").open("w")
    process = subprocess.Popen(
        command(place, *fit_words(place, version)),
        stdout=log,
        stderr=log,
        cwd=Path.cwd(),
        start_new_session=True,
    )
    checkpoint = run / "checkpoints" / "last.ckpt"
    deadline = time.monotonic() + 240
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    (os.killpg if group else os.kill)(process.pid, how)
    assert process.wait(120) != 0, "the fit ended before it was killed"
    if how == signal.SIGTERM:
        assert process.returncode == 128 + signal.SIGTERM
    assert not (run / "summary.json").exists()
    assert 0 < torch.load(checkpoint, weights_only=True)["global_step"] < STEPS
    assert main(["resume", str(run)]) == 0
    undisturbed, resumed = losses(whole), losses(run)
    assert resumed.keys() >= {STEPS - 1}
    assert {s: undisturbed[s] for s in resumed} == pytest.approx(resumed, abs=1e-7)
    ours, theirs = (load_file(r / "model" / "open_clip_model.safetensors") for r in (run, whole))
    for name in theirs:
        assert torch.allclose(ours[name], theirs[name], atol=1e-7), name


def test_a_run_killed_after_its_last_step_still_gets_its_summary(place, whole):
    run = place / "runs" / "small" / "late"
    shutil.copytree(whole, run)
    (run / "summary.json").unlink()
    assert main(["resume", str(run)]) == 0
    late, expected = (json.loads((r / "summary.json").read_text()) for r in (run, whole))
    assert {k: late[k] for k in ("steps", "base", "tuned", "delta", "alpha")} == {
        k: expected[k] for k in ("steps", "base", "tuned", "delta", "alpha")
    }


def test_the_last_step_is_kept_whatever_the_cadence(place):
    seldom = ["--trainer.max_steps=3", "--checkpoint.every_n_train_steps=100"]
    assert main(unmeasured(place, "odd", *seldom)) == 0
    kept = torch.load(place / "runs/small/odd/checkpoints/last.ckpt", weights_only=True)
    assert kept["global_step"] == 3


@full
def test_a_run_of_two_ranks_goes_on_with_one(place):
    """The global order of samples does not depend on ranks: the same samples, losses and weights."""
    two = ["--trainer.devices=2", "--trainer.strategy=ddp", "--data.batch_size=8", "--trainer.max_steps=5"]
    runs = place / "runs/small"
    words = command(place, *fit_words(place, "half", *PLAIN, *two))
    done = subprocess.run(words, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    ckpt = f"--ckpt_path={runs / 'half/checkpoints/last.ckpt'}"
    assert main(fit_words(place, "other-half", *PLAIN, ckpt)) == 0
    assert main(fit_words(place, "in-one-go", *PLAIN)) == 0
    resumed, expected = losses(runs / "other-half"), losses(runs / "in-one-go")
    assert sorted(resumed) == list(range(5, STEPS))
    assert resumed == pytest.approx({step: expected[step] for step in resumed}, abs=1e-5)


def test_muon_goes_on_from_its_state(place):
    muon = [
        "--model.optimizer=pcclip.optim.MuonAdamW",
        "--model.optimizer.lr=1e-3",
        "--model.lr_scheduler=null",
    ]
    runs = place / "runs/small"
    assert main(unmeasured(place, "muon", *muon)) == 0
    assert main(unmeasured(place, "muon-half", *muon, "--trainer.max_steps=5")) == 0
    ckpt = f"--ckpt_path={runs / 'muon-half/checkpoints/last.ckpt'}"
    assert main(unmeasured(place, "muon-rest", *muon, ckpt)) == 0
    resumed, expected = losses(runs / "muon-rest"), losses(runs / "muon")
    assert sorted(resumed) == list(range(5, STEPS))
    assert resumed == pytest.approx({step: expected[step] for step in resumed}, abs=1e-7)
