"""The embedding bank against the number of its pictures: written, opened, looked up."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from pcclip.data.bank import Bank, BankWriter
from tests.benchmarks.scaling.measuring import Curve, Peak, median_seconds, timed

WIDTH, ASKED, PER_APPEND = 512, 1024, 1000


def curve(sizes: list[int], work: Path) -> Curve:
    """Banks of synthetic embeddings, float32, written one after the other and deleted."""
    settings = [{"pictures": pictures, "of": "float32", "folder": str(work / "bank")} for pictures in sizes]
    measures = {
        "write": "s, encoding apart",
        "open": "s",
        "lookup": f"s for {ASKED} random pictures",
        "peak": "MiB, written",
        "peak reading": "MiB, opened and looked up",
    }
    return Curve(
        "pictures", measure, "pictures", measures, settings, "of", flat=("open", "lookup", "peak reading")
    )


def measure(pictures: int, of: str, folder: str) -> dict[str, float]:

    rng = np.random.default_rng(0)
    rows = rng.standard_normal((PER_APPEND, WIDTH), np.float32)

    def write() -> None:
        keys = [f"photo-{i:08d}" for i in range(pictures)]
        with BankWriter(folder, keys, WIDTH, "benchmark") as writer:
            for start in range(0, pictures, PER_APPEND):
                writer.append(rows[: pictures - start])

    peak = Peak()
    figures = {"write": timed(write)[0], "peak": peak.grown()}
    peak = Peak()
    figures["open"], bank = timed(lambda: Bank.open(folder, "benchmark"))
    asked = [[f"photo-{i:08d}" for i in rng.integers(0, pictures, ASKED)] for _ in range(5)]
    figures["lookup"] = median_seconds(lambda: bank.embeddings(bank.rows(asked.pop())), 5)
    shutil.rmtree(folder)
    return figures | {"peak reading": peak.grown()}
