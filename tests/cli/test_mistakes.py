"""Mistakes that a newcomer makes: what is said names the file, the key and the remedy, in a line or two."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from fitting import experiment
from lightning.pytorch import Callback

from pcclip.cli import main
from pcclip.remedies import users_error

ROOT = Path(__file__).parents[2]
SHAPES = "experiments/shapes/differences.yaml"
RECIPE = "data_recipes/shapes/demo.yaml"


COMMAND_LINES = {
    "no configuration": (["fit"], ["--config FILE.yaml", "experiments/", "data and model"]),
    "no such configuration": (
        ["fit", "--config", "experiments/shapes/diferences.yaml"],
        ["experiments/shapes/diferences.yaml: there is no such file", f"Is {SHAPES} or"],
    ),
    "right name, wrong folder": (["fit", "--config=mse.yaml"], ["Is experiments/", "/mse.yaml"]),
    "a folder": (["prepare", "--config", "data_recipes/shapes"], ["is a folder", "demo.yaml"]),
    "mistyped verb": (["fitt"], ["no verb 'fitt'", "Is `pcclip fit` meant?"]),
    "mistyped option": (
        ["fit", f"--config={SHAPES}", "--sed_everything=1"],
        ["--sed_everything: there is no such option", "--seed_everything"],
    ),
    "option without its group": (
        ["fit", f"--config={SHAPES}", "--batch_size=8"],
        ["Is --data.batch_size meant?"],
    ),
    "mistyped setting": (
        ["fit", f"--config={SHAPES}", "--data.batch_sise=8"],
        ["--data.batch_sise: there is no such setting", "Is batch_size meant?"],
    ),
    "wrong type": (["fit", f"--config={SHAPES}", "--data.batch_size=many"], ["'many' is not a whole number"]),
    "wrong choice": (
        ["fit", f"--config={SHAPES}", "--model.trainable=txt"],
        ["'txt' is not one of blocks, text", "Is text meant?"],
    ),
    "wrong precision": (["fit", f"--config={SHAPES}", "--trainer.precision=bf61"], ["bf16-mixed"]),
    "no value": (
        ["fit", f"--config={SHAPES}", "--data.batch_size"],
        ["has no value", "--data.batch_size=VALUE"],
    ),
    "a bare word": (["fit", f"--config={SHAPES}", "fast"], ["'fast'", "--NAME=VALUE"]),
    "an overlay alone": (
        ["fit", "--config=experiments/hardware/ddp.yaml"],
        ["ddp.yaml", "after a whole one"],
    ),
    "a recipe for fit": (["fit", f"--config={RECIPE}"], [RECIPE, "is for `pcclip prepare`"]),
    "an experiment for prepare": (["prepare", f"--config={SHAPES}"], [SHAPES, "is for `pcclip fit`"]),
    "a class of another kind": (
        ["fit", f"--config={SHAPES}", "--model.objective=pcclip.objective.CaptionInfoNCE"],
        ["--model.objective", "is no DifferenceObjective", "DifferenceInfoNCE"],
    ),
    "pretraining first": (
        ["fit", f"--config={SHAPES}", "--seed_everything=77", "--version=seed77"],
        [
            "seed77/model: no such folder",
            "`pcclip fit --config experiments/shapes/pretrain.yaml --seed_everything 77",
        ],
    ),
    "missing words": (["compare"], ["missing: runs", "`pcclip compare --help`"]),
    "not finished": (["compare", "runs/nothing-here"], ["no finished run", "`pcclip resume`"]),
    "no run": (["resume", "runs/nothing-here"], ["no config.yaml", "RUNS/EXPERIMENT/VERSION"]),
    "no such model": (
        ["rank", "photos", "larger", "--model=runs/x/y"],
        ["'runs/x/y': there is no such folder"],
    ),
    "no such set": (["inspect", "data/shapes-nowhere"], ["there is no such shard"]),
    "no suite": (["evaluate", "--rnus=[a]"], ["--rnus", "Is --runs meant?"]),
}


@pytest.mark.parametrize(("words", "says"), COMMAND_LINES.values(), ids=COMMAND_LINES)
def test_command_lines(said, words, says):
    told = said(*words)
    assert all(text in told for text in says), told


FITS = {
    "zero": (["--data.batch_size=0"], ["data.batch_size=0", "at least 1"]),
    "tag": (["--model.name=ViT-B32"], ["no architecture is called 'ViT-B32'", "ViT-B-32"]),
    "weights": (
        ["--model.name=ViT-B-32", "--model.pretrained=laion"],
        ["no pretrained weights", "laion2b_e16"],
    ),
    "folder": (["--model.name=local-dir:runs/x/y/model"], ["runs/x/y/model: no such folder"]),
    "no GPU": (["--trainer.accelerator=gpu"], ["trainer.accelerator", "=auto or cpu", "nvidia-smi"]),
    "accelerator": (["--trainer.accelerator=gppu"], ["accelerator='gppu'", "auto"]),
    "strategy": (["--trainer.strategy=dpd"], ["strategy='dpd'", "ddp"]),
    "no steps": (["--trainer.max_steps=0"], ["model.lr_scheduler", "trainer.max_steps"]),
    "no triples": (["--data.triples={empty}"], ["{empty}: unfinished or foreign set", "set.json"]),
    "wrong split": (["--data.triples={data}/triples/trian"], ["triples/trian: there is no such shard"]),
    "half a set": (["--data.triples={half}"], ["{half}: unfinished or foreign set"]),
    "no checkpoint": (
        ["--ckpt_path=nowhere.ckpt"],
        ["ckpt_path=nowhere.ckpt: there is no such file", "resume"],
    ),
    "a file that is none": (["--ckpt_path={place}/fit.yaml"], ["is no checkpoint"]),
}


@pytest.mark.parametrize(("words", "says"), FITS.values(), ids=FITS)
def test_fits_that_cannot_begin(said, place, tmp_path, words, says):
    (tmp_path / "empty").mkdir()
    (tmp_path / "half").mkdir()
    shard = next((place / "data/triples/train").glob("*.tar"))
    (tmp_path / "half" / shard.name).write_bytes(shard.read_bytes())
    names = {"empty": tmp_path / "empty", "half": tmp_path / "half", "place": place, "data": place / "data"}
    told = said("fit", f"--config={place / 'fit.yaml'}", *(word.format(**names) for word in words))
    assert all(text.format(**names) in told for text in says), told


@pytest.mark.parametrize("elsewhere", [False, True], ids=["stopped", "running"])
def test_a_begun_run_outlives_a_command_that_fails_on_it(place, elsewhere, capsys):
    """One that was stopped before its first checkpoint, or that another process has just begun."""
    run = place / f"runs/small/begun-{elsewhere}"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text((place / "fit.yaml").read_text())
    words = ["--trainer.accelerator=gpu"]
    if elsewhere:
        words += ["--version", run.name, "--runs", str(place / "runs")]
        with FileLock(run / ".lock"):
            assert main(["fit", f"--config={place / 'fit.yaml'}", *words]) == 1
        assert "another process works in this run folder" in capsys.readouterr().err
    else:
        assert main(["resume", str(run), *words]) == 1
        assert "accelerator" in capsys.readouterr().err
    assert (run / "config.yaml").is_file()


def test_the_same_version_twice(place, whole, capsys):
    before = (whole / "summary.json").read_bytes()
    assert main(["fit", f"--config={place / 'fit.yaml'}", f"--runs={place / 'runs'}", "--version=whole"]) == 1
    assert "has finished, and nothing overwrites a run" in capsys.readouterr().err
    assert (whole / "summary.json").read_bytes() == before
    assert main(["resume", str(whole)]) == 1
    assert "has finished" in capsys.readouterr().err
    assert main(["resume", str(whole.parent)]) == 1
    assert "whole meant?" in capsys.readouterr().err or "config.yaml" in capsys.readouterr().err


TABLES = {
    "no captions": ("file,caption\na.jpg,\n", ["1 (without a caption)", "column or file of the captions"]),
    "another column": (
        "file,text\na.jpg,it\n",
        ["has no column 'caption' ('caption_columns')", "'file', 'text'"],
    ),
    "no pictures": ("file,caption\nz.jpg,it\n", ["1 (file missing)", "Check the folder of the pictures"]),
    "another separator": (
        "file;caption\na.jpg;it\n",
        ["Its columns are 'file;caption'", "is 'separator' right?"],
    ),
}


@pytest.mark.parametrize(("text", "says"), TABLES.values(), ids=TABLES)
def test_tables_of_captions(said, tmp_path, text, says):
    from PIL import Image

    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "photos/a.jpg")
    (tmp_path / "t.csv").write_text(text)
    source = ["--source=pcclip.data.sources.table.Table", f"--source.table={tmp_path / 't.csv'}"]
    told = said("prepare", *source, f"--source.images={tmp_path / 'photos'}", f"--out={tmp_path / 'out'}")
    assert all(part in told for part in [str(tmp_path / "t.csv"), *says]), told
    assert not (tmp_path / "out").exists()


def test_the_data_of_another_recipe(said, place):
    assert "Give another 'out', or delete the folder" in said(
        "prepare", "--config", RECIPE, f"--out={place / 'data'}"
    )


def test_running_from_elsewhere(tmp_path, monkeypatch, capsys):
    """Relative paths of a shipped configuration: which command makes them, and where it is to be run."""
    monkeypatch.chdir(tmp_path)
    assert main(["fit", f"--config={ROOT / SHAPES}", "--seed_everything=77"]) == 1
    told = capsys.readouterr().err
    assert "pretrain.yaml" in told
    assert f"Run it in {ROOT}" in told
    assert list(tmp_path.iterdir()) == []


def test_an_overlay_before_what_it_changes(place, tmp_path, capsys):
    (tmp_path / "overlay.yaml").write_text(json.dumps({"trainer": {"max_steps": 3}}))
    words = [
        "--config",
        str(tmp_path / "overlay.yaml"),
        "--config",
        str(place / "fit.yaml"),
        "--print_config",
    ]
    with pytest.raises(SystemExit):
        main(["fit", *words])
    assert f"{tmp_path / 'overlay.yaml'} has no effect: {place / 'fit.yaml'}" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["fit", *words[2:4], *words[:2], words[4]])
    told = capsys.readouterr()
    assert "no effect" not in told.err
    assert "max_steps: 3" in told.out


class TooLittle(Callback):
    """Asks the real allocator for more than there is."""

    def on_train_start(self, trainer, pl_module):
        torch.empty(1 << 50, dtype=torch.uint8)


def test_too_little_memory(place, tmp_path, capsys):
    config = experiment(place / "data", place / "base")
    config["trainer"]["callbacks"] = [{"class_path": f"{__name__}.TooLittle"}]
    (tmp_path / "fit.yaml").write_text(json.dumps(config))
    assert main(["fit", f"--config={tmp_path / 'fit.yaml'}", f"--runs={tmp_path}"]) == 1
    told = capsys.readouterr().err
    for text in ("memory does not suffice", "--data.batch_size", "bf16-mixed", "chunk_rows"):
        assert text in told
    assert "Traceback" not in told


def test_the_gpu_and_its_memory():
    """What torch and Lightning say where there is a GPU; the texts are theirs."""
    full = torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity"
    )
    told = str(users_error(full, "fit"))
    assert "the GPU's memory does not suffice (2.50 GiB" in told
    assert "--data.batch_size" in told
    assert "--batch_size" in str(users_error(full, "bank"))
    from lightning.fabric.utilities.device_parser import _sanitize_gpu_ids

    try:
        _sanitize_gpu_ids([0, 1], include_cuda=True)
    except Exception as error:
        told = str(users_error(error, "fit"))
    assert "asks for the GPUs [0, 1], this machine has 0" in told
    assert users_error(ValueError("a fault of ours"), "fit") is None


def test_folders_that_cannot_be_written(said, place, tmp_path):
    (tmp_path / "file").write_text("")
    data = f"--pictures={place / 'data/pictures/validation'}"
    told = said("bank", data, f"--out={tmp_path / 'file/bank'}", f"--name=local-dir:{place / 'base'}")
    assert str(tmp_path / "file") in told
    assert "Name another folder" in told


def test_a_port_that_is_taken(said, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"port {port} is in use. Give another by --port" in said(
            "serve", tmp_path, "--model=x", f"--port={port}"
        )


def test_as_a_process(tmp_path):
    """Status, streams and the absence of a traceback, as a shell sees them."""
    done = subprocess.run(
        [sys.executable, "-m", "pcclip", "prepare", "--config", RECIPE, "--source.trian=3"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "pcclip prepare: --source.trian: there is no such setting. Is train meant?\n"


@pytest.mark.slow
def test_a_hub_without_network(place, tmp_path):
    words = [
        "fit",
        f"--config={place / 'fit.yaml'}",
        "--model.name=hf-hub:laion/nothing",
        f"--runs={tmp_path}",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pcclip", *words],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "check the name and the network" in done.stderr
    assert "local-dir:FOLDER" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
