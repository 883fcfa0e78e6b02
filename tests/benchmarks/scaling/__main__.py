"""Cost as work grows: `python -m tests.benchmarks.scaling --out runs/bench/scaling [--what triples]`.

For each of `--what`: NAME.csv and NAME.json hold the points, NAME.png the plot, and the bends are printed.
"""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table

from tests.benchmarks.scaling.measuring import CLOCK, Curve, Point, measure_point
from tests.benchmarks.scaling.plotting import bends, plot

What = Literal["loss", "triples", "texts", "pictures", "evaluation", "ranks"]


@contextmanager
def _curve(what: What, tiny: bool, device: str, repeats: int, work: Path | None) -> Iterator[Curve]:
    # Each imported by itself: the loss needs a fraction of the memory and seconds that others need to start.
    with tempfile.TemporaryDirectory(dir=work, prefix="scaling-") as name:
        folder = Path(name)
        if what == "loss":
            from tests.benchmarks.scaling import loss

            pairs = [1024, 2048, 4096, 8192] + ([16384, 32768, 65536] if device != "cpu" else [])
            yield loss.curve([64, 1100] if tiny else pairs, device, repeats)
        elif what == "triples":
            from tests.benchmarks.scaling import triples

            yield triples.curve([600, 10_000] if tiny else [10**n for n in range(3, 8)], folder)
        elif what == "texts":
            from tests.benchmarks.scaling import texts

            batch = 8 if device == "cpu" else 512
            lengths = [8, 77] if tiny else [8, 16, 24, 32, 48, 64, 77]
            yield texts.curve(lengths, 2 if tiny else batch, device, repeats)
        elif what == "pictures":
            from tests.benchmarks.scaling import pictures

            yield pictures.curve([100, 1000] if tiny else [10**n for n in range(3, 7)], folder)
        elif what == "evaluation":
            from tests.benchmarks.scaling import evaluation

            yield evaluation.curve([50, 100] if tiny else [100, 1000, 10_000, 100_000])
        else:
            from tests.benchmarks.scaling import ranks

            yield ranks.curve([1, 2] if tiny else [1, 2, 4], folder, 1024 if tiny else 20_480, repeats)


def run(
    out: str = "runs/bench/scaling",
    what: What | None = None,
    device: str = "cpu",
    repeats: int = 3,
    work: Path | None = None,
    clock: Literal["wall", "cpu"] = "wall",
    tiny: bool = False,
) -> None:
    """Measures, writes and plots.

    Args:
        out: Folder of the results.
        what: One of them; all if null.
        device: Of `loss` and `texts`: cpu or cuda.
        repeats: Timed calls, of which the median counts.
        work: Where shards and banks are made for the time (7 GB); the system's temporary folder if null.
        clock: `cpu` counts seconds of work instead, on a machine that others use too.
        tiny: Two small sizes each, to see that it runs.
    """
    os.environ[CLOCK] = clock
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    for name in [what] if what else What.__args__:  # type: ignore[attr-defined]
        with _curve(name, tiny, device, repeats, work) as curve:
            points = []
            for settings in curve.settings:
                points.append(measure_point(curve, settings))
                Console().print(_shown(curve, points[-1]), highlight=False)
        if curve.derive is not None:
            curve.derive(points)
        _write(curve, points, folder)
        plot(curve, points, folder / f"{curve.name}.png")
        _print(curve, points)


def _shown(curve: Curve, point: Point) -> str:
    figures = ", ".join(f"{m} {point[m]:.4g}" for m in curve.measures if m in point)
    return f"{curve.name} {point[curve.x]:,} ({point[curve.series]}): {figures}"


def _write(curve: Curve, points: list[Point], folder: Path) -> None:
    columns = [curve.x, curve.series, *curve.measures]
    kept = [{column: point[column] for column in columns} for point in points]
    (folder / f"{curve.name}.json").write_text(json.dumps(kept, indent=1))
    with (folder / f"{curve.name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(kept)


def _print(curve: Curve, points: list[Point]) -> None:
    table = Table(curve.x, curve.series, *(f"{m} [{unit}]" for m, unit in curve.measures.items()))
    for point in points:
        table.add_row(
            f"{point[curve.x]:,}", point[curve.series], *(f"{point[m]:.4g}" for m in curve.measures)
        )
    Console(width=150).print(table)
    for sentence in bends(curve, points):
        Console(width=150).print(sentence, highlight=False)


if __name__ == "__main__":
    auto_cli(run, as_positional=False)
