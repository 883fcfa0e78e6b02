"""What is kept of a gallery: the names and stamps of its pictures, and their embeddings."""

from __future__ import annotations

import hashlib
import io
import os
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pcclip.checksums import crc32
from pcclip.data.files import write_atomically
from pcclip.data.records import IMAGE_EXTENSIONS
from pcclip.errors import PcclipError, writing
from pcclip.evaluation.statistics import Floats
from pcclip.untrusted import load_array, load_arrays

EXTENSIONS = (*IMAGE_EXTENSIONS, "bmp", "gif", "tif", "tiff")
"""What a picture's name ends in, in any case."""

_ENDS = tuple(f".{extension}" for extension in EXTENSIONS)


@dataclass(frozen=True, eq=False)
class Listing:
    """Pictures of a folder as they were when it was searched.

    Attributes:
        names: N names relative to the folder, with `/`.
        stamps: (N, 2) int64 size in bytes and time of change in nanoseconds.
    """

    names: tuple[str, ...]
    stamps: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Listing)
            and self.names == other.names
            and np.array_equal(self.stamps, other.stamps)
        )

    __hash__ = None  # type: ignore[assignment]

    @cached_property
    def rows(self) -> dict[tuple[str, int, int], int]:
        """Where each picture, in this state, stands."""
        return {
            (name, size, time): row
            for row, (name, (size, time)) in enumerate(zip(self.names, self.stamps.tolist(), strict=True))
        }

    def take(self, rows: Iterable[int]) -> Listing:
        """Some of the pictures."""
        chosen = list(rows)
        return Listing(tuple(self.names[row] for row in chosen), self.stamps[chosen].reshape(-1, 2))

    def less(self, other: Listing) -> Listing:
        """The pictures that the other listing does not have in the same state."""
        return self.take(row for entry, row in self.rows.items() if entry not in other.rows)


@dataclass(frozen=True, eq=False)
class Entries:
    """Pictures and their embeddings.

    Attributes:
        listing: N pictures.
        readable: (N,) whether each can be decoded.
        rows: (R, D) float32 embeddings of the R readable ones, in their order.
    """

    listing: Listing
    readable: npt.NDArray[np.bool_]
    rows: Floats

    @classmethod
    def none(cls) -> Entries:
        """No picture."""
        return cls(Listing((), np.empty((0, 2), np.int64)), np.empty(0, bool), np.empty((0, 0), np.float32))

    def joined(self, *others: Entries) -> Entries:
        """These and others; what stands twice is taken from the last."""
        parts = [part for part in (self, *others) if len(part.listing)]
        if not parts:
            return self
        listing = Listing(
            tuple(name for part in parts for name in part.listing.names),
            np.concatenate([part.listing.stamps for part in parts]),
        )
        rows = [part.rows for part in parts if len(part.rows)]
        return Entries(
            listing,
            np.concatenate([part.readable for part in parts]),
            np.concatenate(rows) if rows else parts[0].rows,
        )

    def of(self, listing: Listing) -> Entries:
        """The pictures of a listing, all of which are here, in its order."""
        places = np.array([self.listing.rows[entry] for entry in listing.rows], np.int64)
        readable = self.readable[places]
        row = np.cumsum(self.readable) - 1
        return Entries(listing, readable, self.rows[row[places[readable]]])

    def unreadable_in(self, listing: Listing) -> int:
        """How many pictures of a listing are known to be unreadable."""
        places = (self.listing.rows.get(entry) for entry in listing.rows)
        return sum(place is not None and not self.readable[place] for place in places)


