"""Reads the attributes off a picture of one shape on a plain ground, without anything learned.

The ground is a plane per channel; what differs from it is the shape. Every kind is drawn anew where it was
found, with its area; the one that covers the same pixels is what is seen.
"""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from pcclip.data.sources.shapes_drawing import COLOURS, KINDS, SIDE, Scene, shape_mask
from pcclip.demos.painter.pictures import SIDE as PAINTED
from pcclip.demos.painter.pictures import FewShapes, shrink

Floats = npt.NDArray[np.float32]
_FAINT = 18.0  # least distance of a shape's colour from the ground, in pixel values at full brightness
_GROUND = 150.0  # mean pixel value of the world's grounds at full brightness
_TURNS = (-0.2, -0.07, 0.07, 0.2)  # radians; the world turns shapes by 0.26 at most
_GROWTHS = (0.93, 1.0, 1.07)
_SMALLEST = 2.5  # painted pixels that a shape covers at least


@dataclass(frozen=True)
class Reading:
    """What a picture shows.

    Attributes:
        kind: One of the world's; None where no shape is found.
        colour: One of the world's; None where no shape is found.
        degrees: By attribute, as the world has them: size, brightness, horizontal, vertical. Without a shape
            only the brightness.
        fit: Share of the shape's pixels that the kind covers too, intersection over union.
    """

    kind: str | None
    colour: str | None
    degrees: dict[str, float]
    fit: float


def read(picture: Image.Image) -> Reading:
    """Reads a picture of the world (64 x 64) or of the painter (32 x 32)."""
    pixels = (
        np.array(picture.convert("RGB")) if picture.size == (PAINTED, PAINTED) else shrink(picture)
    ).astype(np.float32)
    ground = _plane(pixels)
    brightness = float(ground.mean()) / _GROUND
    residual = pixels - ground
    distance = np.linalg.norm(residual, axis=2)
    strongest = np.argsort(distance.ravel())[-8:]
    step = np.median(residual.reshape(-1, 3)[strongest], axis=0)
    degrees = {"brightness": brightness}
    if np.linalg.norm(step) < _FAINT * brightness:
        return Reading(None, None, degrees, 0.0)
    cover = np.clip(residual @ step / (step @ step), 0, 1)
    cover[cover < 0.2] = 0  # grain
    area = float(cover.sum())
    if area < _SMALLEST:
        return Reading(None, None, degrees, 0.0)
    colour = np.median((ground + step).reshape(-1, 3)[strongest], axis=0)
    kind, radius, centre, fit = _best_kind(cover, area)
    degrees |= {
        "size": 2 * radius / SIDE,
        "horizontal": centre[0] / SIDE,
        "vertical": 1 - centre[1] / SIDE,
    }
    return Reading(kind, _nearest(colour), degrees, fit)


def _plane(pixels: Floats) -> Floats:
    """The ground: per channel linear across and down, told from the shape by its small residuals."""
    count = pixels.shape[0]
    line = np.linspace(-1, 1, count, dtype=np.float32)
    across, down = np.meshgrid(line, line)
    terms = np.stack([np.ones_like(across), across, down], axis=-1).reshape(-1, 3)
    flat = pixels.reshape(-1, 3)
    fitted = np.broadcast_to(np.median(flat, axis=0), flat.shape)
    for _ in range(4):
        distance = np.linalg.norm(flat - fitted, axis=1)
        near = distance <= np.quantile(distance, 0.75)
        fitted = terms @ np.linalg.lstsq(terms[near], flat[near], rcond=None)[0]
    return fitted.reshape(pixels.shape)


def _best_kind(cover: Floats, area: float) -> tuple[str, float, tuple[float, float], float]:
    """Kind, radius and centre (in the world's pixels) whose mask agrees best with a cover, and how well."""
    scale = SIDE / PAINTED
    places = (np.arange(PAINTED, dtype=np.float32) + 0.5) * scale
    middle = np.array([(cover.sum(0) * places).sum(), (cover.sum(1) * places).sum()]) / area
    best = ("", 0.0, (0.0, 0.0), -1.0)
    for kind in KINDS:
        for turn in _TURNS:
            unit_area, offset = _moments(kind, turn)
            for growth in _GROWTHS:
                radius = growth * math.sqrt(area * scale**2 / unit_area)
                centre = (float(middle[0] - offset[0] * radius), float(middle[1] - offset[1] * radius))
                mask = _painted_mask(kind, radius, centre, turn)
                fit = float(np.minimum(mask, cover).sum() / np.maximum(mask, cover).sum())
                if fit > best[3]:
                    best = (kind, radius, centre, fit)
    return best


def _painted_mask(kind: str, radius: float, centre: tuple[float, float], turn: float) -> Floats:
    mask = shape_mask(Scene(kind, "red", "plain", radius, (centre,), 1.0, turn))
    return mask.reshape(PAINTED, SIDE // PAINTED, PAINTED, SIDE // PAINTED).mean((1, 3))


@functools.cache
def _moments(kind: str, turn: float) -> tuple[float, tuple[float, float]]:
    """Area and centroid of a kind of radius 1 around (0, 0)."""
    radius = 24.0
    mask = shape_mask(Scene(kind, "red", "plain", radius, ((SIDE / 2, SIDE / 2),), 1.0, turn))
    places = np.arange(SIDE) + 0.5 - SIDE / 2
    area = float(mask.sum())
    centroid = float((mask.sum(0) * places).sum()) / area, float((mask.sum(1) * places).sum()) / area
    return area / radius**2, (centroid[0] / radius, centroid[1] / radius)


def _nearest(colour: Floats) -> str:
    """The palette's colour of the most similar hue and saturation, whatever the light."""
    names = list(COLOURS)
    palette = np.array([COLOURS[name] for name in names], np.float32)
    similar = (palette @ colour) / np.linalg.norm(palette, axis=1)
    return names[int(similar.argmax())]


def accuracy(seed: int = 5000, pictures: int = 1000) -> dict[str, float]:
    """How well true pictures are read: shares that are right, mean errors of degrees, and their correlations.

    Args:
        seed: Of the pictures.
        pictures: How many, of all combinations of colour and kind, at 64 x 64 pixels.
    """
    world = FewShapes(seed, 2, 2, pictures, captions=1, numbers=(1,), backgrounds=("plain",))
    known = list(world.pictures("test"))
    found = read_all([Image.open(io.BytesIO(picture.image)) for picture in known])
    values: dict[str, float] = {}
    for name in ("kind", "colour"):
        values[name] = float(
            np.mean([getattr(r, name) == p.attributes[name] for r, p in zip(found, known, strict=True)])
        )
    for name in ("size", "brightness", "horizontal", "vertical"):
        mine = np.array([r.degrees.get(name, np.nan) for r in found])
        true = np.array([float(p.attributes[name]) for p in known])
        there = np.isfinite(mine)
        values[f"{name} (mean error)"] = float(np.abs(mine - true)[there].mean())
        values[f"{name} (correlation)"] = float(np.corrcoef(mine[there], true[there])[0, 1])
    return values


def read_all(pictures: Sequence[Image.Image]) -> list[Reading]:
    """Reads several."""
    return [read(picture) for picture in pictures]


if __name__ == "__main__":
    from pcclip.demos import command

    def measure(seed: int = 5000, pictures: int = 1000) -> None:
        """Prints how well the world's own pictures are read."""
        print(", ".join(f"{name} {value:.3f}" for name, value in accuracy(seed, pictures).items()))

    command(measure)
