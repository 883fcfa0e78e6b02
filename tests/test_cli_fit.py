"""The real command line on real files: prepare, fit, kill, resume, compare."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pcclip.cli import main
from pcclip.data.shards import ShardIndex

STEPS = 12
SPLITS = {"": "train", "validation_": "validation"}
PROTOCOLS = ["pcclip.evaluation.zero_shot.ZeroShot", "pcclip.evaluation.difference.DifferenceClassification"]


def experiment(data: Path, base: Path, **trainer) -> dict:
    suite = {
        "class_path": "pcclip.callbacks.evaluation.EvaluationSuite",
        "init_args": {
            "evaluations": [{"data": str(data), "protocols": [{"class_path": p} for p in PROTOCOLS]}],
            "interpolation": {"alphas": [0.5]},
            "cache_dir": None,
        },
    }
    return {
        "experiment": "small",
        "model": {
            "class_path": "pcclip.training.DifferenceTraining",
            "init_args": {
                "name": f"local-dir:{base}",
                "trainable": "text_no_embeddings",
                "objective": {"class_path": "pcclip.objective.DifferenceInfoNCE"},
                "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-3}},
                "lr_scheduler": {
                    "class_path": "torch.optim.lr_scheduler.OneCycleLR",
                    "init_args": {"max_lr": 1e-3, "total_steps": "${trainer.max_steps}"},
                },
            },
        },
        "data": {
            "class_path": "pcclip.data.datamodule.DifferenceData",
            "init_args": {
                "triples": str(data / "triples/train"),
                "validation_triples": str(data / "triples/validation"),
                "payload": "pixels",
                "batch_size": 16,
                "num_workers": 1,
            },
        },
        "checkpoint": {"every_n_train_steps": 2},
        "trainer": {
            "accelerator": "cpu",
            "max_steps": STEPS,
            "max_epochs": -1,
            "check_val_every_n_epoch": None,
            "val_check_interval": 6,
            "log_every_n_steps": 1,
            "enable_progress_bar": False,
            "callbacks": [suite],
            **trainer,
        },
    }


def prepare(out: Path, payload: str) -> None:
    recipe = ["--config", "data_recipes/shapes/demo.yaml", "--config", "data_recipes/shapes/smoke.yaml"]
    more = ["--out", str(out), "--differences.payload", payload, "--progress", "false"]
    assert main(["prepare", *recipe, *more]) == 0


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with small data, a small base model and a configuration."""
    from pcclip.model.checkpoint import save_folder
    from pcclip.model.towers import load_towers

    folder = tmp_path_factory.mktemp("cli")
    prepare(folder / "data", "pixels")
    torch.manual_seed(0)
    save_folder(load_towers("pcclip-tiny", random_init=True), folder / "base")
    (folder / "fit.yaml").write_text(json.dumps(experiment(folder / "data", folder / "base")))
    return folder


def command(place: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "pcclip", *words]


def fit_words(place: Path, version: str, *more: str) -> list[str]:
    return [
        "fit",
        f"--config={place / 'fit.yaml'}",
        f"--runs={place / 'runs'}",
        f"--version={version}",
        *more,
    ]


@pytest.fixture(scope="module")
def whole(place: Path) -> Path:
    """A run that nobody disturbed."""
    assert main(fit_words(place, "whole")) == 0
    return place / "runs" / "small" / "whole"


def losses(run: Path) -> dict[int, float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run))
    events.Reload()
    return {e.step: e.value for e in events.Scalars("train/loss")}


def test_summary_has_before_after_and_delta_with_intervals(whole):
    summary = json.loads((whole / "summary.json").read_text())
    assert summary["schema"] == 1
    assert (summary["experiment"], summary["seed"], summary["steps"]) == ("small", 0, STEPS)
    assert summary["base"].keys() == summary["tuned"].keys() == summary["delta"].keys()
    for name in (
        "zero_shot/shapes/top1",
        "difference/shapes-size/two_alternative",
        "difference/shapes-mean/sign",
    ):
        before, after, delta = (summary[stage][name] for stage in ("base", "tuned", "delta"))
        assert delta["value"] == pytest.approx(after["value"] - before["value"], abs=1e-9)
        assert before["low"] <= before["value"] <= before["high"]
        assert before["n"] > 0
    assert summary["alpha"] in (0.0, 0.5, 1.0)
    curve = json.loads((whole / "interpolation.json").read_text())
    assert [p["alpha"] for p in curve["points"]] == [0.0, 0.5, 1.0]
    assert curve["split"] == "validation"
    assert (whole / "interpolation.png").stat().st_size > 1000


