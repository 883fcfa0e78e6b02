"""Whole commands: a fit's seconds to its first step and its wait for the loader; seconds of evaluations."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pcclip.data.prepare import prepare
from pcclip.data.sources.eurosat import EuroSAT
from pcclip.data.sources.shapes import Shapes
from pcclip.evaluation.protocols.contrasts import Contrast
from pcclip.evaluation.sources.prepared import Prepared
from pcclip.model.checkpoint import save_folder
from pcclip.model.towers import load_towers
from pcclip.precision import machine_precision
from tests.benchmarks.loader import write_triples
from tests.benchmarks.report import Measured, Report

ZERO_SHOT = "pcclip.evaluation.protocols.zero_shot.ZeroShot"
DIFFERENCE = "pcclip.evaluation.protocols.difference.DifferenceClassification"


def bench_fit(
    report: Report,
    model: str,
    batch: int,
    steps: int,
    repeats: int,
    device: str = "cpu",
    options: list[str] | None = None,
) -> None:
    """Rows of start-up seconds, and of one longer fit: samples per second and share of the wait for data.

    The fit has triples of payload `keys` and a bank, tokens kept, one worker, and no evaluations; the minimal
    script imports open_clip, makes the same model and does one step in fp32.

    Args:
        report: Takes the rows.
        model: Open_clip's name of an architecture; the weights are random.
        batch: Triples per step.
        steps: Of the longer fit.
        repeats: Starts.
        device: `cpu` or `cuda`.
        options: More of `pcclip fit`.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        towers = load_towers(model, random_init=True)
        address = f"local-dir:{save_folder(towers, folder / 'model')}"
        write_triples(folder, 2 * batch + steps * batch // 4, towers.embed_dim, towers.image_fingerprint())
        del towers
        fit = partial(_fit, folder, _settings(folder, address, batch, device), options or [])
        starts: dict[str, list[float]] = {"ours": [], "open_clip": []}
        for number in range(repeats):
            began = time.time()
            starts["ours"].append(_first_step(fit(1, f"start{number}")) - began)
            began = time.time()
            done = _run("tests.benchmarks.plain", "step", address, str(batch), device)
            starts["open_clip"].append(float(done.split()[-1]) - began)
        report.add(
            f"start to the first step, {model}, batch {batch:,}",
            "s",
            **{way: Measured.of(found) for way, found in starts.items()},
        )
        fit(steps, "long")
        logged = EventAccumulator(str(folder / "runs" / "bench" / "long"))
        logged.Reload()
        for tag, what, unit, factor in (
            ("train/samples_per_second", "samples", "samples/s", 1.0),
            ("train/loader_wait_share", "wait for the loader", "%", 100.0),
        ):
            values = [factor * event.value for event in logged.Scalars(tag)]
            report.add(
                f"fit, {model}, batch {batch:,}: {what}", unit, ours=Measured.of(values[1:] or values)
            )  # the first holds the start


def _settings(folder: Path, address: str, batch: int, device: str) -> Path:
    objective = {
        "class_path": "pcclip.objective.DifferenceInfoNCE",
        "init_args": {"temperature": 1.0},
    }
    optimizer = {"class_path": "torch.optim.Adam", "init_args": {"lr": 1.0e-8, "fused": True}}
    init: dict[str, Any] = {"name": address, "objective": objective, "optimizer": optimizer}
    data = {
        "triples": str(folder / "triples"),
        "bank": str(folder / "bank"),
        "batch_size": batch,
        "precompute_tokens": True,
    }
    trainer = {
        "accelerator": "gpu" if device == "cuda" else "cpu",
        "devices": 1,
        "precision": machine_precision(),
        "max_epochs": -1,
        "log_every_n_steps": 5,
        "enable_progress_bar": False,
        "callbacks": [{"class_path": "tests.benchmarks.first_step.FirstStep"}],
    }
    settings = {
        "experiment": "bench",
        "model": {
            "class_path": "pcclip.training.DifferenceTraining",
            "init_args": init,
        },
        "data": {"class_path": "pcclip.data.datamodule.DifferenceData", "init_args": data},
        "trainer": trainer,
    }
    file = folder / "fit.json"
    file.write_text(json.dumps(settings))
    return file


def _fit(folder: Path, settings: Path, options: list[str], steps: int, version: str) -> str:
    words = ["--config", str(settings), "--runs", str(folder / "runs"), "--version", version, *options]
    return _run("pcclip", "fit", *words, "--trainer.max_steps", str(steps))


def _first_step(printed: str) -> float:
    return float(next(line for line in printed.splitlines() if line.startswith("FIRST STEP")).split()[-1])


def bench_evaluation(
    report: Report, eurosat: Path | None, model: str, pictures: int, repeats: int, device: str = "cpu"
) -> None:
    """Rows of seconds of `pcclip evaluate`, the whole process, beside a script with open_clip alone.

    Both embed the same pictures and texts and score the same number of pairs; ours adds held-out prompts and
    95 % intervals, and its second run takes embeddings from its cache.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        towers = load_towers(model, random_init=True)
        address = f"local-dir:{save_folder(towers, folder / 'model')}"
        source = (
            Shapes(train=100, validation=100, test=pictures)
            if eurosat is None
            else EuroSAT(root=str(eurosat), per_class=pictures // 8, train=0.1, validation=0.1)
        )
        prepare(source, str(folder / "data"), progress=False)
        task, count = _task(folder)
        settings = {
            "suite": "bench",
            "evaluations": [
                {
                    "data": str(folder / "data"),
                    "protocols": [{"class_path": ZERO_SHOT}, {"class_path": DIFFERENCE}],
                }
            ],
            "models": [{"name": address, "label": "model"}],
            "out": str(folder / "results"),
            "device": device,
        }
        config = folder / "evaluate.json"
        config.write_text(json.dumps(settings))
        took: dict[str, list[float]] = {"first": [], "kept": [], "open_clip": []}
        for number in range(repeats):
            words = (
                "pcclip",
                "evaluate",
                "--config",
                str(config),
                "--cache_dir",
                str(folder / f"cache{number}"),
            )
            took["first"].append(_timed(*words, "--again", "true"))
            took["kept"].append(_timed(*words, "--again", "true"))
            took["open_clip"].append(_timed("tests.benchmarks.plain", "evaluate", address, str(task), device))
        theirs = Measured.of(took["open_clip"])
        title = f"evaluation, {source.name}, {count:,} pictures, {model}"
        report.add(title, "s", ours=Measured.of(took["first"]), open_clip=theirs)
        report.add(f"{title}, embeddings kept", "s", ours=Measured.of(took["kept"]), open_clip=theirs)


def _task(folder: Path) -> tuple[Path, int]:
    """The same pictures as files, the same texts, and pairs by our protocol's own rule."""
    data = Prepared(str(folder / "data")).load("test")
    (folder / "files").mkdir()
    files = []
    for number in range(len(data)):
        files.append(str(folder / "files" / f"{number:06d}.png"))
        data.pictures.read(number).save(files[-1])
    questions = []
    for question in data.questions:
        one = Contrast.of(data, question)
        rng = np.random.default_rng(0)
        first, second = rng.integers(0, len(one.pictures), (2, 20_000))
        fit = _differ(one, first, second)
        first, second = first[fit][:2000], second[fit][:2000]
        pairs = np.stack([one.pictures[first], one.pictures[second], one._kind(first, second)], 1)
        wordings = [(one.statements(w, True), one.statements(w, False)) for w in question.wordings]
        questions.append(
            {"pairs": pairs.tolist(), "wordings": wordings, "phrases": [one.phrases(0), one.phrases(1)]}
        )
    classes = [[prompt.format(c) for prompt in data.prompts] for c in data.classes]
    task = folder / "task.json"
    task.write_text(
        json.dumps(
            {"files": files, "labels": data.labels.tolist(), "classes": classes, "questions": questions}
        )
    )
    return task, len(data)


def _differ(one: Contrast, first: Any, second: Any) -> Any:
    if one.question.kind == "category":
        return one.values[first] != one.values[second]
    return np.abs(one.values[first] - one.values[second]) > one.question.margin


def _timed(*words: str) -> float:
    start = time.perf_counter()
    _run(*words)
    return time.perf_counter() - start


def _run(*words: str) -> str:
    """Output of `python -m WORDS`."""
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stdout}{done.stderr}"[-4000:])
    return done.stdout
