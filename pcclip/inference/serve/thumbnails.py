"""Small pictures for the page: made once, kept on disk within a bound."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import threading
from pathlib import Path

from PIL import Image

from pcclip.data.decoding import open_picture, to_rgb, upright
from pcclip.data.files import write_atomically
from pcclip.errors import PcclipError

_QUALITY = 85


class Thumbnails:
    """JPEG copies of pictures, at most `side` pixels high and wide. Safe to use from several threads.

    A copy is known by its picture's path, size and time of change, so that a picture that is replaced gets a
    new one. Where the kept copies grow over the bound, those longest unused go until four fifths are left.

    Args:
        folder: Where they are kept; made when the first is. Where nothing can be written, they are made each
            time.
        limit: Most bytes kept there.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._total: int | None = None
        self._lock = threading.Lock()

    def get(self, picture: Path, side: int) -> bytes:
        """The copy.

        Raises:
            PcclipError: The picture is gone or cannot be decoded.
        """
        kept = self._folder / f"{version(picture)}-{side}.jpg"
        try:
            data = kept.read_bytes()
            os.utime(kept)  # the newest use
            return data
        except OSError:
            data = _shrunk(picture, side)
        with contextlib.suppress(OSError):  # a full or read-only disk: the page works without
            self._keep(kept, data)
        return data

    def _keep(self, file: Path, data: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        write_atomically(file, data)
        with self._lock:
            if self._total is None:
                self._total = sum(size for _, size, _ in self._kept())
            else:
                self._total += len(data)
            if self._total > self._limit:
                self._total = self._prune()

    def _kept(self) -> list[tuple[float, int, str]]:
        found = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.endswith(".jpg"):
                    status = entry.stat()
                    found.append((status.st_mtime, status.st_size, entry.path))
        return found

    def _prune(self) -> int:
        kept = sorted(self._kept())
        total = sum(size for _, size, _ in kept)
        for _, size, path in kept:
            if total <= 0.8 * self._limit:
                break
            Path(path).unlink(missing_ok=True)
            total -= size
        return total


def version(picture: Path) -> str:
    """Name of a picture in its present state.

    Raises:
        PcclipError: It is gone.
    """
    try:
        status = picture.stat()
    except OSError as error:
        raise PcclipError(f"{picture.name}: cannot be read ({error.strerror}).") from error
    state = f"{status.st_mtime_ns} {status.st_size} ".encode() + os.fsencode(picture.absolute())
    return hashlib.sha256(state).hexdigest()[:24]


def _shrunk(picture: Path, side: int) -> bytes:
    try:
        with open_picture(picture) as opened:
            opened.draft("RGB", (2 * side, 2 * side))  # a large JPEG is decoded at a fraction of its size
            small = to_rgb(upright(opened))
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=_QUALITY)
    except Exception as error:  # Pillow raises many kinds
        raise PcclipError(f"{picture.name}: cannot be decoded ({error}).") from error
    return buffer.getvalue()
