"""What the benchmarks print: one table, whose rows appear, and are written, as soon as they are measured."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from pcclip.data.files import write_atomically

COLUMNS = {
    "ours": "ours",
    "published": "published loop",
    "open_clip": "open_clip",
    "open_clip_images": "open_clip, image tower in the loop",
}


@dataclass(frozen=True)
class Measured:
    """Median of some repeats, with the least and the greatest; all NaN where memory did not suffice."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Measured:
        return cls(statistics.median(values), min(values), max(values))

    def per(self, amount: float) -> Measured:
        """A rate, from seconds."""
        return Measured(amount / self.median, amount / self.high, amount / self.low)

    def times(self, factor: float) -> Measured:
        return Measured(self.median * factor, self.low * factor, self.high * factor)

    def __str__(self) -> str:
        if math.isnan(self.median):
            return "out of memory"
        digits = 0 if self.median >= 1000 else 1 if self.median >= 10 else 2
        if self.low == self.high:
            return f"{self.median:,.{digits}f}"
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f}..{self.high:,.{digits}f})"


OUT_OF_MEMORY = Measured(math.nan, math.nan, math.nan)


class Report:
    """Rows of `ours` beside the baselines.

    Args:
        out: Folder of NAME.json and NAME.md, written anew after every row.
        name: Of the two files.
        limit_s: Seconds after which nothing more is begun.
        facts: What else is to be known of the run.
    """

    def __init__(self, out: Path, name: str, limit_s: float = math.inf, **facts: Any) -> None:
        self.out, self.name, self.limit_s = Path(out), name, limit_s
        self.facts = machine() | facts
        self.rows: list[dict[str, Any]] = []
        self._start = time.monotonic()
        self._console = Console(width=200)
        self._console.print(self.facts)

    @property
    def spent(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() - self._start > self.limit_s

    def fact(self, name: str, value: Any) -> None:
        self.facts[name] = value
        self._console.print(f"{name}: {value}")

    def add(self, what: str, unit: str, **cells: Measured | None) -> None:
        """Takes in a row; `cells` by the names of `COLUMNS`."""
        row = {"what": what, "unit": unit, **{name: cells.get(name) for name in COLUMNS}}
        self.rows.append(row)
        known = ", ".join(f"{COLUMNS[n]} {row[n]}" for n in COLUMNS if row[n] is not None)
        self._console.print(
            f"[{time.monotonic() - self._start:4.0f} s] {what} ({unit}): {known}", markup=False
        )
        self.write()

    def write(self) -> None:
        """Writes both files."""
        self.out.mkdir(parents=True, exist_ok=True)
        rows = [{k: asdict(v) if isinstance(v, Measured) else v for k, v in row.items()} for row in self.rows]
        record = json.dumps({"machine": self.facts, "rows": rows}, indent=1)
        write_atomically(self.out / f"{self.name}.json", record.encode())
        facts = "\n".join(f"- {name}: {value}" for name, value in self.facts.items())
        lines = ["| " + " | ".join(self._titles()) + " |", "|" + "---|" * len(self._titles())]
        lines += ["| " + " | ".join(self._cells(row)) + " |" for row in self.rows]
        write_atomically(self.out / f"{self.name}.md", (facts + "\n\n" + "\n".join(lines) + "\n").encode())

    def show(self) -> None:
        """Prints the table."""
        table = Table(*self._titles())
        for row in self.rows:
            table.add_row(*self._cells(row))
        self._console.print(table)
        self._console.print(f"{self.out / self.name}.json and .md")

    def _titles(self) -> list[str]:
        return ["what", "unit", *COLUMNS.values(), "ours / published", "ours / open_clip"]

    def _cells(self, row: dict[str, Any]) -> list[str]:
        cells = ["" if row[name] is None else str(row[name]) for name in COLUMNS]
        ratios = [_ratio(row["ours"], row[name]) for name in ("published", "open_clip")]
        return [row["what"], row["unit"], *cells, *ratios]


def _ratio(ours: Measured | None, theirs: Measured | None) -> str:
    if ours is None or theirs is None or not theirs.median or math.isnan(ours.median / theirs.median):
        return ""
    return f"{ours.median / theirs.median:.2f}"


def machine() -> dict[str, Any]:
    """What figures depend on besides the code."""
    packages = ("torch", "lightning", "open_clip_torch", "webdataset", "numpy")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU only"
    return {
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "load at the start": round(os.getloadavg()[0], 2),
        "device": device,
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
