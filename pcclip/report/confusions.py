"""Which class is taken for which, before and after: two figures, and the largest changes in words."""

from __future__ import annotations

import io

import numpy as np

from pcclip.evaluation.exhibits.kinds import STAGES, Confusion
from pcclip.evaluation.statistics import Doubles
from pcclip.report.tables import Cell, Table, escaped, printable
from pcclip.report.thumbnails import data_address

_CHANGES = 12
_WRITTEN = 12
"""Classes up to which numbers stand in the cells."""
_NAMED = 40
"""Classes up to which they are named at the axes."""
_LONG = 18  # characters of a name at an axis


def confusions(one: Confusion) -> tuple[str, Table]:
    """Figures of both matrices as HTML, and a table of what changed most."""
    figures = []
    top = max(float(np.max(getattr(one, stage))) for stage in STAGES)
    for stage in STAGES:
        matrix = np.asarray(getattr(one, stage), np.float64)
        right = np.trace(matrix) / max(matrix.sum(), 1)
        alt = f"Confusion matrix of the {stage} model: {100 * right:.1f} % on the diagonal"
        picture = data_address(
            _draw(matrix, one.classes, top, f"{stage}: {100 * right:.1f} % right"), "image/png"
        )
        figures.append(f'<figure class="chart"><img alt="{escaped(alt)}" src="{picture}"></figure>')
    return f'<div class="charts">{"".join(figures)}</div>\n', _changes(one)


def _changes(one: Confusion) -> Table:
    base, tuned = (np.asarray(getattr(one, stage), np.float64) for stage in STAGES)
    change = tuned - base
    np.fill_diagonal(change, 0)
    order = np.argsort(-np.abs(change), axis=None, kind="stable")[:_CHANGES]
    rows = []
    for true, taken in zip(*np.unravel_index(order, change.shape), strict=True):
        if (more := change[true, taken]) == 0:
            break
        cell = Cell(f"{'▼' if more > 0 else '▲'} {_number(more, sign=True)}", "loss" if more > 0 else "gain")
        name = f"{one.classes[true]}, taken for {one.classes[taken]}"
        rows.append((name, _number(base[true, taken]), _number(tuned[true, taken]), cell))
    head = ("", "pictures before", "pictures now", "change (▼ more mistakes)")
    return Table(f"Mistakes that changed most: {one.metric}", head, (("", tuple(rows)),))


def _number(value: float, sign: bool = False) -> str:
    return f"{value:{'+' if sign else ''}.4g}"  # ties count in parts


def _draw(matrix: Doubles, classes: list[str], top: float, title: str) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count = len(classes)
    side = 4.8 if count > _NAMED else max(4.8, 1.6 + 0.22 * count)
    figure = Figure(figsize=(side, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.imshow(matrix, cmap="Blues", vmin=0, vmax=max(top, 1))
    axes.set_title(title, fontsize=11)
    axes.set_xlabel("taken for", fontsize=10)
    axes.set_ylabel("true class", fontsize=10)
    if count <= _NAMED:
        names = [_short(name) for name in classes]
        axes.set_xticks(range(count), names, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
        axes.set_yticks(range(count), names, fontsize=8)
    if count <= _WRITTEN:
        for (row, column), value in np.ndenumerate(matrix):
            if value:
                dark = value > 0.55 * top
                colour = "white" if dark else "black"
                axes.text(column, row, f"{value:.3g}", ha="center", va="center", fontsize=7, color=colour)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _short(name: str) -> str:
    """A name at an axis: matplotlib would take dollars for formulas."""
    text = printable(name).replace("$", r"\$")
    return text if len(text) <= _LONG else text[: _LONG - 1] + "…"
