"""`pcclip evaluate` beside CLIP_benchmark, on the same model, pictures, names and templates.

CLIP_benchmark runs by the interpreter of its own environment (`make clip-benchmark-env`), as a user would run
it; so does pcclip. Whole processes are timed, the two in turn, so that whatever else the machine does meets
both. Figures that differ by more than 1e-4 make the command fail; seconds never do.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table

TOLERANCE = 1e-4
SCORES = {
    "zero_shot/eurosat/top1": "acc1",
    "zero_shot/eurosat/top5": "acc5",
    "zero_shot/eurosat/mean_per_class": "mean_per_class_recall",
}
RECALLS = {
    f"retrieval/coco/{ours}_recall_at_{k}": f"{theirs}_retrieval_recall@{k}"
    for k in (1, 5, 10)
    for ours, theirs in (("image_to_text", "text"), ("text_to_image", "image"))
}


@dataclass
class Took:
    """Seconds of a process and those that it started: on the clock, and of all processors together."""

    wall: float
    cpu: float


def timed(command: list[str], log: Path) -> Took:
    """Runs a command to its end."""
    start = time.perf_counter()
    with log.open("w") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with status {process.returncode}: see {log}")
    return Took(time.perf_counter() - start, usage.ru_utime + usage.ru_stime)


class Theirs:
    """CLIP_benchmark.

    Args:
        python: Its interpreter.
        model: `local-dir:FOLDER`.
        out: Scratch folder.
    """

    def __init__(self, python: Path, model: str, out: Path) -> None:
        self.python, self.model, self.out = python, model, out

    def package(self) -> Path:
        """Where it is installed."""
        place = "import clip_benchmark as it; print(it.__path__[0])"
        found = subprocess.run([self.python, "-c", place], capture_output=True, text=True, check=True)
        return Path(found.stdout.strip())

    def run(self, dataset: str, root: Path, *options: str) -> tuple[dict[str, float], Took]:
        """Metrics and seconds of one evaluation."""
        result = self.out / f"theirs-{dataset}.json"
        command = [str(self.python), "-m", "clip_benchmark.cli", "eval", "--dataset", dataset]
        command += ["--dataset_root", str(root), "--model", self.model, "--pretrained", "its-own"]
        command += ["--no_amp", "--output", str(result), *options]
        took = timed(command, self.out / f"theirs-{dataset}.log")
        return json.loads(result.read_bytes())["metrics"], took


class Ours:
    """`pcclip evaluate`.

    Args:
        model: `local-dir:FOLDER`.
        out: Scratch folder.
    """

    def __init__(self, model: str, out: Path) -> None:
        self.model, self.out = model, out
        self.cache = out / "cache"

    def run(self, suite: str, data: dict[str, Any], protocol: str) -> tuple[dict[str, float], Took]:
        """Metrics and seconds of one evaluation."""
        settings = {
            "suite": suite,
            "evaluations": [{"data": data, "split": "all", "protocols": [{"class_path": protocol}]}],
            "models": [{"name": self.model, "label": "model"}],
            "out": str(self.out / "results"),
            "cache_dir": str(self.cache),
        }
        config = self.out / f"ours-{suite}.json"
        config.write_text(json.dumps(settings, indent=1))
        command = [sys.executable, "-m", "pcclip", "evaluate", "--config", str(config)]
        took = timed(command, self.out / f"ours-{suite}.log")
        estimates = json.loads((self.out / "results" / suite / "model" / "estimates.json").read_bytes())
        return {name: found["value"] for name, found in estimates["base"].items()}, took

    def forget(self, embeddings: bool) -> None:
        """Removes the results, and the kept embeddings too."""
        shutil.rmtree(self.out / "results", ignore_errors=True)
        if embeddings:
            shutil.rmtree(self.cache, ignore_errors=True)


def eurosat(theirs: Theirs, ours: Ours, root: Path, repeats: int) -> tuple[list[Any], dict[str, list[Took]]]:
    """Zero-shot classification of all 27,000 photos, and the seconds of each way."""
    texts = theirs.package() / "datasets"
    data = {
        "class_path": "pcclip.evaluation.sources.eurosat.EuroSAT",
        "init_args": {
            "root": str(root),
            "class_names": str(texts / "en_classnames.json"),
            "class_names_in_order": True,
            "prompts": str(texts / "en_zeroshot_classification_templates.json"),
        },
    }
    took: dict[str, list[Took]] = {}
    for _ in range(repeats):
        expected, seconds = theirs.run("eurosat", root, "--task", "zeroshot_classification")
        took.setdefault("CLIP_benchmark", []).append(seconds)
        for way, embeddings in {"pcclip, first": True, "pcclip, embeddings kept": False}.items():
            ours.forget(embeddings)
            found, seconds = ours.run("eurosat", data, "pcclip.evaluation.protocols.zero_shot.ZeroShot")
            took.setdefault(way, []).append(seconds)
        _, seconds = ours.run("eurosat", data, "pcclip.evaluation.protocols.zero_shot.ZeroShot")
        took.setdefault("pcclip, results kept", []).append(seconds)
    return [(ours, found[ours], expected[theirs]) for ours, theirs in SCORES.items()], took


def coco(theirs: Theirs, ours: Ours, folder: Path) -> list[Any]:
    """Retrieval between the pictures of COCO that are there and their captions."""
    captions = json.loads((folder / "annotations" / "captions_val2017.json").read_bytes())
    images = folder / "val2017"
    there = {image["id"] for image in captions["images"] if (images / image["file_name"]).is_file()}
    captions["images"] = [image for image in captions["images"] if image["id"] in there]
    captions["annotations"] = [note for note in captions["annotations"] if note["image_id"] in there]
    root = ours.out / "coco"
    root.mkdir(exist_ok=True)
    (root / "captions.json").write_text(json.dumps(captions))
    (root / "val2014").unlink(missing_ok=True)
    (root / "val2014").symlink_to(images.resolve())  # the only name that CLIP_benchmark looks for
    options = ["--task", "zeroshot_retrieval", "--annotation_file", str(root / "captions.json")]
    expected, _ = theirs.run("mscoco_captions", root, *options, "--recall_k", "1", "5", "10")
    data = {
        "class_path": "pcclip.evaluation.sources.captions.COCO",
        "init_args": {"captions": str(root / "captions.json"), "images": str(images)},
    }
    found, _ = ours.run("coco", data, "pcclip.evaluation.protocols.retrieval.Retrieval")
    return [(ours, found[ours], expected[theirs]) for ours, theirs in RECALLS.items()]


def photos(root: Path, out: Path) -> Path:
    """The folder that holds `eurosat/2750/`; a zip is unpacked into the scratch folder."""
    for place in (root, root.parent):
        if (place / "eurosat" / "2750").is_dir():
            return place
    packed = next(
        (file for file in (root / "EuroSAT.zip", root / "eurosat" / "EuroSAT.zip") if file.is_file()), None
    )
    if packed is None:
        sys.exit(f"{root}: neither eurosat/2750/ nor EuroSAT.zip is there")
    if not (out / "eurosat" / "2750").is_dir():
        with zipfile.ZipFile(packed) as archive:
            archive.extractall(out / "eurosat.partial")
        os.replace(out / "eurosat.partial", out / "eurosat")
    return out


def run(
    model: str,
    eurosat_root: Path | None = None,
    coco_root: Path | None = None,
    python: Path = Path(".venv-clip-benchmark/bin/python"),
    out: Path = Path("runs/bench/clip_benchmark"),
    repeats: int = 3,
) -> None:
    """Evaluates a model both ways.

    Args:
        model: `local-dir:FOLDER`.
        eurosat_root: Folder with `eurosat/2750/` or `EuroSAT.zip`; null leaves the zero-shot part out.
        coco_root: Folder with `annotations/captions_val2017.json` and (some of) `val2017/`; null leaves the
            retrieval part out.
        python: Interpreter with CLIP_benchmark 1.6.2.
        out: Scratch folder; `latest.json` in it has the figures.
        repeats: Timed runs of each way.
    """
    if not python.is_file():
        sys.exit(f"{python}: not there; `make clip-benchmark-env` makes it")
    out = out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    theirs, ours = Theirs(python.absolute(), model, out), Ours(model, out)
    ours.forget(embeddings=True)
    rows: list[Any] = []
    took: dict[str, list[Took]] = {}
    if eurosat_root is not None:
        rows, took = eurosat(theirs, ours, photos(eurosat_root, out).absolute(), repeats)
    if coco_root is not None:
        rows += coco(theirs, ours, coco_root)
    apart = [name for name, found, expected in rows if abs(found - expected) > TOLERANCE]
    show(rows, took)
    record = {
        "model": model,
        "figures": {name: {"pcclip": found, "clip_benchmark": expected} for name, found, expected in rows},
        "seconds": {way: [vars(one) for one in all_] for way, all_ in took.items()},
    }
    (out / "latest.json").write_text(json.dumps(record, indent=1))
    if apart:
        sys.exit(f"apart by more than {TOLERANCE}: {', '.join(apart)}")


def show(rows: list[Any], took: dict[str, list[Took]]) -> None:
    """Prints the figures and the median seconds."""
    console = Console(width=110)
    figures = Table("metric", "pcclip", "CLIP_benchmark", "difference")
    for name, found, expected in rows:
        figures.add_row(name, f"{found:.6f}", f"{expected:.6f}", f"{found - expected:+.1e}")
    console.print(figures)
    if not took:
        return
    seconds = Table("EuroSAT, 27,000 photos", "wall s", "times faster", "CPU s", "times less")
    against = took["CLIP_benchmark"]
    for way, each in took.items():
        cells = []
        for clock in ("wall", "cpu"):
            own, other = (median(getattr(one, clock) for one in some) for some in (each, against))
            cells += [f"{own:.1f}", f"{other / own:.1f}"]
        seconds.add_row(way, *cells)
    console.print(seconds)


if __name__ == "__main__":
    auto_cli(run, as_positional=False)