def test_image_tower_is_the_same_bit_for_bit_and_the_text_tower_moved(place, whole):
    base = load_file(place / "base" / "open_clip_model.safetensors")
    tuned = load_file(whole / "model" / "open_clip_model.safetensors")
    assert base.keys() == tuned.keys()
    for name in base:
        frozen = name.startswith("visual.") or "token_embedding" in name or "logit" in name
        assert torch.equal(base[name], tuned[name]) == frozen, name


def test_checkpoint_loads_without_pickled_code_and_holds_only_what_trains(whole):
    checkpoint = torch.load(whole / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == STEPS
    assert checkpoint["pcclip"]["architecture"]["activation"] == "gelu"
    assert not any("visual" in name for name in checkpoint["state_dict"])


def test_runs_are_never_overwritten(place, whole, capsys):
    assert main(["resume", str(whole)]) == 1
    assert "has finished" in capsys.readouterr().err


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_fit_resumes_to_the_same_losses_and_weights(place, whole, how):
    version = how.name.lower()
    run = place / "runs" / "small" / version
    log = (place / f"{version}.log").open("w")
    process = subprocess.Popen(
        command(place, *fit_words(place, version)), stdout=log, stderr=log, cwd=Path.cwd()
    )
    checkpoint = run / "checkpoints" / "last.ckpt"
    deadline = time.monotonic() + 240
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, how)
    assert process.wait(120) != 0, "the fit ended before it was killed"
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
    assert main(fit_words(place, "odd", "--trainer.max_steps=3", "--checkpoint.every_n_train_steps=100")) == 0
    kept = torch.load(place / "runs/small/odd/checkpoints/last.ckpt", weights_only=True)
    assert kept["global_step"] == 3


def test_both_payloads_give_the_same_losses(place, whole):
    prepare(place / "keys", "keys")
    words = ["--data.payload=keys", f"--data.bank={place / 'bank'}"]
    words += [f"--data.{n}triples={place / 'keys/triples'}/{s}" for n, s in SPLITS.items()]
    pictures = json.dumps([str(place / "data/pictures" / split) for split in ("train", "validation")])
    assert main(fit_words(place, "keys", *words, f"--data.pictures={pictures}")) == 0
    from_bank, from_pixels = losses(place / "runs/small/keys"), losses(whole)
    assert len(from_bank) == STEPS
    assert from_bank == pytest.approx(from_pixels, abs=1e-4)
    assert from_bank[0] == pytest.approx(from_pixels[0], abs=1e-5)


def test_precomputed_tokens_change_nothing(place, whole):
    words = ["--data.precompute_tokens=true", f"--data.cache_dir={place / 'tokens'}"]
    assert main(fit_words(place, "tokens", *words)) == 0
    assert list((place / "tokens").iterdir())
    assert losses(place / "runs/small/tokens") == pytest.approx(losses(whole), abs=1e-7)


def test_captions_train_beside_differences(place):
    words = [
        f"--data.captions={place / 'data/pictures/train'}",
        "--data.caption_batch_size=8",
        "--model.caption_objective=pcclip.objective.CaptionInfoNCE",
        "--model.caption_weight=0.5",
    ]
    assert main(fit_words(place, "rehearsal", *words)) == 0
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(place / "runs/small/rehearsal"))
    events.Reload()
    parts = {
        n: [e.value for e in events.Scalars(f"train/{n}")]
        for n in ("loss", "difference_loss", "caption_loss")
    }
    expected = [d + 0.5 * c for d, c in zip(parts["difference_loss"], parts["caption_loss"], strict=True)]
    assert parts["loss"] == pytest.approx(expected, rel=1e-5)


