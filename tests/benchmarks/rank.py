"""`python -m tests.benchmarks.rank`: seconds of `pcclip rank` over a large folder, embedded and once more."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from jsonargparse import auto_cli
from PIL import Image
from rich.console import Console
from rich.table import Table

from pcclip.inference.ordering import best, rank_scores


def draw(folder: Path, pictures: int) -> None:
    """Small JPEG files, a thousand in each folder."""
    rng = np.random.default_rng(0)
    for number in range(pictures):
        place = folder / f"{number // 1000:04d}"
        place.mkdir(parents=True, exist_ok=True)
        blocks = Image.fromarray(rng.integers(0, 255, (4, 4, 3), dtype=np.uint8))
        blocks.resize((32, 32)).save(place / f"{number % 1000:03d}.jpg", quality=70)


def seconds(words: list[str]) -> tuple[float, float]:
    """Of a whole process: on the clock, and of the processor."""
    before, start = os.times(), time.perf_counter()
    subprocess.run([sys.executable, "-m", "pcclip", *words], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - start, used


def run(pictures: int = 100_000, width: int = 512, times: int = 5) -> None:
    """Embeds drawn pictures by a tiny model, then ranks them again and again; then planted embeddings alone.

    Args:
        pictures: In the folder.
        width: Of the planted embeddings.
        times: Medians are of so many.
    """
    import torch

    from pcclip.model.checkpoint import save_folder
    from pcclip.model.towers import load_towers

    table = Table("", "s on the clock", "s of the processor", title=f"{pictures:,} pictures")
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        draw(root / "pictures", pictures)
        torch.manual_seed(0)
        save_folder(load_towers("pcclip-tiny", random_init=True), root / "model")
        words = ["rank", str(root / "pictures"), "it is larger", "--model", str(root / "model")]
        words += ["--cache_dir", str(root / "cache")]
        first = seconds(words)
        again = [statistics.median(of) for of in zip(*(seconds(words) for _ in range(times)), strict=True)]
    for name, (clock, processor) in {"pcclip rank, first": first, "pcclip rank, again": again}.items():
        table.add_row(name, f"{clock:.2f}", f"{processor:.2f}")
    features = np.random.default_rng(0).standard_normal((pictures, width), np.float32)
    direction, spent = features[0], []
    for _ in range(times):
        start = time.perf_counter()
        best(rank_scores(features, direction), 100)
        spent.append(time.perf_counter() - start)
    table.add_row(f"scores and the best 100 of embeddings of {width}", f"{statistics.median(spent):.4f}", "")
    Console(width=110).print(table)


if __name__ == "__main__":
    auto_cli(run, as_positional=False)
