"""Pictures as people give them: files and opened pictures, as the set that the embedding code reads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, TypeGuard, cast

import numpy as np
from PIL import Image

from pcclip.data.records import decode_picture
from pcclip.errors import PcclipError
from pcclip.evaluation.sets import EvaluationSet, Pictures

Picture: TypeAlias = "str | os.PathLike[str] | Image.Image"


@dataclass(frozen=True)
class GivenPictures:
    """Paths and opened pictures, in the order given."""

    given: Sequence[Picture]

    def read(self, index: int) -> Image.Image:
        """As `Pictures.read`."""
        picture = self.given[index]
        if isinstance(picture, Image.Image):
            return picture if picture.mode == "RGB" else picture.convert("RGB")
        return read_file(picture)

    def fingerprint(self) -> str:
        """Pictures that are given are not cached."""
        raise NotImplementedError


def read_file(file: str | os.PathLike[str]) -> Image.Image:
    """A picture file, RGB.

    Raises:
        PcclipError: It is absent, cannot be read, or is no picture.
    """
    try:
        data = Path(file).expanduser().read_bytes()
    except OSError as error:
        raise PcclipError(f"{file}: cannot be read ({error.strerror}). Name a picture file.") from error
    return decode_picture(data, os.path.basename(file), file)


def as_set(path: Path, keys: Sequence[str], pictures: Pictures) -> EvaluationSet:
    """Pictures without classes or captions, as `embed` takes them."""
    return EvaluationSet(path.name, "all", path, tuple(keys), pictures, (), np.full(len(keys), -1))


def given_set(pictures: Sequence[Picture]) -> EvaluationSet:
    """The set of pictures that are given."""
    keys = [
        f"number {number}" if isinstance(picture, Image.Image) else os.fspath(picture)
        for number, picture in enumerate(pictures)
    ]
    return as_set(Path("the pictures given"), keys, GivenPictures(pictures))


def is_one(pictures: Picture | Sequence[Picture]) -> TypeGuard[Picture]:
    """Whether it is one picture, not a list of them."""
    return isinstance(pictures, str | os.PathLike | Image.Image)


def listed(pictures: Picture | Sequence[Picture]) -> list[Picture]:
    """The pictures given; one alone is a list of one."""
    return [pictures] if is_one(pictures) else list(cast("Sequence[Picture]", pictures))
