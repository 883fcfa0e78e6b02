"""Makes a bank of random rows, or reads all of one and says how much memory that took: for `processes.py`."""

import gc
import sys
from pathlib import Path

import numpy as np

from pcclip.data.bank import Bank, BankWriter

DIM = 512


def make(folder: Path, gigabytes: float) -> None:
    rows = int(gigabytes * 2**30 / (4 * DIM))
    random = np.random.default_rng(0)
    with BankWriter(folder, [f"{row:08d}" for row in range(rows)], DIM, "random") as writer:
        for first in range(0, rows, 8192):
            writer.append(random.standard_normal((min(8192, rows - first), DIM), np.float32))


def memory(names: tuple[str, ...] = ("Rss", "Pss", "Private_Clean", "Private_Dirty")) -> dict[str, float]:
    lines = (line.split() for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    found = {words[0].rstrip(":"): int(words[1]) / 1024 for words in lines}
    return {name: found[name] for name in names}


def read(folder: Path) -> None:
    before = memory()
    bank = Bank.open(folder, "random")
    total = 0.0
    keys = list(bank.keys())
    for first in range(0, len(keys), 4096):
        total += float(bank.embeddings(bank.rows(keys[first : first + 4096])).sum())
    rows = len(keys)
    del keys
    gc.collect()
    print("read", flush=True)
    sys.stdin.readline()  # until all have read
    after = memory()
    grown = ", ".join(f"{name} {before[name]:.0f} -> {after[name]:.0f}" for name in after)
    print(f"{rows} rows of {DIM}, {rows * DIM * 4 / 2**20:.0f} MiB on disk; MiB: {grown} (sum {total:.1f})")


if __name__ == "__main__":
    make(Path(sys.argv[1]), float(sys.argv[2])) if sys.argv[3] == "make" else read(Path(sys.argv[1]))
