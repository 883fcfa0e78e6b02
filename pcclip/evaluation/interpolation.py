"""Weights between base and tuned: which share to take, and what each share gains and costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pcclip.errors import PcclipError
from pcclip.evaluation.protocol import Results
from pcclip.evaluation.statistics import Doubles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TWO_SIDED = 1.96  # standard errors on either side of a 95 % interval
_NAME = (26.0, 15.0)
"""Pixels of an alpha at the curve."""
_MEANS = ("-mean/two_alternative", "-mean-unseen/two_alternative")


@dataclass(frozen=True)
class CurvePoint:
    """Validation scores of one interpolation.

    Attributes:
        alpha: Share of the tuned weights: 0 is the base model, 1 the tuned one.
        zero_shot: Zero-shot top-1, as a fraction; NaN where the sets have no classes.
        difference: Mean two-alternative accuracy over seen and held-out wordings, as a fraction.
        noise: Standard error of the change of `zero_shot` against the base model, over pictures.
    """

    alpha: float
    zero_shot: float
    difference: float
    noise: float = 0.0


def curve_point(alpha: float, measured: Sequence[Results], base: Sequence[Results]) -> CurvePoint:
    """Validation scores at one share of the tuned weights, averaged over sets.

    Zero-shot counts over all pictures of a set, with the prompts seen and held out; a part of the pictures,
    such as held-out combinations, does not count again.

    Args:
        alpha: The share.
        measured: Results there, one per set.
        base: The base model's, in the same order.
    """
    differences = [
        value
        for results in measured
        for name, value in results.values().items()
        if name.startswith("difference/") and name.endswith(_MEANS)
    ]
    here, before = ([_zero_shot(results) for results in model] for model in (measured, base))
    changes = [a - b for a, b in zip(here, before, strict=True) if len(a)]
    noise = math.sqrt(sum(float(c.var(ddof=1)) / len(c) for c in changes)) / len(changes) if changes else 0.0
    levels = [float(scores.mean()) for scores in here if len(scores)]
    return CurvePoint(
        alpha=alpha,
        zero_shot=sum(levels) / len(levels) if levels else math.nan,
        difference=sum(differences) / len(differences) if differences else math.nan,
        noise=noise,
    )


def _zero_shot(results: Results) -> Doubles:
    """(N,) top-1 of each picture, averaged over the prompts seen and held out; empty without zero-shot."""
    columns = [
        results.groups[group].scores[column].astype(np.float64)
        for name, parts in results.metrics.items()
        if name.startswith("zero_shot/") and name.endswith("/top1")
        for group, column in parts
        if len(results.groups[group].first) == results.pictures
    ]
    return np.mean(columns, axis=0) if columns else np.empty(0)


def choose_alpha(points: Sequence[CurvePoint]) -> float:
    """The share of the tuned weights to use, from validation scores alone.

    Among the shares whose zero-shot top-1 is not significantly below the base model's (the 95 % interval of
    the paired change holds zero), the one with the highest difference accuracy; of equals the smallest, which
    is the nearest to the base model. The base model is itself among them, so 0 comes out where every other
    share costs zero-shot accuracy or gains nothing. Without zero-shot scores only the difference accuracy
    counts.

    Args:
        points: The curve, with the base model (alpha 0) in it, in any order.

    Raises:
        PcclipError: The base model is missing, or a difference accuracy is not a number.
    """
    base = _base(points)
    bad = [point.alpha for point in points if math.isnan(point.difference)]
    if bad:
        raise PcclipError(
            f"the difference accuracy at alpha {bad[0]:g} is not a number, so no alpha can be chosen: run "
            "difference-based classification on the validation split of at least one set"
        )
    allowed = [
        point
        for point in points
        if math.isnan(base.zero_shot) or point.zero_shot >= base.zero_shot - _TWO_SIDED * point.noise
    ]
    return max(allowed, key=lambda point: (point.difference, -point.alpha)).alpha


def plot_curve(points: Sequence[CurvePoint], chosen: float, path: Path) -> Figure:
    """Draws the gain in difference accuracy against the change of zero-shot accuracy.

    Args:
        points: The curve, with the base model (alpha 0) in it.
        chosen: The alpha to mark.
        path: The picture to write; its suffix is the format (`.png`).

    Returns:
        The figure, as TensorBoard takes it.

    Raises:
        PcclipError: The base model is missing.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # at the end of a fit, not at its start
    from matplotlib.figure import Figure

    base = _base(points)
    ordered = sorted(points, key=lambda point: point.alpha)
    blank = math.isnan(base.zero_shot)
    cost = [0.0 if blank else 100 * (point.zero_shot - base.zero_shot) for point in ordered]
    gain = [100 * (point.difference - base.difference) for point in ordered]
    figure = Figure(figsize=(7, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    left, right = min(cost) - 0.5, max(cost) + 0.5
    axes.set_xlim(left, right)
    axes.axvspan(left, 0, color="tab:red", alpha=0.07, label="zero-shot loses")
    axes.axvline(0, color="0.5", linewidth=0.8)
    axes.axhline(0, color="0.5", linewidth=0.8)
    axes.plot(cost, gain, "o-", color="tab:blue", markersize=5)
    alphas = [point.alpha for point in ordered]
    if chosen in alphas:
        at = alphas.index(chosen)
        star = f"chosen: $\\alpha$ = {chosen:g}"
        axes.plot(cost[at], gain[at], "*", color="tab:orange", markersize=14, label=star)
    _name_points(figure, axes, list(zip(alphas, cost, gain, strict=True)), chosen)
    axes.set_xlabel("zero-shot top-1, change in points" + (" (not measured)" if blank else ""))
    axes.set_ylabel("two-alternative accuracy, gain in points")
    axes.set_title(
        f"$\\alpha$ · tuned + (1 - $\\alpha$) · base; validation data\n"
        f"base: two-alternative {100 * base.difference:.1f} %"
        + ("" if blank else f", zero-shot {100 * base.zero_shot:.1f} %"),
        fontsize=10,
    )
    axes.grid(alpha=0.25)
    axes.legend(loc="best", fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return figure


def _name_points(
    figure: Figure, axes: Axes, points: Sequence[tuple[float, float, float]], chosen: float
) -> None:
    """Writes the alpha of each point (alpha, x, y) beside it, where it covers none that matters more."""
    figure.draw_without_rendering()  # lays out, by which points have their places
    named: list[tuple[float, float]] = []
    matters = {chosen: 0, points[-1][0]: 1, points[0][0]: 2}
    for alpha, x, y in sorted(points, key=lambda point: matters.get(point[0], 3)):
        across, up = axes.transData.transform((x, y))
        if any(abs(across - other[0]) < _NAME[0] and abs(up - other[1]) < _NAME[1] for other in named):
            continue
        named.append((across, up))
        axes.annotate(
            f"{alpha:g}",
            (x, y),
            xytext=(9, -11),
            textcoords="offset points",
            fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
            fontweight="bold" if alpha == chosen else "normal",
        )


def _base(points: Sequence[CurvePoint]) -> CurvePoint:
    base = next((point for point in points if point.alpha == 0), None)
    if base is None:
        raise PcclipError(
            "the curve has no base model (alpha 0), only alpha "
            f"{', '.join(f'{point.alpha:g}' for point in points) or 'none'}; measure it too, to compare with"
        )
    return base
