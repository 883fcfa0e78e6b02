"""`make bench-gpu`: one table of ours beside the published loop and open_clip, in one run on one GPU."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

import torch
from jsonargparse import auto_cli

from pcclip.model.towers import load_towers
from tests.benchmarks.bank import bench_bank
from tests.benchmarks.contest import Compiled, bench_steps
from tests.benchmarks.loader import bench_loader
from tests.benchmarks.report import Report
from tests.benchmarks.steps import timed
from tests.benchmarks.whole import bench_evaluation, bench_fit

Part = Literal["steps", "pictures", "loader", "bank", "fit", "evaluation"]


def bench_pictures(report: Report, model: str, batch: int, repeats: int) -> None:
    """Pictures per second through the image tower, decoded before: bf16 beside open_clip's fp32."""
    towers = load_towers(model, random_init=True).to("cuda")
    pixels = torch.randn(batch, 3, *towers.preprocess_config()["size"], device="cuda")

    def encode(bf16: bool) -> None:
        with torch.autocast("cuda", torch.bfloat16, enabled=bf16):
            towers.encode_images(pixels)

    ours, theirs = (
        timed(lambda bf16=bf16: encode(bf16), repeats, limit_s=5).per(batch)  # type: ignore[misc]
        for bf16 in (True, False)
    )
    report.add(f"image tower, {model}, batch {batch}", "pictures/s", ours=ours, open_clip=theirs)


def run(
    out: Path = Path("runs/bench"),
    parts: list[Part] | None = None,
    model: str = "ViT-L-14",
    batches: list[int] | None = None,
    compile: Compiled = "both",
    repeats: int = 5,
    images_up_to: int = 1024,
    each_s: float = 3.0,
    limit_s: float = 1e9,
    fit_batch: int = 2048,
    fit_steps: int = 60,
    fit_options: list[str] | None = None,
    starts: int = 1,
    triples: int = 50_000,
    pictures: Path | None = None,
    eurosat: Path | None = None,
    evaluation_pictures: int = 1000,
) -> None:
    """Runs the GPU's benchmarks; rows are printed, and written to OUT/gpu.json and OUT/gpu.md, as they come.

    Args:
        out: Folder of the two files.
        parts: Which; all if null.
        model: Whose towers; the weights are random.
        batches: Texts per step; what memory does not suffice for says so.
        compile: Whether our step is compiled; `both` for a row each.
        repeats: Of every measurement; the table has medians, the least and the greatest.
        images_up_to: The largest batch of which the pictures go through open_clip's image tower, too.
        each_s: Seconds that the timed steps of one way may take.
        limit_s: Seconds after which no further measurement is begun.
        fit_batch: Triples per step of the fit whose wait for the loader is measured.
        fit_steps: Its steps.
        fit_options: More options of that `pcclip fit`.
        starts: Starts of `pcclip fit` that are timed.
        triples: Records of the loader's shards.
        pictures: Folder of JPEG files for the bank; drawn ones if null.
        eurosat: Folder of EuroSAT for the evaluation; drawn shapes if null.
        evaluation_pictures: How many.
    """
    logging.getLogger().addFilter(lambda record: "No pretrained weights" not in record.getMessage())
    report = Report(out, "gpu", limit_s)
    wanted = parts or ["pictures", "fit", "steps", "loader", "bank", "evaluation"]
    measured = {
        "pictures": lambda: bench_pictures(report, model, 256, repeats),
        "fit": lambda: bench_fit(report, model, fit_batch, fit_steps, starts, "cuda", fit_options),
        "steps": lambda: bench_steps(
            report,
            model,
            batches or [512, 1024, 2048, 4096, 8192],
            repeats,
            "cuda",
            compile,
            images_up_to,
            each_s,
        ),
        "loader": lambda: bench_loader(report, triples, starts),
        "bank": lambda: bench_bank(report, pictures, model, starts, "cuda"),
        "evaluation": lambda: bench_evaluation(report, eurosat, model, evaluation_pictures, starts, "cuda"),
    }
    for part in wanted:
        if not report.spent:
            measured[part]()
    report.show()


if __name__ == "__main__":
    auto_cli(run, as_positional=False)
