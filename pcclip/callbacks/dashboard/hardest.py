"""The pairs of a training batch whose own text fits them worst against the batch's other texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.utilities.model_helpers import _ModuleMode
from torch import Tensor

from pcclip.callbacks.dashboard.figures import blank, wrapped, write
from pcclip.callbacks.dashboard.sources import Shown
from pcclip.geometry import difference, unit
from pcclip.training import DifferenceTraining

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROWS = 2048
"""Pairs of a batch that are compared."""


@dataclass(frozen=True)
class Hard:
    """A pair of the batch.

    Attributes:
        row: Its number in the batch.
        preferred: Row of the text that fits it best among those that are not its own.
        own_cosine: cos(own text, d).
        preferred_cosine: cos(preferred text, d).
    """

    row: int
    preferred: int
    own_cosine: float
    preferred_cosine: float


@dataclass(frozen=True)
class Compared:
    """A batch's texts against its picture differences.

    Attributes:
        hardest: The pairs with the smallest margin first.
        text_accuracy: Share of differences that their own text fits best.
        image_accuracy: Share of texts that fit their own difference best.
    """

    hardest: list[Hard]
    text_accuracy: float
    image_accuracy: float


@torch.no_grad()
def compare(module: DifferenceTraining, part: dict[str, Any], count: int) -> Compared:
    """Compares the pairs of a batch by the module as it is, in fp32; waits for the device.

    Args:
        module: Whose towers.
        part: Of a batch: the differences.
        count: How many of the hardest are wanted.
    """
    trains = _ModuleMode()
    trains.capture(module)
    module.eval()
    with torch.autocast(module.device.type, enabled=False):
        directions_BD = difference(*module.images(part, "1", "2"))[:_ROWS]
        lengths = part.get("lengths")
        texts_BD = module.towers.encode_texts(
            part["tokens"][:_ROWS], None if lengths is None else lengths[:_ROWS]
        )
        cosines_BB = unit(texts_BD) @ directions_BD.T  # text, difference
    trains.restore(module)
    ids = part["text_id"][:_ROWS]
    return compared(cosines_BB, ids[:, None] == ids[None, :], count)


def compared(cosines_BB: Tensor, same_BB: Tensor, count: int) -> Compared:
    """The hardest pairs of a batch.

    Args:
        cosines_BB: Of each text (row) and each difference (column).
        same_BB: Whether two texts are the same, which then do not compete.
        count: How many are wanted.
    """
    own_B = cosines_BB.diagonal().clone()
    others_BB = cosines_BB.masked_fill(same_BB, -torch.inf)
    best_B, preferred_B = others_BB.max(dim=0)
    margin_B = own_B - best_B
    order = margin_B.argsort()[:count].tolist()
    return Compared(
        [
            Hard(row, int(preferred_B[row]), float(own_B[row]), float(best_B[row]))
            for row in order
            if torch.isfinite(best_B[row])
        ],
        float((margin_B > 0).float().mean()),
        float((own_B > others_BB.max(dim=1).values).float().mean()),
    )


def hardest_figure(hardest: Sequence[Hard], shown: dict[int, Shown], step: int) -> Figure:
    """The pairs with their pictures, their own text and the one that was preferred.

    Args:
        hardest: At least one.
        shown: Texts and pictures by row.
        step: Of the fit.
    """
    figure = blank(9.2, 1.55 * len(hardest) + 0.6)
    figure.suptitle(
        f"Last training batch before step {step:,}: pairs whose own text is furthest behind another one",
        fontsize=11,
    )
    axes = figure.subplots(len(hardest), 3, squeeze=False, width_ratios=[1, 1, 4.2])
    for row, one in zip(axes, hardest, strict=True):
        for panel in row:
            panel.set_axis_off()
        own, other = shown.get(one.row), shown.get(one.preferred)
        for panel, name, picture in zip(
            row, ("first", "second"), own.pictures if own else (None, None), strict=False
        ):
            if picture is None:
                write(panel, 0.5, 0.5, "not at hand", ha="center", va="center", fontsize=8, color="0.5")
            else:
                panel.imshow(picture, interpolation="nearest" if max(picture.size) < 64 else "auto")
            panel.set_title(name, fontsize=8)
        for y, kind, cosine, text, colour in (
            (1.0, "own", one.own_cosine, own, "tab:blue"),
            (0.46, "preferred", one.preferred_cosine, other, "tab:red"),
        ):
            write(row[2], 0.02, y, f"{kind}, cosine {cosine:+.3f}", va="top", fontsize=8, color=colour)
            told = wrapped(text.text, 78, 2) if text else "(its text is not at hand)"
            write(row[2], 0.02, y - 0.15, told, va="top", fontsize=9)
    return figure
