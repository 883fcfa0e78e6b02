"""Random access to the records of a shard, from a small index instead of a pass over the file."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pcclip.data.files import write_atomically
from pcclip.data.index_checks import is_index
from pcclip.data.layout import Arrays, Keys, Layout, build_layout
from pcclip.data.records import ShardError
from pcclip.data.remote.shard import RemoteShard, Shard
from pcclip.data.tarscan import scan_tar
from pcclip.untrusted import load_arrays

CACHE_FOLDER = ".pcclip-cache"
_VERSION = 1
_OPEN_FILES = 64

Stamp = tuple[int, int]
"""Size in bytes and time of change in ns: what a cached index is valid for."""


class ShardIndex:
    """Keys and places of all records of one shard.

    About 40 bytes per record; pickles small and without an open file; reads are safe from several threads and
    after fork. Make one by `ShardIndex.load`.

    Attributes:
        path: The shard.
        stamp: Its size and time of change when it was indexed; a changed shard is refused when read.
    """

    path: Shard

    def __init__(self, path: Path, stamp: Stamp, arrays: Arrays) -> None:
        self.path = path
        self.stamp = stamp
        self._file = path
        self._layout = Layout(arrays)

    @staticmethod
    def load(path: Shard, cache_dir: Path | None = None) -> ShardIndex:
        """Indexes a shard, or takes the index from the cache.

        A shard at a URL whose set lists how many records it holds is not touched before one is read.

        Args:
            path: The tar.
            cache_dir: Where indexes are kept; default is `.pcclip-cache` beside the shard, and for shards at
                URLs the folder of fetched ones. A folder that cannot be written to costs only the time of
                another scan.

        Raises:
            ShardError: The tar is cut or damaged, or two of its records have the same key.
        """
        if isinstance(path, RemoteShard):
            from pcclip.data.remote.index import RemoteIndex

            return RemoteIndex(path, cache_dir)
        stamp = _stamp(path)
        return ShardIndex(
            path, stamp, layout_arrays(path, path, stamp, sidecar_path(path, cache_dir, "index.npz"))
        )

    @property
    def layout(self) -> Layout:
        """Keys and places."""
        return self._layout

    @property
    def skipped(self) -> int:
        """Number of members that belong to no record (a name without a dot, `._x` of macOS)."""
        return self.layout.skipped

    def __len__(self) -> int:
        return len(self.layout)

    @property
    def keys(self) -> Sequence[str]:
        """All keys in the order of the file; a view that decodes them one by one."""
        return Keys(self.layout)

    def key(self, record: int) -> str:
        """Key of a record."""
        return self.layout.key(record)

    def extensions(self, record: int) -> tuple[str, ...]:
        """Extensions of a record's members, in the order of the file."""
        return self.layout.extensions(record)

    def read(self, record: int, extension: str) -> bytes:
        """The bytes of one member of a record.

        Raises:
            ShardError: The record has no such member, or the shard changed.
        """
        if (place := self.layout.member(record, extension)) is not None:
            offset, size = place
            return self._pread(size, offset)
        raise ShardError.at(
            self.path,
            self.key(record),
            f"has no file .{extension}, only {', '.join('.' + name for name in self.extensions(record))}",
            "Is this the kind of set that the setting asks for?",
        )

    def read_record(self, record: int) -> dict[str, bytes]:
        """The bytes of all members of a record, by extension.

        Raises:
            ShardError: The shard changed since it was indexed.
        """
        members = self.layout.members(record)
        start, (_, last, size) = members[0][1], members[-1]
        data = self._pread(last + size - start, start)
        return {name: data[offset - start : offset - start + size] for name, offset, size in members}

    def _pread(self, size: int, offset: int) -> bytes:
        file = _open(self._file, self.stamp)  # held: its descriptor is closed with it
        data = read_at(file.descriptor, size, offset)
        if len(data) < size:
            raise _changed(self.path)
        return data

    def __reduce__(self) -> tuple[Any, ...]:
        return ShardIndex, (self._file, self.stamp, self.layout.arrays)

    def __del__(self) -> None:
        # An open file would keep the disk space of a set that was deleted; another index opens it again.
        if _files is not None and hasattr(self, "_file"):  # module globals are None at the interpreter's end
            _files.pop((self._file, self.stamp), None)


