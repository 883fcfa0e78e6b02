"""Fits over processes (DDP, FSDP2; gloo) train, evaluate, stop and go on as those of one process."""

import json

import pytest
from fitting import fit_words, losses
from ranked import BARE, PLAIN, assert_same, fit, full, moved, over
from safetensors.torch import load_file

from pcclip.cli import main

CLIPPED = ["--trainer.gradient_clip_val=0.5", "--model.objective.learn_temperature=true"]


@pytest.fixture(scope="session")
def one(place):
    """Of one process: with its evaluations, a learned temperature and clipped gradients."""
    assert main(fit_words(place, "one-process", *PLAIN, *CLIPPED)) == 0
    return place / "runs/small/one-process"


def numbers(summary, at=""):
    """The leaves of a summary by their path."""
    if isinstance(summary, dict):
        return {k: v for key, value in summary.items() for k, v in numbers(value, f"{at}/{key}").items()}
    if isinstance(summary, list):
        return {k: v for key, value in enumerate(summary) for k, v in numbers(value, f"{at}/{key}").items()}
    return {at: summary}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ranks", "strategy"), [(2, "ddp"), (2, "fsdp2"), pytest.param(4, "fsdp2", marks=full)]
)
def test_several_processes_train_and_are_evaluated_as_one(place, one, ranks, strategy):
    run = fit(place, f"{strategy}-{ranks}", *PLAIN, *CLIPPED, *over(ranks, strategy))
    assert_same(run, one)
    assert moved(run, place) > 1e-2
    for written in ("model", "interpolated"):
        ours, theirs = (load_file(r / written / "open_clip_model.safetensors") for r in (run, one))
        assert max((ours[n] - theirs[n]).abs().max() for n in theirs) < 1e-5
    ours, theirs = (numbers(json.loads((r / "summary.json").read_text())) for r in (run, one))
    for name, value in theirs.items():
        if not name.startswith(("/seconds", "/version", "/sha256", "/cost")):
            # Of the same weights to a hair. Else rounding decides near-ties: one of 10,000 pairs moves a
            # share by 1e-4, and the interval of a change by more.
            tolerance = 1e-7 if name.startswith("/base") else 1e-3
            assert ours[name] == pytest.approx(value, abs=tolerance, nan_ok=True), name


@full
@pytest.mark.slow
@pytest.mark.parametrize("part", ["blocks", "text", "lora", "projection_norms", "both"])
def test_every_part_can_be_spread(place, part):
    words = [*PLAIN, *BARE, "--trainer.max_steps=6", f"--model.trainable={part}"]
    alone = fit(place, f"alone-{part}", *words)
    assert_same(fit(place, f"spread-{part}", *words, *over(2, "fsdp2")), alone)


@full
@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["torch.optim.AdamW", "pcclip.optim.MuonAdamW"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((4, "fsdp2"), (2, "fsdp2")),
        ((2, "fsdp2"), (1, "auto")),
        ((1, "auto"), (2, "fsdp2")),
        ((2, "ddp"), (4, "fsdp2")),
    ],
)
def test_a_run_goes_on_under_another_strategy_and_number_of_processes(place, before, after, optimizer):
    name = f"{before[1]}{before[0]}-{after[1]}{after[0]}-{optimizer}"
    words = [
        *BARE,
        f"--model.optimizer={optimizer}",
        "--model.optimizer.lr=1e-4",
        "--model.lr_scheduler=null",
    ]
    undisturbed = fit(place, f"{name}-whole", *words, *over(*after), "--trainer.max_steps=8")
    half = fit(place, f"{name}-half", *words, *over(*before), "--trainer.max_steps=4")
    ckpt = f"--ckpt_path={half / 'checkpoints/last.ckpt'}"
    run = fit(place, f"{name}-rest", *words, *over(*after), "--trainer.max_steps=8", ckpt)
    assert sorted(losses(run)) == [4, 5, 6, 7]
    expected = losses(undisturbed)
    assert losses(run) == pytest.approx({step: expected[step] for step in losses(run)}, abs=2e-4)


@full
@pytest.mark.slow
def test_a_spread_run_that_was_stopped_goes_on_with_other_processes_by_resume(place, one):
    run = fit(place, "stopped", *PLAIN, *CLIPPED, *over(2, "fsdp2"), "--trainer.max_steps=5", *BARE)
    words = [
        "--trainer.max_steps=12",
        "--trainer.devices=1",
        "--trainer.strategy=auto",
        "--data.batch_size=16",
    ]
    assert main(["resume", str(run), *words]) == 0
    assert_same(run, one)
