"""Encoded pictures, as anyone may have made them: which formats are read, up to which size."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

PICTURE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""What is read as a picture, told by content, whatever a file is called. No format that can run a program."""

MAX_PIXELS = 89_478_485
"""Pixels of the largest picture that is decoded, Pillow's own bound: 0.4 GB, twice that in passing."""


def open_picture(image: bytes | Path) -> Image.Image:
    """Reads a picture's head; its pixels are not decoded yet.

    Raises:
        Exception: Of any kind that Pillow raises, where the bytes are no picture of `PICTURE_FORMATS`.
        ValueError: It has more than `MAX_PIXELS`.
    """
    picture = Image.open(io.BytesIO(image) if isinstance(image, bytes) else image, formats=PICTURE_FORMATS)
    if picture.width * picture.height > MAX_PIXELS:
        picture.close()
        raise ValueError(
            f"it has {picture.width:,} x {picture.height:,} pixels, more than the {MAX_PIXELS:,} that are "
            "decoded: make it smaller"
        )
    return picture


def to_rgb(picture: Image.Image) -> Image.Image:
    """The picture in 8 bits of red, green and blue."""
    if picture.mode.startswith("I;16"):  # Pillow would make every shade above 255 white
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def upright(picture: Image.Image) -> Image.Image:
    """The picture turned as its EXIF says; where that cannot be read, as it is."""
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # Pillow reads EXIF with whatever exception comes of it
        return picture
