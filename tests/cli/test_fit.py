"""The real command line on real files: prepare, fit, kill, resume, compare."""

import json

import pytest
import torch
from fitting import SPLITS, STEPS, losses, prepare, unmeasured
from ranked import full
from safetensors.torch import load_file

from pcclip.cli import main
from pcclip.data.bank import Bank
from pcclip.data.shards import ShardIndex


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
        assert delta["value"] == pytest.approx(after["value"] - before["value"], abs=1e-7)
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


def test_both_payloads_give_the_same_losses(place, whole):
    prepare(place / "keys", "keys")
    words = ["--data.payload=keys", f"--data.bank={place / 'bank'}"]
    words += [f"--data.{n}triples={place / 'keys/triples'}/{s}" for n, s in SPLITS.items()]
    pictures = json.dumps([str(place / "data/pictures" / split) for split in ("train", "validation")])
    assert main(unmeasured(place, "keys", *words, f"--data.pictures={pictures}")) == 0
    from_bank, from_pixels = losses(place / "runs/small/keys"), losses(whole)
    assert len(from_bank) == STEPS
    assert from_bank == pytest.approx(from_pixels, abs=1e-4)
    assert from_bank[0] == pytest.approx(from_pixels[0], abs=1e-5)


def test_pictures_of_triples_go_through_the_tower_once(place, whole):
    bank = place / "own-bank"
    assert main(unmeasured(place, "own-bank", f"--data.bank={bank}")) == 0
    assert losses(place / "runs/small/own-bank") == pytest.approx(losses(whole), abs=1e-4)
    sets = [ShardIndex.load(p) for s in SPLITS.values() for p in (place / "data/triples" / s).glob("*.tar")]
    triples = [json.loads(index.read(i, "json")) for index in sets for i in range(len(index))]
    assert set(Bank.open(bank, None).keys()) == {t[side] for t in triples for side in ("image1", "image2")}


def test_precomputed_tokens_change_nothing(place, whole):
    words = ["--data.precompute_tokens=true", f"--data.cache_dir={place / 'tokens'}"]
    assert main(unmeasured(place, "tokens", *words)) == 0
    assert list((place / "tokens").iterdir())
    assert losses(place / "runs/small/tokens") == pytest.approx(losses(whole), abs=1e-7)


def test_without_a_terminal_progress_is_a_few_lines(place, capfd):
    assert main(unmeasured(place, "shown", "--trainer.enable_progress_bar=true")) == 0
    said = capfd.readouterr().err.splitlines()
    lines = [line for line in said if line.startswith("step ") and line.endswith("left")]
    assert len(lines) == 10
    assert lines[-1].startswith(f"step {STEPS} of {STEPS}, loss ")
    assert lines[-1].endswith(", 0:00 left")


def test_captions_train_beside_differences(place):
    words = [
        f"--data.captions={place / 'data/pictures/train'}",
        "--data.caption_batch_size=8",
        "--model.caption_objective=pcclip.objective.CaptionInfoNCE",
        "--model.caption_weight=0.5",
    ]
    assert main(unmeasured(place, "rehearsal", *words)) == 0
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(place / "runs/small/rehearsal"))
    events.Reload()
    parts = {
        n: [e.value for e in events.Scalars(f"train/{n}")]
        for n in ("loss", "difference_loss", "caption_loss")
    }
    expected = [d + 0.5 * c for d, c in zip(parts["difference_loss"], parts["caption_loss"], strict=True)]
    assert parts["loss"] == pytest.approx(expected, rel=1e-5)


def test_a_loss_that_is_not_finite_stops_with_the_keys_of_the_batch(place, capsys):
    words = unmeasured(place, "hot", "--model.optimizer.lr=1e30", "--model.lr_scheduler=null")
    assert main(words) == 1
    assert "is not finite at step" in capsys.readouterr().err
    record = json.loads((place / "runs" / "small" / "hot" / "nonfinite-rank0.json").read_text())
    shards = [ShardIndex.load(p) for p in sorted((place / "data/triples/train").glob("*.tar"))]
    known = {key for index in shards for key in index.keys}
    assert len(record["keys"]["differences"]) == 16
    assert set(record["keys"]["differences"]) <= known


@full
@pytest.mark.slow
def test_a_compiled_text_tower_trains_as_one_that_is_not(place):
    pytest.importorskip("triton")
    short = ["--trainer.max_steps=3", "--checkpoint.every_n_train_steps=100"]
    for version, words in (("plain", []), ("compiled", ["--model.compile_text=true"])):
        assert main(unmeasured(place, f"compile-{version}", *short, *words)) == 0
    plain, compiled = (losses(place / "runs/small" / f"compile-{v}") for v in ("plain", "compiled"))
    assert sorted(plain) == [0, 1, 2]
    assert compiled == pytest.approx(plain, abs=1e-5)


def test_compare_prints_one_table(whole, capsys):
    assert main(["compare", str(whole)]) == 0
    assert "two-alternative" in capsys.readouterr().out


def test_test_verb_evaluates_a_checkpoint_in_a_folder_of_its_own(place, whole):
    words = [f"--config={whole / 'config.yaml'}", f"--ckpt_path={whole / 'checkpoints/last.ckpt'}"]
    assert main(["test", *words, "--version=null"]) == 0
    tested = json.loads((place / "runs/small/test000/summary.json").read_text())
    assert tested["tuned"] == json.loads((whole / "summary.json").read_text())["tuned"]
