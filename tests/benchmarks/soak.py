"""Generation, shards, bank, training, evaluation and search in a loop in one process: does anything grow?

    python -m tests.benchmarks.soak --minutes 60 --out runs/bench/soak

Each round makes everything afresh by the commands themselves and deletes it; every other round trains with a
worker process, the others without. OUT/samples.csv and OUT/soak.png hold what the process held after each
round, OUT/lines.csv the slopes with their 95 % intervals. The exit status is 1 if memory grows by more than
--limit, or anything that is counted by more than --count-limit, a round, by the lower end of the interval.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.benchmarks.soak_samples import COUNTS, MEMORY, Line, Sample, line, plot, sample, write_csv

PROTOCOLS = ["zero_shot.ZeroShot", "difference.DifferenceClassification", "ranking.AttributeRanking"]
RECIPE = {
    "source": {
        "class_path": "pcclip.data.sources.shapes.Shapes",
        "init_args": {"train": 80, "validation": 40, "test": 40},
    },
    "differences": {
        "payload": "keys",
        "train": {"pictures": 80, "pairs": 120},
        "validation": {"pictures": 0, "pairs": 40},
    },
    "records_per_shard": 50,
    "progress": False,
}


def settings(place: Path, base: Path) -> dict[str, dict[str, Any]]:
    """The configuration of every command of a round, by file name."""
    data, rows = place / "data", "pcclip.generation.picture_pairs.PicturePairs"
    source = RECIPE["source"]
    evaluations = [
        {
            "data": str(data),
            "protocols": [{"class_path": f"pcclip.evaluation.protocols.{p}"} for p in PROTOCOLS],
        }
    ]
    return {
        "prepare": {**RECIPE, "out": str(data)},
        "write": {
            "rows": {
                "class_path": rows,
                "init_args": {
                    "pictures": str(data / "pictures/train"),
                    "plan": {"pictures": 80, "pairs": 300},
                    "name": "soak",
                },
            },
            "writer": {
                "class_path": "pcclip.generation.writers.rule_writer.RuleTextWriter",
                "init_args": {"source": source},
            },
            "out": str(place / "written"),
            "chunk_rows": 100,
            "progress": False,
        },
        "evaluate": {"suite": "soak", "evaluations": evaluations, "cache_dir": str(place / "cache")},
        "fit": {
            "experiment": "soak",
            "runs": str(place / "runs"),
            "model": {
                "class_path": "pcclip.training.DifferenceTraining",
                "init_args": {
                    "name": f"local-dir:{base}",
                    "trainable": "text_no_embeddings",
                    "objective": {"class_path": "pcclip.objective.DifferenceInfoNCE"},
                    "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-3}},
                },
            },
            "data": {
                "class_path": "pcclip.data.datamodule.DifferenceData",
                "init_args": {
                    "triples": str(place / "written/triples"),
                    "validation_triples": str(data / "triples/validation"),
                    "bank": str(place / "bank"),
                    "pictures": [str(data / "pictures/train"), str(data / "pictures/validation")],
                    "batch_size": 16,
                    "num_workers": 0,
                },
            },
            "checkpoint": {"every_n_train_steps": 4},
            "trainer": {
                "accelerator": "cpu",
                "max_steps": 8,
                "max_epochs": -1,
                "check_val_every_n_epoch": None,
                "val_check_interval": 4,
                "log_every_n_steps": 1,
                "enable_progress_bar": False,
                "callbacks": [
                    {
                        "class_path": "pcclip.callbacks.evaluation.EvaluationSuite",
                        "init_args": {
                            "evaluations": evaluations,
                            "interpolation": {"alphas": [0.5]},
                            "cache_dir": str(place / "cache"),
                        },
                    }
                ],
            },
        },
    }


def commands(place: Path, base: Path, workers: int) -> list[list[str]]:
    """A round's words, verb first."""
    place.mkdir()
    for name, one in settings(place, base).items():
        (place / f"{name}.yaml").write_text(json.dumps(one))
    run, data, cache = place / "runs/soak/v000", place / "data", f"--cache_dir={place / 'cache'}"
    sets = json.dumps([str(data / "pictures/train"), str(data / "pictures/validation")])
    photos = place / "photos"
    ask = [str(photos), f"--model={run}", cache, f"--html={place / 'page.html'}"]
    return [
        ["prepare", f"--config={place / 'prepare.yaml'}"],
        ["write", f"--config={place / 'write.yaml'}"],
        ["inspect", str(place / "written/triples")],
        ["bank", f"--pictures={sets}", f"--out={place / 'bank'}", f"--name=local-dir:{base}",
         f"--num_workers={workers}"],
        ["fit", f"--config={place / 'fit.yaml'}", f"--data.num_workers={workers}"],
        ["evaluate", f"--config={place / 'evaluate.yaml'}", f"--runs=[{run}]"],
        ["compare", str(place / "runs/soak"), "--suite=soak", f"--plot={place / 'plot.png'}"],
        ["photos", str(photos)],
        ["rank", ask[0], "it is larger", *ask[1:], f"--csv={place / 'order.csv'}", "--compare=base"],
        ["search", *ask, f"--like={photos / '0.png'}", "--but=it is darker"],
        ["export", str(run), f"--out={place / 'exported'}"],
    ]  # fmt: skip


