"""What the dashboard's figures share: blank ones, texts in them, and their way into the event file."""

from __future__ import annotations

import textwrap
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch.utils.tensorboard import SummaryWriter


def blank(width: float, height: float) -> Figure:
    """A figure of so many inches, without a window system behind it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=100)
    FigureCanvasAgg(figure)
    return figure


def wrapped(text: str, width: int, lines: int) -> str:
    """A text on a few lines; what does not fit is cut."""
    return textwrap.fill(" ".join(text.split()), width, max_lines=lines, placeholder=" …")


def write(axes: Any, x: float, y: float, text: str, **style: Any) -> None:
    """A text in parts of the axes, taken as it is: a `$` in it begins no formula."""
    axes.text(x, y, text, transform=axes.transAxes, parse_math=False, **style)


def log_figure(writer: SummaryWriter, tag: str, figure: Figure, step: int) -> None:
    """Writes a figure as a picture."""
    with warnings.catch_warnings():
        # Texts of the data may be in scripts that the font lacks: boxes stand for them.
        warnings.filterwarnings("ignore", r"Glyph \d+")
        warnings.filterwarnings("ignore", "Matplotlib currently does not support")
        writer.add_figure(tag, figure, step)