class Kept:
    """The files of one gallery by one image tower, in a folder of their own.

    `index.npz` says which pictures there are and names the file of their embeddings, which is written first:
    both are of one moment whatever happens. `part-*.npz` are what a process that did not finish has left.

    Args:
        cache: Folder of all caches.
        folder: Of the pictures.
        image_fingerprint: Of the tower.
    """

    def __init__(self, cache: Path, folder: Path, image_fingerprint: str) -> None:
        identity = hashlib.sha256(
            f"{image_fingerprint} {folder.resolve()}".encode("utf-8", "surrogateescape")
        )
        self._folder = cache / f"gallery-{identity.hexdigest()[:32]}"
        self._index = self._folder / "index.npz"

    @property
    def lock(self) -> Path:
        """To be held by who writes."""
        return self._folder.with_name(f".{self._folder.name}.lock")

    def read(self) -> Entries | None:
        """What is kept, embeddings memory-mapped; None if nothing is.

        Raises:
            PcclipError: A file is damaged.
        """
        for _ in range(3):  # another process may be replacing the files
            try:
                stored = _load(self._index)
                name = str(stored["features"])
                rows = load_array(self._folder / name, mmap_mode="r")
                entries = _entries(stored, rows)
                if "crc32" in stored and int(stored["crc32"]) != crc32(rows):
                    raise ValueError("the checksum of its embeddings differs")
            except FileNotFoundError:
                if not self._index.is_file():
                    return None
                error: Exception = FileNotFoundError("the embeddings are gone")
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as damage:
                error = damage
            else:
                return entries
        raise PcclipError(f"{self._folder}: damaged ({error}). Delete it; it is made again.") from error

    def write(self, entries: Entries) -> None:
        """Replaces what is kept, and drops the parts."""
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"features-{uuid.uuid4().hex}.npy"
        rows = np.ascontiguousarray(entries.rows, np.float32)
        with writing(self._folder / name), (self._folder / name).open("xb") as stream:  # not in the index yet
            np.save(stream, rows, allow_pickle=False)
            stream.flush()
            os.fsync(stream.fileno())
        more = {"features": np.array(name), "crc32": np.array(crc32(rows), np.uint32)}
        write_atomically(self._index, _dump(entries, more))
        for file in self._folder.iterdir():
            if file.name.startswith(("features-", "part-")) and file.name != name:
                file.unlink(missing_ok=True)

    def add_part(self, entries: Entries) -> None:
        """Keeps some more pictures until `write`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        data = _dump(entries, {"rows": entries.rows})
        write_atomically(self._folder / f"part-{hashlib.sha256(data).hexdigest()[:32]}.npz", data)

    def parts(self) -> Entries:
        """What a stopped process has left."""
        found = Entries.none()
        return found.joined(*self._parts())

    def _parts(self) -> Iterator[Entries]:
        for file in sorted(self._folder.glob("part-*.npz")):
            try:
                stored = _load(file)
                yield _entries(stored, stored["rows"])
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                file.unlink(missing_ok=True)  # damaged: embedded anew


def check_folder(folder: Path) -> None:
    """Refuses what is no folder.

    Raises:
        PcclipError: It is a file, or there is nothing of that name.
    """
    if folder.is_file():
        raise PcclipError(f"{folder}: is a file. Name the folder that it lies in.")
    if not folder.is_dir():
        raise PcclipError(f"{folder}: there is no such folder. Name one with pictures in it.")


def list_pictures(folder: Path) -> Listing:
    """All pictures in a folder and the folders in it, sorted by name.

    Raises:
        PcclipError: There is no such folder, or no picture in it.
    """
    check_folder(folder)
    names: list[str] = []
    sizes: list[int] = []
    times: list[int] = []
    waiting = [("", str(folder))]
    while waiting:
        prefix, path = waiting.pop()
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    name = entry.name
                    if name.startswith("."):
                        continue
                    if name.lower().endswith(_ENDS) and entry.is_file():
                        status = entry.stat()
                        names.append(prefix + name)
                        sizes.append(status.st_size)
                        times.append(status.st_mtime_ns)
                    elif entry.is_dir(follow_symlinks=False):
                        waiting.append((f"{prefix}{name}/", entry.path))
        except OSError as error:
            raise PcclipError(f"{path}: cannot be searched ({error.strerror}).") from error
    if not names:
        raise PcclipError(f"{folder}: no pictures in it (files that end in {', '.join(_ENDS)}).")
    order = sorted(range(len(names)), key=names.__getitem__)
    return Listing(tuple(names[row] for row in order), np.array([sizes, times], np.int64).T[order])


def _dump(entries: Entries, more: dict[str, npt.NDArray[Any]]) -> bytes:
    names = os.fsencode("\0".join(entries.listing.names))
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {"stamps": entries.listing.stamps, "readable": entries.readable, **more}
    np.savez(buffer, names=np.frombuffer(names, np.uint8), **arrays)
    return buffer.getvalue()


def _load(file: Path) -> dict[str, Any]:
    return load_arrays(file)


def _entries(stored: dict[str, Any], rows: Floats) -> Entries:
    names = os.fsdecode(stored["names"].tobytes())
    listing = Listing(tuple(names.split("\0")), stored["stamps"])
    entries = Entries(listing, stored["readable"], rows)
    if not len(listing) == len(listing.stamps) == len(entries.readable) or rows.dtype != np.float32:
        raise ValueError("its parts do not belong together")
    if rows.ndim != 2 or len(rows) != np.count_nonzero(entries.readable):
        raise ValueError("the embeddings are not of its pictures")
    return entries
