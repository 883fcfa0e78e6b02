"""Confusion matrices before and after, and what changed between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pcclip.callbacks.dashboard.figures import blank, wrapped, write
from pcclip.evaluation.exhibits.kinds import Confusion
from pcclip.evaluation.statistics import Doubles, Indices

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST = 25
"""Classes whose names can be read in one figure."""
_NUMBERED = 12
"""Classes up to which there is room for a number in each field."""
_LISTED = 20


def confusion_figure(confusion: Confusion) -> Figure:
    """Shares of the true class's pictures: by the base model, by the tuned one, and the change in points.

    Args:
        confusion: Of many classes, those that are confused most.
    """
    shares = [_shares(np.asarray(one, np.float64)) for one in (confusion.base, confusion.tuned)]
    shown = _most_confused(shares)
    base, tuned = (share[np.ix_(shown, shown)] for share in shares)
    change = tuned - base
    names = [wrapped(confusion.classes[number], 24, 1) for number in shown]
    there = np.asarray(confusion.base, np.float64).sum(axis=1) > 0
    right = [float(np.mean(np.diag(share)[there])) for share in shares]
    many = len(shown) > _NUMBERED
    figure = blank(10.6, 11.0 if many else 5.2)
    some = f", the {len(shown)} most confused" if len(shown) < len(confusion.classes) else ""
    figure.suptitle(
        f"{confusion.metric}: {len(confusion.classes)} classes{some}\n"
        "per cent of the true class (row) that is taken for each class (column)",
        fontsize=11,
    )
    axes = figure.subplots(2, 2).ravel() if many else figure.subplots(1, 3, sharey=True)
    largest = max(1.0, float(np.abs(change).max()))
    for panel, values, title, colours, low, high in (
        (axes[0], base, f"base, {right[0]:.1f} % right", "Blues", 0.0, 100.0),
        (axes[1], tuned, f"tuned, {right[1]:.1f} % right", "Blues", 0.0, 100.0),
        (
            axes[2],
            change,
            f"change, {right[1] - right[0]:+.1f} points; blue: more",
            "RdBu",
            -largest,
            largest,
        ),
    ):
        drawn = panel.imshow(values, cmap=colours, vmin=low, vmax=high)
        panel.set_title(title, fontsize=10)
        panel.set_xticks(range(len(shown)), names, rotation=90, fontsize=7)
        panel.set_yticks(range(len(shown)), names, fontsize=7)
        if many:
            figure.colorbar(drawn, ax=panel, shrink=0.6, pad=0.02)
        else:
            _number(panel, values, high, signed=values is change)
    if many:
        _list_changes(axes[3], change, names)
    return figure


def _shares(counts: Doubles) -> Doubles:
    """Per cent of each row, zero for a class without pictures."""
    shares: Doubles = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-12)
    return shares


def _most_confused(shares: list[Doubles]) -> Indices:
    classes = len(shares[0])
    if classes <= _MOST:
        return np.arange(classes)
    wrong = np.maximum(*shares)
    np.fill_diagonal(wrong, 0.0)
    return np.sort(np.argsort(-(wrong.sum(axis=0) + wrong.sum(axis=1)), kind="stable")[:_MOST])


def _list_changes(panel: Any, change: Doubles, names: list[str]) -> None:
    panel.set_axis_off()
    largest = np.argsort(-np.abs(change), axis=None, kind="stable")[:_LISTED]
    lines = [
        f"{change[row, column]:+5.0f}  {names[row]}"
        + (f" as {names[column]}" if row != column else ", correct")
        for row, column in zip(*np.unravel_index(largest, change.shape), strict=True)
        if change[row, column]
    ]
    write(panel, 0.0, 0.97, "largest changes, in points", va="top", fontsize=9, fontweight="bold")
    write(panel, 0.0, 0.91, "\n".join(lines), va="top", fontsize=8, family="monospace")


def _number(panel: Any, values: Doubles, high: float, signed: bool) -> None:
    for row, column in np.ndindex(*values.shape):
        if abs(value := values[row, column]) >= 0.5:
            panel.text(
                column,
                row,
                f"{value:+.0f}" if signed else f"{value:.0f}",
                ha="center",
                va="center",
                fontsize=7,
                color="white" if abs(value) > 0.6 * high else "black",
            )
