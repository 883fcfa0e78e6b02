"""Pictures of evaluation sets: files, members of a zip, arrays; decoded when they are asked for."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from pcclip.data.records import decode_picture
from pcclip.errors import PcclipError

_GONE = "Copy the set again, or leave the picture out of its list."


@dataclass(frozen=True)
class FilePictures:
    """Pictures that are files.

    Args:
        root: Folder of the set.
        files: Their paths.
    """

    root: Path
    files: tuple[str, ...]

    def read(self, index: int) -> Image.Image:
        """As `Pictures.read`."""
        file = self.files[index]
        try:
            with open(file, "rb") as opened:
                data = opened.read()
        except OSError as error:
            raise PcclipError(f"{file}: cannot be read ({error.strerror}). {_GONE}") from error
        return decode_picture(data, os.path.basename(file), file)

    def fingerprint(self) -> str:
        """A hash of where the set lies and of each file's size and time of change; no content is read."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        stamps = np.empty((len(self.files), 2), np.int64)
        for index, file in enumerate(self.files):
            try:
                status = os.stat(file)
            except OSError as error:
                raise PcclipError(f"{file}: cannot be read ({error.strerror}). {_GONE}") from error
            stamps[index] = status.st_size, status.st_mtime_ns
        digest = hashlib.sha256(os.fsencode(self.root.resolve()))
        digest.update(stamps.tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class PackedPictures:
    """Pictures that are parts of archives.

    Args:
        keys: Their keys.
        place: The archive, or the folder of the archives.
        get: Reads the encoded picture of a number.
        stamp: What changes whenever the archives do.
    """

    keys: tuple[str, ...]
    place: Path
    get: Callable[[int], bytes]
    stamp: str

    def read(self, index: int) -> Image.Image:
        """As `Pictures.read`."""
        return decode_picture(self.get(index), self.keys[index], self.place)

    def fingerprint(self) -> str:
        """A hash of the archives' stamp."""
        return hashlib.sha256(self.stamp.encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True, eq=False)
class ArrayPictures:
    """Pictures that are rows of an array (N, H, W, 3) of bytes."""

    pixels: npt.NDArray[np.uint8]

    def read(self, index: int) -> Image.Image:
        """As `Pictures.read`."""
        return Image.fromarray(self.pixels[index])

    def fingerprint(self) -> str:
        """A hash of all pixels."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return hashlib.sha256(self.pixels.tobytes()).hexdigest()


def stamp_of(files: Sequence[Path]) -> str:
    """Paths, sizes and times of change of some files.

    Raises:
        PcclipError: One cannot be read.
    """
    parts = []
    for file in files:
        try:
            status = file.stat()
        except OSError as error:
            raise PcclipError(f"{file}: cannot be read ({error.strerror}). {_GONE}") from error
        parts.append(f"{file.resolve()} {status.st_size} {status.st_mtime_ns}")
    return "\n".join(parts)
