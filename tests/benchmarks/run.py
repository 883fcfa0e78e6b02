"""`make bench`: one table of ours beside the published loop and open_clip, measured in one run on the CPU."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

from jsonargparse import auto_cli

from tests.benchmarks.bank import bench_bank
from tests.benchmarks.contest import bench_steps
from tests.benchmarks.loader import bench_loader
from tests.benchmarks.report import Report
from tests.benchmarks.whole import bench_evaluation, bench_fit

Part = Literal["steps", "loader", "bank", "fit", "evaluation"]


def run(
    out: Path = Path("runs/bench"),
    parts: list[Part] | None = None,
    models: list[str] | None = None,
    batch: int = 64,
    repeats: int = 3,
    triples: int = 50_000,
    pictures: Path | None = None,
    eurosat: Path | None = None,
    evaluation_model: str = "pcclip-small",
    evaluation_pictures: int = 1000,
    fit_steps: int = 30,
    each_s: float = 90.0,
) -> None:
    """Runs all benchmarks; rows are printed, and written to OUT/cpu.json and OUT/cpu.md, as they come.

    Args:
        out: Folder of the two files.
        parts: Which; all if null.
        models: Text towers to train.
        batch: Texts per step.
        repeats: Of every measurement; the table has medians, the least and the greatest.
        triples: Records of the loader's shards.
        pictures: Folder of JPEG files for the bank; drawn ones if null.
        eurosat: Folder of EuroSAT for the evaluation; drawn shapes if null.
        evaluation_model: Whose towers are evaluated (random weights).
        evaluation_pictures: How many.
        fit_steps: Steps of the fit whose wait for the loader is measured.
        each_s: Seconds that the timed steps of one way may take.
    """
    logging.getLogger().addFilter(lambda record: "No pretrained weights" not in record.getMessage())
    models, parts = (
        models or ["ViT-B-32", "ViT-L-14"],
        parts or ["steps", "loader", "bank", "fit", "evaluation"],
    )
    report = Report(out, "cpu")
    if "loader" in parts:
        bench_loader(report, triples, repeats)
    if "bank" in parts:
        bench_bank(report, pictures, "ViT-B-32", repeats)
    if "evaluation" in parts:
        bench_evaluation(report, eurosat, evaluation_model, evaluation_pictures, repeats)
    if "fit" in parts:
        bench_fit(report, models[0], batch, fit_steps, repeats)
    if "steps" in parts:
        for model in models:
            bench_steps(report, model, [batch], repeats, each_s=each_s)
    report.show()


if __name__ == "__main__":
    auto_cli(run, as_positional=False)
