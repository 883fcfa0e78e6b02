"""Confusion matrices before and after, and what changed between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pcclip.callbacks.dashboard.figures import blank, wrapped
from pcclip.evaluation.exhibits.kinds import Confusion
from pcclip.evaluation.statistics import Doubles, Indices

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST = 25
"""Classes whose names can be read in one figure."""
_NUMBERED = 12
"""Classes up to which there is room for a number in each field."""


def confusion_figure(confusion: Confusion) -> Figure:
    """Shares of the true class's pictures: by the base model, by the tuned one, and the change in points.

    Args:
        confusion: Of many classes, those that are confused most.
    """
    shares = [_shares(np.asarray(one, np.float64)) for one in (confusion.base, confusion.tuned)]
    shown = _most_confused(shares)
    base, tuned = (share[np.ix_(shown, shown)] for share in shares)
    change = tuned - base
    names = [wrapped(confusion.classes[number], 26, 1) for number in shown]
    side = 1.8 + max(3.0, 0.21 * len(shown))
    figure = blank(3 * side, side + 0.7)
    there = np.asarray(confusion.base, np.float64).sum(axis=1) > 0
    right = [float(np.mean(np.diag(share)[there])) for share in shares]
    some = "" if len(shown) == len(confusion.classes) else f", the {len(shown)} most confused"
    figure.suptitle(
        f"{confusion.metric}: {len(confusion.classes)} classes{some}; rows: true class, per cent of it "
        "taken for each class"
    )
    largest = max(1.0, float(np.nanmax(np.abs(change))))
    axes = figure.subplots(1, 3, sharey=True)
    for panel, values, title, colours, low, high in (
        (axes[0], base, f"base, mean {right[0]:.1f} % right", "Blues", 0.0, 100.0),
        (axes[1], tuned, f"tuned, mean {right[1]:.1f} % right", "Blues", 0.0, 100.0),
        (
            axes[2],
            change,
            f"change, {right[1] - right[0]:+.1f} points; blue: more often",
            "RdBu",
            -largest,
            largest,
        ),
    ):
        drawn = panel.imshow(values, cmap=colours, vmin=low, vmax=high)
        panel.set_title(title, fontsize=10)
        panel.set_xticks(range(len(shown)), names, rotation=90, fontsize=8)
        panel.set_yticks(range(len(shown)), names, fontsize=8)
        figure.colorbar(drawn, ax=panel, shrink=0.6, pad=0.02)
        if len(shown) <= _NUMBERED:
            _number(panel, values, high, signed=values is change)
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
