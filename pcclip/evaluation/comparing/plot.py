"""A comparison as a figure: changes with their intervals, and the interpolation curves of all experiments."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pcclip.data.files import write_named
from pcclip.errors import PcclipError
from pcclip.evaluation.comparing.change_curves import change_curves, draw_change_curves
from pcclip.evaluation.comparing.comparison import Comparison
from pcclip.evaluation.comparing.experiments import Experiment
from pcclip.evaluation.comparing.rows import Row
from pcclip.evaluation.statistics import Doubles
from pcclip.untrusted import parse_json

_INCH = 0.16  # height of one experiment's interval
_MARKERS = "osD^vP*X"
_MANY = 30  # rows that can be read in one figure
_MAIN = (
    r"zero_shot/(?!.*-unseen)[^/]+/top1",
    r"difference/.+-mean(-unseen)?/two_alternative",
    r"difference/.+-mean/(text_difference|absolute)",
    r"ranking/.+-mean(-unseen)?/sentence_spearman",
    r"comparative/.+-after/(all|confused)_gain",
    r"retrieval/.+_recall_at_10",
    r"difference_retrieval/[^/]+/text_precision_at_10",
    r"change_retrieval/.+-mean(-unseen)?/sentence_recall_at_10",
    r"geometry/.+/comparison/text_cosine",
    r"geometry/.+/drift/prompts",
    r"linear_probe/.+/top1",
)


def plot(comparison: Comparison, path: Path) -> None:
    """Draws and writes the figure; of many rows the main ones only.

    Args:
        comparison: What is drawn.
        path: The picture; its suffix is the format (`.png`).

    Raises:
        PcclipError: A curve's file cannot be read.
    """
    drawn = _main_rows(comparison.rows)
    kinds = [[row for row in drawn if row.share is share] for share in (True, False)]
    panels = [rows for rows in kinds if rows]
    curves = {one.name: found for one in comparison.experiments if (found := _curves(one))}
    heights = [max(2.0, len(rows) * (len(comparison.experiments) * _INCH + 0.12) + 0.9) for rows in panels]
    if curves:
        heights.append(5.2)
    changes = change_curves(comparison.experiments)
    heights += [4.6] * len(changes)
    figure = Figure(figsize=(11, sum(heights) + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    for panel, rows in zip(axes, panels, strict=False):
        _forest(panel, comparison, rows)
    if curves:
        _gain_against_cost(axes[len(panels)], comparison, curves)
    for panel, (title, by_name) in zip(axes[len(heights) - len(changes) :], changes.items(), strict=True):
        draw_change_curves(panel, title, by_name, [_colour(n) for n in range(len(comparison.experiments))])
    handles = [
        Line2D([], [], color=_colour(n), marker=_marker(n), label=one.name)
        for n, one in enumerate(comparison.experiments)
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=min(4, len(handles)), frameon=False)
    kind, known = path.suffix[1:].lower(), sorted(figure.canvas.get_supported_filetypes())
    if kind not in known:
        raise PcclipError(f"{path}: what kind of picture is {path.suffix!r}? There are {', '.join(known)}.")
    drawing = io.BytesIO()
    figure.savefig(drawing, dpi=120, format=kind)
    write_named(path, drawing.getvalue())


def _main_rows(rows: Sequence[Row]) -> Sequence[Row]:
    if len(rows) <= _MANY:
        return rows
    return [row for row in rows if any(re.fullmatch(main, row.metric) for main in _MAIN)] or rows[:_MANY]


def _forest(axes: Axes, comparison: Comparison, rows: Sequence[Row]) -> None:
    """Changes against base: thick lines over pictures, thin ones over seeds, hollow where not significant."""
    step = 0.8 / len(comparison.experiments)
    for place, row in enumerate(rows):
        if place % 2 == 0:
            axes.axhspan(place - 0.5, place + 0.5, color="0.95", zorder=0)
        for number, one in enumerate(comparison.experiments):
            cell = comparison.cells.get((row.metric, one.name))
            if cell is None or cell.change is None:
                continue
            change, y = cell.change, place - 0.4 + (number + 0.5) * step
            for found, width in ((change.seeds, 0.8), (change.pictures, 2.4)):
                if found.low == found.low:
                    ends = [found.low / row.unit, found.high / row.unit]
                    axes.plot(ends, [y, y], color=_colour(number), linewidth=width, solid_capstyle="butt")
            axes.plot(
                [change.pictures.value / row.unit],
                [y],
                marker=_marker(number),
                markersize=5,
                color=_colour(number),
                markerfacecolor=_colour(number) if change.significant else "white",
            )
    axes.axvline(0, color="0.3", linewidth=0.8)
    axes.set_yticks(range(len(rows)), [row.label for row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    share = rows[0].share
    # Seeds' intervals may be as wide as the axis: a few small changes must stay readable beside large ones.
    axes.set_xscale("symlog", linthresh=2 if share else 0.05)
    if share:
        ticks = [-50, -20, -10, -5, -2, -1, 0, 1, 2, 5, 10, 20, 50]
        axes.set_xticks(ticks, [f"{tick:+d}" if tick else "0" for tick in ticks], fontsize=8)
        axes.minorticks_off()
    axes.grid(axis="x", alpha=0.25)
    unit = "points, linear to ±2" if share else "linear to ±0.05"
    axes.set_xlabel(
        f"change against base ({unit})\nthick: 95 % over pictures, thin: over seeds; filled: significant",
        fontsize=9,
    )


def _gain_against_cost(axes: Axes, comparison: Comparison, curves: dict[str, list[Doubles]]) -> None:
    """Each seed's curve from base (0, 0) on, thin, and their mean."""
    for number, one in enumerate(comparison.experiments):
        found = curves.get(one.name, [])
        for curve in found:
            axes.plot(curve[:, 1], curve[:, 2], color=_colour(number), linewidth=0.7, alpha=0.4)
        if found and all(np.array_equal(curve[:, 0], found[0][:, 0]) for curve in found):
            mean = np.mean(found, axis=0)
            axes.plot(mean[:, 1], mean[:, 2], color=_colour(number), marker=_marker(number), markersize=4)
            axes.annotate(
                f"{mean[-1, 0]:g}", mean[-1, 1:], xytext=(5, 3), textcoords="offset points", fontsize=8,
                color=_colour(number),
            )  # fmt: skip
    axes.axvline(0, color="0.3", linewidth=0.8)
    axes.axhline(0, color="0.3", linewidth=0.8)
    left, right = axes.get_xlim()
    if left < 0:
        axes.axvspan(left, 0, color="tab:red", alpha=0.05, zorder=0)
    axes.set_xlim(left, right)
    axes.grid(alpha=0.25)
    axes.set_xlabel("zero-shot top-1 on validation data, change in points (left: a loss)", fontsize=9)
    axes.set_ylabel("two-alternative accuracy,\ngain in points", fontsize=9)
    axes.set_title(
        "Weights from base (0, 0) to tuned (the number is the last alpha); thick: mean of seeds", fontsize=9
    )


def _curves(one: Experiment) -> list[Doubles]:
    """(A, 3) alpha, change of zero-shot and of difference accuracy in points, of each run with a curve."""
    curves = []
    for folder in one.folders:
        file = folder / "interpolation.json"
        if not file.is_file():
            continue
        try:
            points: list[dict[str, Any]] = parse_json(file.read_bytes())["points"]
            rows = sorted((p["alpha"], p["zero_shot"], p["difference"]) for p in points)
        except (ValueError, KeyError, TypeError) as error:
            raise PcclipError(f"{file}: is no interpolation curve ({error!r}). Run it again.") from error
        curve = np.array(rows, np.float64)
        if len(curve) and curve[0, 0] == 0 and not math.isnan(curve[0, 1]):
            curve[:, 1:] = 100 * (curve[:, 1:] - curve[0, 1:])
            curves.append(curve)
    return curves


def _colour(number: int) -> Any:
    return colormaps["tab10"](number % 10)


def _marker(number: int) -> str:
    return _MARKERS[number % len(_MARKERS)]