def test_two_ranks_train_as_one(place):
    # Plain SGD: Adam would blow rounding up where a gradient is zero (the bias of attention keys).
    plain = ["--model.optimizer=torch.optim.SGD", "--model.optimizer.lr=0.1", "--model.lr_scheduler=null"]
    two = ["--trainer.devices=2", "--trainer.strategy=ddp", "--data.batch_size=8"]
    for version, more in (("one", []), ("two", two)):
        words = command(place, *fit_words(place, version, *plain, *more))
        done = subprocess.run(words, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
    runs = place / "runs/small"
    ours, theirs = (load_file(runs / r / "model/open_clip_model.safetensors") for r in ("two", "one"))
    base = load_file(place / "base" / "open_clip_model.safetensors")
    moved = max((theirs[n] - base[n]).abs().max() for n in base)
    assert max((ours[n] - theirs[n]).abs().max() for n in theirs) < 1e-5 < moved / 100


def test_a_loss_that_is_not_finite_stops_with_the_keys_of_the_batch(place, capsys):
    words = fit_words(place, "hot", "--model.optimizer.lr=1e30", "--model.lr_scheduler=null")
    assert main(words) == 1
    assert "is not finite at step" in capsys.readouterr().err
    record = json.loads((place / "runs" / "small" / "hot" / "nonfinite-rank0.json").read_text())
    shards = [ShardIndex.load(p) for p in sorted((place / "data/triples/train").glob("*.tar"))]
    known = {key for index in shards for key in index.keys}
    assert len(record["keys"]["differences"]) == 16
    assert set(record["keys"]["differences"]) <= known


def test_compare_prints_one_table(whole, capsys):
    assert main(["compare", str(whole)]) == 0
    assert "two-alternative" in capsys.readouterr().out


def test_test_verb_evaluates_a_checkpoint_in_a_folder_of_its_own(place, whole):
    words = [f"--config={whole / 'config.yaml'}", f"--ckpt_path={whole / 'checkpoints/last.ckpt'}"]
    assert main(["test", *words, "--version=null"]) == 0
    tested = json.loads((place / "runs/small/test000/summary.json").read_text())
    assert tested["tuned"] == json.loads((whole / "summary.json").read_text())["tuned"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model.name=local-dir:nowhere"], "nowhere"),
        (["--trainer.precision=bf16-true"], "keeps no fp32 master weights"),
        (["--data.batch_size=100000"], "too few records"),
        (["--data.payload=keys"], "data.bank is null"),
        (["--data.triples=nowhere/*.tar"], "no shard matches"),
    ],
)
def test_bad_settings_name_the_key_and_the_remedy(place, words, message, capsys):
    assert main(fit_words(place, f"bad-{len(list(place.glob('runs/small/*')))}", *words)) == 1
    assert message in capsys.readouterr().err


def test_a_checkpoint_of_another_architecture_is_refused(place, whole, tmp_path, capsys):
    from pcclip.model.checkpoint import save_folder
    from pcclip.model.towers import load_towers

    save_folder(load_towers("pcclip-mini", random_init=True), tmp_path / "other")
    ckpt = f"--ckpt_path={whole / 'checkpoints/last.ckpt'}"
    assert main(fit_words(place, "other", f"--model.name=local-dir:{tmp_path / 'other'}", ckpt)) == 1
    assert "they differ in" in capsys.readouterr().err


def test_an_unknown_key_is_an_error(place, capsys):
    with pytest.raises(SystemExit):
        main(fit_words(place, "typo", "--model.temprature=1"))
    assert "temprature" in capsys.readouterr().err


def test_unknown_verbs_list_the_known_ones(capsys):
    assert main(["fitt"]) == 2
    assert "resume" in capsys.readouterr().err


@pytest.mark.parametrize("config", sorted(Path("experiments").glob("*/*.yaml")), ids=str)
def test_every_shipped_experiment_parses(config, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["fit", f"--config={config}", "--seed_everything=1", "--print_config"])
    assert ended.value.code == 0
    assert "pcclip.training.DifferenceTraining" in capsys.readouterr().out