def go(words: list[str]) -> None:
    """Runs one command, or makes the photos."""
    from pcclip.cli import main

    if words[0] == "photos":
        return _photos(Path(words[1]))
    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        status = main(words)
    if status:
        raise SystemExit(f"pcclip {' '.join(words)}: exit status {status}\n{told.getvalue()[-3000:]}")
    return None


def _photos(folder: Path) -> None:
    import numpy as np
    from PIL import Image

    folder.mkdir()
    for seed in range(30):
        blocks = np.random.default_rng(seed).integers(0, 255, (4, 5, 3), dtype=np.uint8)
        Image.fromarray(blocks).resize((40, 32)).save(folder / f"{seed}.png")


def rounds(minutes: float, place: Path) -> Iterator[Sample]:
    """Round after round, a sample after each."""
    import torch

    from pcclip.model.checkpoint import save_folder
    from pcclip.model.towers import load_towers

    temporary, work, base = place / "tmp", place / "work", place / "base"
    for folder in (temporary, work, base):
        shutil.rmtree(folder, ignore_errors=True)
    temporary.mkdir()
    work.mkdir()
    os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
    torch.manual_seed(0)
    save_folder(load_towers("pcclip-tiny", random_init=True), base)
    start, number = time.monotonic(), 0
    while time.monotonic() - start < 60 * minutes:
        number += 1
        for words in commands(work / "round", base, workers=number % 2):
            go(words)
        shutil.rmtree(work / "round")
        yield sample(number, time.monotonic() - start, temporary, work)


def report(samples: list[Sample], warm_up: int, out: Path) -> list[Line]:
    """Writes samples, lines and the picture; prints the lines."""
    out.mkdir(parents=True, exist_ok=True)
    write_csv(samples, out / "samples.csv")
    warm_up = min(warm_up, len(samples) - 3)
    if warm_up < 1:
        raise SystemExit(f"{len(samples)} rounds are too few for a line: give more --minutes")
    plot(samples, warm_up, out / "soak.png")
    counted = samples[warm_up:]
    lines = [line(counted, name) for name in (*MEMORY, *COUNTS)]
    with (out / "lines.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(asdict(lines[0])))
        writer.writeheader()
        writer.writerows(map(asdict, lines))
    print(
        f"{len(samples)} rounds in {samples[-1].seconds / 60:.1f} minutes; the first {warm_up} are warm-up:"
    )
    for name in MEMORY:
        grown = [f"{getattr(one, name):.0f}" for one in samples[: warm_up + 1]]
        print(f"  {name} of the warm-up, MiB: {' '.join(grown)}")
    for one in lines:
        slope = f"{one.slope:+.4f} [{one.low:+.4f}, {one.high:+.4f}]"
        print(f"  {one.name:16} {one.first:10.1f} -> {one.last:10.1f}   {slope} a round")
    return lines


def main() -> int:
    """Runs, reports, and says by its status whether anything grew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--out", type=Path, default=Path("runs/bench/soak"))
    parser.add_argument("--warm-up", type=int, default=10, help="rounds that do not count")
    parser.add_argument("--limit", type=float, default=0.05, help="MiB a round")
    parser.add_argument("--count-limit", type=float, default=0.02, help="of anything counted, a round")
    asked = parser.parse_args()
    samples: list[Sample] = []
    asked.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="soak-") as place:
        for one in rounds(asked.minutes, Path(place)):
            samples.append(one)
            write_csv(samples, asked.out / "samples.csv")  # so that a stopped soak leaves what it saw
            print(json.dumps({name: round(value, 2) for name, value in asdict(one).items()}), flush=True)
    lines = report(samples, asked.warm_up, asked.out)
    limits = {name: asked.limit if name in MEMORY else asked.count_limit for name in (*MEMORY, *COUNTS)}
    limits["objects"] = asked.limit * 10_000  # an object takes some 100 bytes
    grows = [one.name for one in lines if one.low > limits[one.name]]
    if grows:
        print(f"grows: {', '.join(grows)}", file=sys.stderr)
    return bool(grows)


if __name__ == "__main__":
    sys.exit(main())
