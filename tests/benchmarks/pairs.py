"""`python -m tests.benchmarks.pairs`: pairs per second and memory of the pair stream, to 10^7 pairs."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np
from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table

from pcclip.data.bank_files import BankWriter
from pcclip.generation.pairs import PairPlan, Pairs, make_pairs


def resident() -> float:
    """MB of memory that the process holds now, mapped files included."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def stream(table: Table, name: str, pairs: Pairs, marks: list[int]) -> None:
    """Draws all pairs one by one, with a row in the table at each mark."""
    start = time.perf_counter()
    most, left = resident(), sorted(mark for mark in {*marks, len(pairs)} if mark <= len(pairs))
    for number, _ in enumerate(pairs, 1):
        if number % 4096 == 0 or number == left[0]:
            most = max(most, resident())
        if number == left[0]:
            seconds = time.perf_counter() - start
            table.add_row(name, f"{number:,}", f"{number / seconds:,.0f}", f"{most:.0f}")
            left.pop(0)
            if not left:
                break


def run(pictures: int = 20_000, pairs: int = 10_000_000, width: int = 512, neighbours: int = 25) -> None:
    """Streams random pairs, shuffled, grouped and across classes, and hard pairs.

    Args:
        pictures: In the pool.
        pairs: To draw of them.
        width: Of the embeddings that neighbours are found by.
        neighbours: Of each picture.
    """
    keys = [f"{number:012d}" for number in range(pictures)]
    classes = {key: f"class {number % 200}" for number, key in enumerate(keys)}
    marks = [10**4, 10**5, 10**6, 10**7]
    table = Table("pairs", "drawn", "pairs/s", "most memory, MB")
    table.add_row("(keys alone)", "0", "", f"{resident():.0f}")
    stream(table, "random", make_pairs(keys, PairPlan(0, pairs), 0), marks)
    grouped = PairPlan(0, pairs // 4, order="grouped")
    stream(table, "random, grouped", make_pairs(keys, grouped, 0), marks)
    across = PairPlan(0, pairs // 4, restriction="across_class")
    stream(table, "random, across classes", make_pairs(keys, across, 0, classes), marks)
    with tempfile.TemporaryDirectory() as folder:
        bank = Path(folder) / "bank"
        with BankWriter(bank, keys, width, "benchmark") as writer:
            rng = np.random.default_rng(0)
            for at in range(0, pictures, 1000):
                rows = min(1000, pictures - at)
                writer.append(rng.standard_normal((rows, width), np.float32))
        start = time.perf_counter()
        hard = make_pairs(keys, PairPlan(0, method="neighbours", bank=str(bank), neighbours=neighbours), 0)
        seconds = time.perf_counter() - start
        table.add_row(f"neighbours: {seconds:.1f} s to find", f"{len(hard):,}", "", f"{resident():.0f}")
        stream(table, "neighbours", hard, marks)
    Console().print(table)


if __name__ == "__main__":
    auto_cli(run, as_positional=False)
