"""Draws the pictures of the shapes world: one to four shapes on a patterned ground."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

SIDE = 64
_SCALE = 4  # masks are drawn this much larger and then averaged, which smooths the edges

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (225, 45, 40),
    "yellow": (240, 215, 45),
    "green": (45, 170, 60),
    "cyan": (60, 205, 220),
    "blue": (45, 80, 225),
    "purple": (135, 50, 190),
    "pink": (245, 130, 195),
}
KINDS = ("circle", "square", "triangle", "star", "heart", "ring", "diamond", "crescent")
BACKGROUNDS = ("plain", "striped", "dotted", "checked")

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Scene:
    """What a picture shows. Lengths are in pixels of a 64 x 64 picture, from its left and top edge.

    Args:
        kind: One of KINDS.
        colour: One of COLOURS.
        background: One of BACKGROUNDS.
        radius: Of every shape, 5 to 12.
        centres: Where the shapes lie.
        brightness: Factor on all pixels, 0.4 to 1.
        rotation: Of the shapes, radians.
    """

    kind: str
    colour: str
    background: str
    radius: float
    centres: tuple[tuple[float, float], ...]
    brightness: float
    rotation: float


def draw(scene: Scene, rng: np.random.Generator) -> bytes:
    """Draws a scene as a JPEG; `rng` draws what no attribute speaks of: shading, grain, tint."""
    x, y = _X, _Y
    ground = _pattern(scene.background, rng)
    angle, slope = rng.uniform(0, 2 * math.pi), rng.uniform(0.05, 0.25)
    light = 1 + slope * (math.cos(angle) * x + math.sin(angle) * y)
    tint = 150 + rng.uniform(-14, 14, 3)
    colour = np.array(COLOURS[scene.colour]) + rng.uniform(-14, 14, 3)
    shine = 1 - 0.18 * (math.cos(angle + 1) * x + math.sin(angle + 1) * y)
    mask = shape_mask(scene)[..., None]
    picture = (ground * light)[..., None] * tint * (1 - mask) + shine[..., None] * colour * mask
    picture += rng.standard_normal((SIDE, SIDE, 1), dtype=np.float32) * rng.uniform(2, 7)
    picture *= scene.brightness
    buffer = io.BytesIO()
    pixels = np.clip(picture, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG", quality=92, subsampling=0)
    return buffer.getvalue()


def layout(
    number: int, radius: float, place: Sequence[float], turn: float, gap: float
) -> tuple[tuple[float, float], ...]:
    """Centres of shapes that neither overlap nor leave the picture.

    Args:
        number: How many shapes, 1 to 4.
        radius: Of each, in pixels.
        place: Where the group lies in the room that it has, across and down, each 0 to 1.
        turn: Turns the group, radians.
        gap: Distance between neighbours in radii, 2 or more.
    """
    reach = 0.0 if number == 1 else gap * radius / (2 * math.sin(math.pi / number))
    offsets = [
        (reach * math.cos(turn + 2 * math.pi * k / number), reach * math.sin(turn + 2 * math.pi * k / number))
        for k in range(number)
    ]
    centre = []
    for axis in (0, 1):
        low = radius + 1 - min(offset[axis] for offset in offsets)
        high = SIDE - radius - 1 - max(offset[axis] for offset in offsets)
        centre.append(low + place[axis] * (high - low) if high > low else (low + high) / 2)
    return tuple((centre[0] + dx, centre[1] + dy) for dx, dy in offsets)


def shape_mask(scene: Scene) -> npt.NDArray[np.float32]:
    """How much of each pixel the shapes cover, 0 to 1, (64, 64)."""
    image = Image.new("L", (SIDE * _SCALE, SIDE * _SCALE))
    canvas = ImageDraw.Draw(image)
    outline, hole = _OUTLINES[scene.kind]
    cos, sin = math.cos(scene.rotation) * scene.radius, math.sin(scene.rotation) * scene.radius
    for cx, cy in scene.centres:
        for points, fill in ((outline, 255), (hole, 0)):
            if points:
                canvas.polygon(
                    [
                        ((cx + px * cos - py * sin) * _SCALE, (cy + px * sin + py * cos) * _SCALE)
                        for px, py in points
                    ],
                    fill=fill,
                )
    return np.asarray(image.reduce(_SCALE), dtype=np.float32) / np.float32(255)


def _pattern(background: str, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Relative brightness of the ground, (64, 64), mean near 1 for every pattern."""
    contrast = rng.uniform(0.13, 0.22)
    period = rng.uniform(8, 13)
    shift_x, shift_y = rng.uniform(0, 2 * math.pi, 2)
    angle = rng.uniform(0, math.pi)
    if background == "plain":
        return np.ones((SIDE, SIDE), dtype=np.float32)
    wave = np.float32(32 * 2 * math.pi / period)
    if background == "striped":
        phase = (math.cos(angle) * _X + math.sin(angle) * _Y) * wave
        return (1 + contrast * np.clip(3 * np.sin(phase + shift_x), -1, 1)).astype(np.float32)
    across, down = np.sin(_X * wave / 1.25 + shift_x), np.sin(_Y * wave / 1.25 + shift_y)
    if background == "checked":
        return (1 + contrast * np.clip(6 * across * down, -1, 1)).astype(np.float32)
    # Dots are few, so they stand out more and the mean stays where it is.
    return (1.07 - 2.2 * contrast * np.clip(4 * (across + down - 1.1), 0, 1)).astype(np.float32)


def _arc(radius: float, start: float, end: float, x: float = 0.0, steps: int = 24) -> Points:
    return [
        (
            x + radius * math.cos(start + (end - start) * k / steps),
            radius * math.sin(start + (end - start) * k / steps),
        )
        for k in range(steps + 1)
    ]


def _corners(count: int, first: float, inner: float = 0.0) -> Points:
    if not inner:
        return [
            (math.cos(first + 2 * math.pi * k / count), math.sin(first + 2 * math.pi * k / count))
            for k in range(count)
        ]
    return [
        (r * math.cos(first + math.pi * k / count), r * math.sin(first + math.pi * k / count))
        for k in range(2 * count)
        for r in (1.05 if k % 2 == 0 else inner,)
    ]


def _heart() -> Points:
    points = []
    for k in range(32):
        t = 2 * math.pi * k / 32
        height = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((math.sin(t) ** 3, -height / 16 - 0.1))
    return points


# Outlines around (0, 0), about one unit in radius, y downwards; then the hole, if any.
_OUTLINES: dict[str, tuple[Points, Points]] = {
    "circle": (_arc(0.92, 0, 2 * math.pi), []),
    "square": ([(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)], []),
    "triangle": (_corners(3, -math.pi / 2), []),
    "star": (_corners(5, -math.pi / 2, 0.45), []),
    "heart": (_heart(), []),
    "ring": (_arc(0.95, 0, 2 * math.pi), _arc(0.5, 0, 2 * math.pi)),
    "diamond": ([(0, -1.05), (0.68, 0), (0, 1.05), (-0.68, 0)], []),
    "crescent": (_arc(1.0, 0.6, 2 * math.pi - 0.6) + _arc(0.72, 2 * math.pi - 0.9, 0.9, x=0.38), []),
}

_Y, _X = np.meshgrid(np.linspace(-1, 1, SIDE, dtype=np.float32), np.linspace(-1, 1, SIDE, dtype=np.float32))[
    ::-1
]
