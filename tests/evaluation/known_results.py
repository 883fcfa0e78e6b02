"""Runs on disk whose results are known, for comparisons and reports."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pcclip.evaluation.measured import Measured
from pcclip.evaluation.protocol import Results
from pcclip.evaluation.statistics import Observations, Statistic

PICTURES = 1000
TOP1 = "zero_shot/s/top1"
MEAN = "difference/s-mean/two_alternative"
FREE = "difference/s-mean/text_difference"
RHO = "ranking/s-mean/sentence_spearman"
RARE = "difference/s-wording-w1/two_alternative"


def results(
    right: int, pairs_right: float = 0.5, rho: float = 0.2, shift: int = 0, extra: bool = False
) -> Results:
    """Of 1,000 pictures `right` ones from `shift` on are right, and this share of 500 pairs."""
    top1 = np.roll(np.arange(PICTURES) < right, shift).astype(np.float32)
    pairs = (np.random.default_rng(1).random(500) < pairs_right).astype(np.float32)
    free = np.tile([1.0, 1.0, 1.0, 0.0], 125).astype(np.float32)
    first = np.arange(500)
    noise = np.random.default_rng(0).normal(0, 0.02, 200)
    metrics = {TOP1: (("pictures", "top1"),), MEAN: (("size", "x"),), FREE: (("size", "f"),),
               RARE: (("size", "x"),)}  # fmt: skip
    if extra:
        metrics["new/s/score"] = (("pictures", "top1"),)
    return Results(
        "s/test",
        PICTURES,
        {
            "pictures": Observations(np.arange(PICTURES), None, {"top1": top1}),
            "size": Observations(first, first + 500, {"x": pairs, "f": free}),
        },
        metrics,
        statistics={RHO: Statistic(rho, rho + noise * (1 + rho), 200)},
    )


def save_run(folder: Path, seed: int, base: Results, tuned: Results, suite: str = "mine") -> None:
    for stage, measured in (("base", base), ("tuned", tuned)):
        found = Measured()
        found.add(measured)
        (folder / f"seed{seed}" / "results" / suite).mkdir(parents=True, exist_ok=True)
        found.save(folder / f"seed{seed}" / "results" / suite / stage)
    record = {"schema": 1, "experiment": folder.name, "seed": seed, "base": {}, "tuned": {}, "alpha": 0.5}
    (folder / f"seed{seed}" / "summary.json").write_text(json.dumps(record))
    curve = [
        {"alpha": a, "zero_shot": 0.5 + a / 50, "difference": 0.5 + a / 3, "noise": 0} for a in (0, 0.5, 1)
    ]
    (folder / f"seed{seed}" / "interpolation.json").write_text(json.dumps({"chosen": 1, "points": curve}))


def save_experiment(folder: Path, right: Sequence[int], **after: float) -> Path:
    """A run per seed; its base has 500 right."""
    for seed, count in enumerate(right):
        save_run(folder, seed, results(500), results(count, **after))
    return folder
