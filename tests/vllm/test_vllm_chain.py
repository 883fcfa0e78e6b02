"""From COCO's captions to a finetuned tower: all captions, real engine, filter, shards, `inspect`, `fit`."""

import os
import random
import subprocess
from pathlib import Path

import pytest
import torch
import yaml
from engine_settings import ENGINE, ENVIRONMENT
from jobs import ROOT, records, triples

from pcclip.cli import main
from pcclip.data.inspect import inspect_shards

ROWS = 6000
# The python of `make env`: training needs Lightning, which the engine's environment does not have.
TRAINING = Path(os.environ.get("PCCLIP_TRAINING_PYTHON", ROOT / ".venv/bin/python"))
QUESTION = "First picture: {caption1}\nSecond picture: {caption2}"


def lesson(one: str, two: str) -> str:
    """A chat as the prompt below and the model's chat template render it, with its answer."""
    first, second = (text.strip().rstrip(".") for text in (one, two))
    question = QUESTION.format(caption1=first, caption2=second)
    shown, other = (text[:1].lower() + text[1:] for text in (first, second))
    answer = f"The first picture shows {shown}, while the second one shows {other}."
    return f"<s><|user|>{question}<|end|><|assistant|>{answer}<|end|>"


@pytest.fixture(scope="module")
def taught(captions: dict[int, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama that writes sentences: wrong ones, but English, so that the filter has work to do."""
    from tiny import make_model

    texts = [caption for several in captions.values() for caption in several]
    rng = random.Random(0)
    lessons = [lesson(*rng.sample(texts, 2)) for _ in range(4000)]
    return make_model(tmp_path_factory.mktemp("taught") / "llama", texts, lessons=lessons)


def write_recipe(folder: Path, real_data: Path, model: Path) -> Path:
    (folder / "prompt.yaml").write_text(yaml.safe_dump({"name": "plain", "version": 1, "question": QUESTION}))
    source = {
        "class_path": "pcclip.data.sources.coco.Coco",
        "init_args": {
            "captions": str(real_data / "coco/annotations/captions_val2017.json"),
            "with_images": False,
            "train": 1.0,
            "validation": 0.0,
        },
    }
    plan = {"pictures": 0, "pairs": ROWS}
    engine = {
        "model": str(model),
        "engine": ENGINE,
        "environment": ENVIRONMENT,
        "log": str(folder / "engine.log"),
    }
    settings = {
        "rows": {
            "class_path": "pcclip.generation.picture_pairs.SourcePairs",
            "init_args": {"source": source, "plan": plan, "name": "coco"},
        },
        "prompt": "prompt.yaml",
        "writer": {"class_path": "pcclip.generation.writers.vllm_engine.VllmEngine", "init_args": engine},
        "sampling": {"max_tokens": 60, "temperature": 0.7, "top_p": 0.9},
        "check": {"class_path": "pcclip.generation.filter_check.Filter"},
        "repeats": {"class_path": "pcclip.generation.filter_check.NoRepeats"},
        "out": str(folder / "written"),
        "progress": False,
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(settings))
    return folder / "recipe.yaml"


def fit(folder: Path) -> subprocess.CompletedProcess[str]:
    """A few steps of a small random CLIP on the written triples and the pictures that exist."""
    experiment = {
        "experiment": "coco",
        "model": {
            "class_path": "pcclip.training.DifferenceTraining",
            "init_args": {
                "name": "pcclip-tiny",
                "random_init": True,
                "trainable": "text",
                "objective": {"class_path": "pcclip.objective.DifferenceInfoNCE"},
                "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-3}},
            },
        },
        "data": {
            "class_path": "pcclip.data.datamodule.DifferenceData",
            "init_args": {
                "triples": str(folder / "written/triples"),
                "pictures": str(folder / "pictures/pictures/train"),
                "bank": str(folder / "bank"),
                "missing_pictures": "leave_out",
                "batch_size": 4,
            },
        },
        "trainer": {"accelerator": "cpu", "max_steps": 6, "max_epochs": -1, "log_every_n_steps": 1},
    }
    (folder / "fit.yaml").write_text(yaml.safe_dump(experiment))
    words = ["fit", f"--config={folder / 'fit.yaml'}", f"--runs={folder / 'runs'}", "--version=v0"]
    return subprocess.run(
        [str(TRAINING), "-m", "pcclip", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "2", "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.slow
def test_from_all_captions_to_a_finetuned_tower(
    taught: Path, real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["write", "--config", str(write_recipe(tmp_path, real_data, taught))]) == 0
    told = records(tmp_path / "written")
    assert [r["row"] for r in told] == list(range(ROWS))
    assert all(r["error"] is None for r in told)
    asked = {key for r in told for key in (r["image1"], r["image2"])}
    assert len(asked) > 4500  # of the 5,000 pictures with captions
    reasons = {r["reason"] for r in told if r["reason"]}
    accepted = [r for r in told if r["difference"]]
    print(f"{len(accepted)} of {ROWS} accepted; rejected: {sorted(reasons)}")
    assert len(accepted) > 0.7 * ROWS
    assert {"truncated", "too_short"} & reasons

    report = inspect_shards(str(tmp_path / "written/triples"))
    assert (report.fault_count, report.writers) == (0, {"vllm": report.records})
    made = triples(tmp_path / "written")
    texts = {r["key"]: r["difference"] for r in accepted}
    assert all(texts[t.key] == t.difference for t in made)
    assert {t.source["model"] for t in made} == {str(taught)}

    coco = real_data / "coco"
    source = [
        "--source",
        "pcclip.data.sources.coco.Coco",
        "--source.train",
        "1.0",
        "--source.validation",
        "0.0",
    ]
    source += [
        f"--source.captions={coco}/annotations/captions_val2017.json",
        f"--source.images={coco}/val2017",
    ]
    assert main(["prepare", *source, f"--out={tmp_path / 'pictures'}", "--progress=false"]) == 0
    there = {path.stem for path in (coco / "val2017").iterdir()}
    usable = sum({t.image1, t.image2} <= there for t in made)
    capsys.readouterr()
    done = fit(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{usable} of {len(made):,} triples are used" in done.stdout + done.stderr
    last = tmp_path / "runs/coco/v0/checkpoints/last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == 6
