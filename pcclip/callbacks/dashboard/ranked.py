"""Pictures ranked by a difference text: the first, the middle and the last ones, base beside tuned."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcclip.callbacks.dashboard.figures import blank, wrapped
from pcclip.data.records import decode_picture
from pcclip.evaluation.exhibits.kinds import STAGES, Ends, Placed, RankedByText

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STRETCHES = ("top", "middle", "bottom")
_INCH = 0.82
_ROW = 1.42
"""Height of a picture and the lines below it, in widths of a picture."""


def ranked_figure(ranked: RankedByText, pictures: Mapping[str, Path]) -> Figure:
    """One row per stretch; under each picture its place and the measured attribute.

    Args:
        ranked: By either model.
        pictures: Thumbnail by key.
    """
    ends: list[Ends] = [getattr(ranked, stage) for stage in STAGES]
    count = max(1, *(len(getattr(one, stretch)) for one in ends for stretch in _STRETCHES))
    figure = blank(2 * count * _INCH + 0.9, 3 * (_INCH + 0.36) + 0.9)
    figure.suptitle(wrapped(f"“{ranked.text}” ({ranked.attribute})", 100, 2), parse_math=False)
    halves: Any = figure.subfigures(1, 2, wspace=0.03)
    for half, stage, one in zip(halves, STAGES, ends, strict=True):
        rho = "" if one.spearman is None else f", Spearman {one.spearman:+.3f}"
        half.suptitle(f"{stage}{rho}", fontsize=11, fontweight="bold")
        panel = half.subplots()  # one for all pictures: to lay out one for each would take seconds
        panel.set_axis_off()
        for row, stretch in enumerate(_STRETCHES):
            panel.text(-0.12, row * _ROW + 0.5, stretch, rotation=90, va="center", ha="right")
            for column, placed in enumerate(getattr(one, stretch)):
                _show(panel, column, row * _ROW, placed, pictures)
        panel.set(xlim=(-0.4, count), ylim=(3 * _ROW, 0), aspect="equal")
    return figure


def _show(panel: Any, left: float, top: float, placed: Placed, pictures: Mapping[str, Path]) -> None:
    """A picture in its square, and what stands below it."""
    if placed.key in pictures:
        picture = decode_picture(pictures[placed.key], placed.key, pictures[placed.key])
        width, height = (0.94 * side / max(picture.size) for side in picture.size)
        x, y = left + (1 - width) / 2, top + (1 - height) / 2
        kind = "nearest" if max(picture.size) < 64 else "auto"
        panel.imshow(picture, extent=(x, x + width, y + height, y), interpolation=kind)
    value = placed.value
    told = (
        "" if value is None else f"{value:.3g}" if isinstance(value, float | int) else wrapped(value, 17, 1)
    )
    text = f"{placed.rank:,}\n{told}"
    panel.text(left + 0.5, top + 1.0, text, ha="center", va="top", fontsize=7, parse_math=False)
