"""Log-log plots of the points, and where a line bends."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from tests.benchmarks.scaling.measuring import Curve, Point

BEND = 0.35
"""Change of the local slope from which on a line is said to bend."""

Line = list[tuple[float, float]]


def lines(curve: Curve, points: Sequence[Point], measure: str) -> dict[str, Line]:
    """(x, y) of each series, in the order of x; zeros have no logarithm and are left out."""
    found: dict[str, Line] = {}
    for point in points:
        if point[measure] > 0:
            found.setdefault(point[curve.series], []).append((point[curve.x], point[measure]))
    return {name: sorted(line) for name, line in found.items()}


def slopes(line: Line) -> list[float]:
    """Local exponents between neighbours: 1 is linear, 2 quadratic, 0 flat."""
    logs = [(math.log(x), math.log(y)) for x, y in line]
    return [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(logs)]


def bends(curve: Curve, points: Sequence[Point]) -> Iterator[str]:
    """One sentence per line: its exponents, and where they change."""
    for measure in curve.measures:
        for name, line in lines(curve, points, measure).items():
            found = slopes(line)
            if not found:
                continue
            at = [f"{line[i + 1][0]:,}" for i, (a, b) in enumerate(pairwise(found))
                  if abs(b - a) > BEND]  # fmt: skip
            listed = " ".join(f"{slope:.2f}" for slope in found)
            yield f"{curve.name}, {measure} ({name}): exponents {listed}; bends at {', '.join(at) or 'none'}"


def plot(curve: Curve, points: Sequence[Point], path: Path) -> None:
    """One panel per figure, with a dashed guide: linear through the last point, or flat."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    columns = min(3, len(curve.measures))
    rows = -(-len(curve.measures) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(5 * columns, 4 * rows), squeeze=False)
    for axis, (measure, unit) in zip(axes.flat, curve.measures.items(), strict=False):
        found = lines(curve, points, measure)
        for name, line in found.items():
            axis.plot(*zip(*line, strict=True), marker="o", label=name)
        if longest := max(found.values(), key=lambda line: line[-1][1], default=None):
            x, y = longest[-1]
            power = 0 if measure in curve.flat else 1
            ends = [longest[0][0], x]
            ideal = [y * (end / x) ** power for end in ends]
            axis.plot(ends, ideal, "k--", alpha=0.4, label="flat" if power == 0 else "linear")
        axis.set(xscale="log", yscale="log", xlabel=curve.x, title=f"{measure} [{unit}]")
        axis.grid(alpha=0.3, which="both")
        if found:
            axis.legend(fontsize=8)
    for axis in axes.flat[len(curve.measures) :]:
        axis.set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
