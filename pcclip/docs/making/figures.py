"""The pages' figures, drawn from the package itself and from finished runs (`make docs-figures`)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pcclip.data.files import write_atomically
from pcclip.data.sources.shapes import Shapes
from pcclip.generation.rules import RuleWriter
from pcclip.geometry import difference, unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI, _FINE_DPI = 110, 150
_GREY, _BLUE, _RED, _GREEN = "#8a8f98", "#2b5fab", "#b4432f", "#2f7d4f"
_PAIRS = 6
WORLDS = {"eurosat": "make eurosat", "shapes": "make demo"}
"""Whose finished runs give figures, and what makes those."""


def draw(folder: Path) -> list[Path]:
    """Draws the figures that need nothing but the package.

    Args:
        folder: Where, as NAME.png.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, figure in (("geometry", geometry()), ("pairs", pairs())):
        files.append(folder / f"{name}.png")
        figure.savefig(files[-1], dpi=_DPI, metadata={"Software": None})
    return files


def draw_ranked(folder: Path, world: str, run: Path, data: Path, cache: Path | None = None) -> Iterator[str]:
    """Draws `ranked-WORLD-gain.png` and `ranked-WORLD-loss.png`, and says which sentences they show.

    Args:
        folder: Where.
        world: Name of the world.
        run: A finished run of it.
        data: Its folder, made by `pcclip prepare`.
        cache: Of embeddings; None keeps them in memory only.

    Raises:
        PcclipError: As `ranked.extremes`.
    """
    from PIL import Image

    from pcclip.docs.making.ranked import extremes, strips

    folder.mkdir(parents=True, exist_ok=True)
    for name, shown in zip(("gain", "loss"), extremes(run, data, cache), strict=True):
        drawn, written = io.BytesIO(), io.BytesIO()
        strips(shown).savefig(drawn, dpi=_FINE_DPI)
        with Image.open(drawn) as picture:  # a palette: a third of the bytes
            picture.convert("RGB").quantize(256).save(written, "PNG", optimize=True)
        file = folder / f"ranked-{world}-{name}.png"
        write_atomically(file, written.getvalue())
        yield f"{file.name}: {shown.told()}"


def geometry() -> Figure:
    """Two pictures on the unit circle, the direction of their difference, and a text that comes to it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 4.2), layout="constrained")
    one, two = unit(torch.tensor([[0.55, 1.0]])), unit(torch.tensor([[1.15, 0.28]]))
    direction = difference(one, two)
    before = unit(torch.tensor([[0.9, 0.75]]))
    texts = [unit((1 - share) * before + share * direction) for share in (0.0, 0.4, 0.7)]
    left, right = figure.subplots(1, 2)
    for axes, title in (
        (left, "two pictures and their difference"),
        (right, "the text comes to the difference"),
    ):
        _circle(axes)
        axes.set_title(title, fontsize=11)
    _arrow(left, one, "g(I₁)", _GREY)
    _arrow(left, two, "g(I₂)", _GREY)
    a, b = one[0].tolist(), two[0].tolist()
    left.annotate("", a, b, arrowprops={"arrowstyle": "->", "color": _BLUE, "linestyle": "--"})
    _arrow(left, direction, "d₁₂", _BLUE)
    _arrow(left, -direction, "d₂₁ = -d₁₂", _RED)
    _arrow(right, direction, "d₁₂", _BLUE)
    for vector, label, alpha in zip(texts, ("f(T₁₂) before", "", "after"), (0.35, 0.6, 1.0), strict=True):
        _arrow(right, vector, label, _GREEN, alpha)
    return figure


def pairs() -> Figure:
    """Pairs of the shapes world with the texts that rules write about them."""
    from matplotlib.figure import Figure
    from PIL import Image

    world = Shapes(train=40, validation=2, test=2)
    writer = RuleWriter(world.attributes(), world.references(), seed=0, clause_shares=[1.0])
    drawn = list(world.pictures("train"))
    figure = Figure(figsize=(8.4, 1.35 * _PAIRS / 2 + 0.4), layout="constrained")
    grid = figure.subplots(_PAIRS // 2, 4)
    told = 0
    for first, second in zip(drawn[::2], drawn[1::2], strict=True):
        written = writer.write(f"{first.key}-{second.key}", first.attributes, second.attributes)
        if written is None or told == _PAIRS:
            continue
        for at, picture in enumerate((first, second)):
            axes = grid[told // 2][2 * (told % 2) + at]
            axes.imshow(Image.open(io.BytesIO(picture.image)))
            axes.set(xticks=[], yticks=[])
            axes.set_xlabel("picture 1" if at == 0 else "picture 2", fontsize=8)
        grid[told // 2][2 * (told % 2)].set_title(_wrapped(written.text), fontsize=8.5, loc="left")
        told += 1
    return figure


def _circle(axes: Axes) -> None:
    from matplotlib.patches import Circle

    axes.add_patch(Circle((0, 0), 1, fill=False, color=_GREY, linewidth=0.8))
    axes.set(xlim=(-1.25, 1.45), ylim=(-1.2, 1.25), aspect="equal")
    axes.axis("off")


def _arrow(axes: Axes, vector_1D: torch.Tensor, label: str, colour: str, alpha: float = 1.0) -> None:
    x, y = vector_1D[0].tolist()
    style = {
        "arrowstyle": "-|>",
        "color": colour,
        "alpha": alpha,
        "linewidth": 1.8,
        "shrinkA": 0,
        "shrinkB": 0,
    }
    axes.annotate("", (x, y), (0, 0), arrowprops=style)
    side = "left" if x >= 0 else "right"
    axes.text(1.07 * x, 1.07 * y, label, color=colour, ha=side, va="center", fontsize=10)


def _wrapped(text: str) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, 46))
