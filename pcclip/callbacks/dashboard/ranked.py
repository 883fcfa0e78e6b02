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
        axes = half.subplots(3, count, squeeze=False)
        for row, stretch in enumerate(_STRETCHES):
            placed: list[Placed] = getattr(one, stretch)
            for column, panel in enumerate(axes[row]):
                panel.set_axis_off()
                if column < len(placed):
                    _show(panel, placed[column], pictures)
            axes[row, 0].text(
                -0.12, 0.5, stretch, rotation=90, va="center", ha="right", transform=axes[row, 0].transAxes
            )
    return figure


def _show(panel: Any, placed: Placed, pictures: Mapping[str, Path]) -> None:
    if placed.key in pictures:
        picture = decode_picture(pictures[placed.key], placed.key, pictures[placed.key])
        panel.imshow(picture, interpolation="nearest" if max(picture.size) < 64 else "auto")
    value = placed.value
    told = (
        "" if value is None else f"{value:.3g}" if isinstance(value, float | int) else wrapped(value, 17, 1)
    )
    panel.set_title(f"{placed.rank:,}\n{told}", fontsize=7, y=-0.4, parse_math=False)