def layout_arrays(file: Path, path: Shard, stamp: Stamp, sidecar: Path) -> Arrays:
    """The arrays of a shard's layout, from the sidecar, or from the shard, and then kept there.

    Args:
        file: The tar.
        path: Its name in errors.
        stamp: Of the shard now.
        sidecar: Where they are kept.

    Raises:
        ShardError: As for `ShardIndex.load`.
    """
    arrays = read_sidecar(sidecar, stamp)
    if arrays is None or not is_index(arrays, stamp[0]):
        arrays = build_layout(path, scan_tar(file, path))
        write_sidecar(sidecar, stamp, arrays)
    return arrays


def read_at(descriptor: int, size: int, offset: int) -> bytes:
    """`size` bytes from `offset` on; fewer where the file ends."""
    data = os.pread(descriptor, size, offset)
    while len(data) < size and (more := os.pread(descriptor, size - len(data), offset + len(data))):
        data += more
    return data


def sidecar_path(shard: Shard, cache_dir: Path | None, suffix: str) -> Path:
    """Where a file that is derived from a shard is cached.

    Args:
        shard: The tar.
        cache_dir: None for `.pcclip-cache` beside the shard, which may then move with its set; in a folder of
            the caller's own the name tells shards of different folders apart. What is derived from a shard
            at a URL lies in the folder of fetched ones by default.
        suffix: Of the file, without a leading dot.
    """
    if isinstance(shard, RemoteShard):
        return (cache_dir or shard.options.folder) / f"{shard.id}.{suffix}"
    if cache_dir is None:
        return shard.parent / CACHE_FOLDER / f"{shard.name}.{suffix}"
    origin = hashlib.sha256(os.fsencode(shard.resolve().parent)).hexdigest()[:16]
    return cache_dir / f"{shard.name}.{origin}.{suffix}"


def _stamp(path: Path) -> Stamp:
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ShardError(f"{path}: cannot be read ({why}). Check the path.") from error
    if not stat.S_ISREG(status.st_mode):
        raise ShardError(f"{path}: is no file. Check the path.")
    return status.st_size, status.st_mtime_ns


def read_sidecar(path: Path, stamp: Stamp) -> Arrays | None:
    """The arrays that `write_sidecar` kept for a shard as it is now; None where there are none."""
    try:
        arrays = load_arrays(path)
    except (OSError, ValueError):
        return None  # absent or damaged: it is made again
    valid = arrays.pop("valid", None)
    return arrays if valid is not None and valid.ravel().tolist() == [_VERSION, *stamp] else None


def write_sidecar(path: Path, stamp: Stamp, arrays: Arrays) -> None:
    """Keeps arrays that were derived from a shard; in a folder that cannot be written to, it does not."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **(arrays | {"valid": np.array([_VERSION, *stamp], np.int64)}))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, buffer.getvalue())
    except OSError:
        pass  # a read-only folder: the index is only not kept


class _File:
    """An open descriptor, closed when its last user lets go of it, so never under a running read."""

    def __init__(self, path: Path, stamp: Stamp) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        status = os.fstat(self.descriptor)
        if (status.st_size, status.st_mtime_ns) != stamp:
            raise _changed(path)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


_files: OrderedDict[tuple[Path, Stamp], _File] = OrderedDict()
_files_lock = threading.Lock()


def _fresh_lock() -> None:
    global _files_lock  # the parent's other threads, which could hold it, do not exist after a fork
    _files_lock = threading.Lock()


os.register_at_fork(after_in_child=_fresh_lock)


def _open(path: Path, stamp: Stamp) -> _File:
    with _files_lock:
        # Taken out and put back: the garbage collector may let go of entries between any two steps.
        file = _files.pop((path, stamp), None) or _File(path, stamp)
        _files[path, stamp] = file
        if len(_files) > _OPEN_FILES:
            _files.popitem(last=False)
        return file


def _changed(path: Shard) -> ShardError:
    return ShardError(f"{path}: changed after it was indexed. Start again, and do not write to a set in use.")
