"""Pages of pictures: rows of cases, columns of weights, towers side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from pcclip.arithmetic.cases import Case
from pcclip.arithmetic.plan import UNCHANGED, WORDS, Plan
from pcclip.errors import PcclipError

_SMALLEST, _LARGEST = 96, 192  # edge of a picture on a page, in pixels
_GAP, _BETWEEN = 4, 28
_LABELS = 190
_HEADER = 56
_FONT = 15


@dataclass(frozen=True)
class Grids:
    """How pages are made.

    Attributes:
        rows: cases on a page.
        seeds: how many of the seeds have pages; the first ones.
    """

    rows: int = 8
    seeds: int = 1

    def __post_init__(self) -> None:
        """Refuses pages without rows."""
        if self.rows < 1 or self.seeds < 0:
            raise PcclipError(f"grids: rows {self.rows}, seeds {self.seeds}: give 1 or more, and 0 or more.")


def pages(plan: Plan, folders: Mapping[str, Path], grids: Grids) -> Iterator[tuple[str, Image.Image]]:
    """Pages by name, as `seed0-01`.

    Args:
        plan: Whose pictures are all there.
        folders: Of the towers, which stand side by side.
        grids: How many rows and seeds.
    """
    for seed in plan.seeds[: grids.seeds]:
        for number, start in enumerate(range(0, len(plan.cases), grids.rows), 1):
            cases = plan.cases[start : start + grids.rows]
            yield f"seed{seed}-{number:02d}", _page(plan, cases, seed, folders)


def count_pages(plan: Plan, grids: Grids) -> int:
    """How many `pages` gives."""
    return len(plan.seeds[: grids.seeds]) * -(-len(plan.cases) // grids.rows)


def _page(plan: Plan, cases: Sequence[Case], seed: int, folders: Mapping[str, Path]) -> Image.Image:
    with Image.open(next(iter(folders.values())) / plan.picture(cases[0], UNCHANGED, seed).file) as first:
        edge = min(max(max(first.size), _SMALLEST), _LARGEST)
    block = len(plan.cells) * (edge + _GAP) - _GAP
    width = _LABELS + len(folders) * (block + _BETWEEN)
    page = Image.new("RGB", (width, _HEADER + len(cases) * (edge + _GAP) + _GAP), "white")
    draw = ImageDraw.Draw(page)
    bold, plain = ImageFont.load_default(_FONT + 3), ImageFont.load_default(_FONT)
    draw.text((8, 8), f"seed {seed}", "black", bold)
    for place, (tower, folder) in enumerate(folders.items()):
        left = _LABELS + place * (block + _BETWEEN)
        draw.text((left + block / 2, 4), tower, "black", bold, "ma")
        for column, cell in enumerate(plan.cells):
            x = left + column * (edge + _GAP)
            draw.text((x + edge / 2, 32), _header(cell), "black", plain, "ma")
            for row, case in enumerate(cases):
                y = _HEADER + row * (edge + _GAP)
                page.paste(_thumbnail(folder / plan.picture(case, cell, seed).file, edge), (x, y))
    for row, case in enumerate(cases):
        middle = _HEADER + row * (edge + _GAP) + edge / 2
        text = f"{case.subject}\n+ {case.change}"
        draw.multiline_text(
            (_LABELS - 12, middle), _wrapped(text, plain), "black", plain, "rm", align="right"
        )
    return page


def _header(cell: str) -> str:
    return {UNCHANGED: "0", WORDS: "words"}.get(cell, f"+{cell[1:]}")


def _thumbnail(path: Path, edge: int) -> Image.Image:
    with Image.open(path) as file:
        picture = file.convert("RGB")
    scale = edge / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    how = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    square = Image.new("RGB", (edge, edge), "white")
    square.paste(picture.resize(size, how), ((edge - size[0]) // 2, (edge - size[1]) // 2))
    return square


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Lines no wider than the labels' column; a longer word stays whole."""
    lines = []
    for line in text.split("\n"):
        words = line.split(" ")
        now = words[0]
        for word in words[1:]:
            longer = f"{now} {word}"
            if font.getlength(longer) > _LABELS - 20:
                lines.append(now)
                now = word
            else:
                now = longer
        lines.append(now)
    return "\n".join(lines)
