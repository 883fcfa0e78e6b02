"""Random access to the records of a shard, from a small index instead of a pass over the file."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import threading
from collections import Counter, OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from pcclip.data.files import write_atomically
from pcclip.data.index_checks import MAX_EXTENSIONS, check_name, is_index
from pcclip.data.records import ShardError
from pcclip.data.tarscan import Member, record_names, scan_tar
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
        skipped: Number of members that belong to no record (a name without a dot, `._x` of macOS).
    """

    def __init__(self, path: Path, stamp: Stamp, arrays: dict[str, npt.NDArray[Any]]) -> None:
        self.path = path
        self.stamp = stamp
        self.skipped = int(arrays["skipped"])
        self._arrays = arrays
        self._names = tuple(arrays["extensions"].tobytes().decode("utf-8", "surrogateescape").split("\0"))
        self._key_ends = arrays["key_ends"]
        self._key_bytes = arrays["key_bytes"].tobytes()
        self._firsts = arrays["firsts"]
        self._offsets = arrays["offsets"]
        self._sizes = arrays["sizes"]
        self._kinds = arrays["kinds"]

    @classmethod
    def load(cls, path: Path, cache_dir: Path | None = None) -> ShardIndex:
        """Indexes a shard, or takes the index from the cache.

        Args:
            path: The tar.
            cache_dir: Where indexes are kept; default is `.pcclip-cache` beside the shard. A folder that
                cannot be written to costs only the time of another scan.

        Raises:
            ShardError: The tar is cut or damaged, or two of its records have the same key.
        """
        path = Path(path)
        stamp = _stamp(path)
        cached = sidecar_path(path, cache_dir, "index.npz")
        arrays = read_sidecar(cached, stamp)
        if arrays is None or not is_index(arrays, stamp[0]):
            arrays = _build(path, scan_tar(path))
            write_sidecar(cached, stamp, arrays)
        return cls(path, stamp, arrays)

    def __len__(self) -> int:
        return len(self._key_ends) - 1

    @property
    def keys(self) -> Sequence[str]:
        """All keys in the order of the file; a view that decodes them one by one."""
        return _Keys(self)

    def key(self, record: int) -> str:
        """Key of a record."""
        return self._key_bytes[self._key_ends[record] : self._key_ends[record + 1]].decode(
            "utf-8", "surrogateescape"
        )

    def extensions(self, record: int) -> tuple[str, ...]:
        """Extensions of a record's members, in the order of the file."""
        return tuple(
            self._names[kind] for kind in self._kinds[self._firsts[record] : self._firsts[record + 1]]
        )

    def read(self, record: int, extension: str) -> bytes:
        """The bytes of one member of a record.

        Raises:
            ShardError: The record has no such member, or the shard changed.
        """
        for member in range(self._firsts[record], self._firsts[record + 1]):
            if self._names[self._kinds[member]] == extension:
                return self._pread(int(self._sizes[member]), int(self._offsets[member]))
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
        first, last = int(self._firsts[record]), int(self._firsts[record + 1])
        offsets = self._offsets[first:last].tolist()
        sizes = self._sizes[first:last].tolist()
        start = offsets[0]
        data = self._pread(offsets[-1] + sizes[-1] - start, start)
        names = [self._names[kind] for kind in self._kinds[first:last].tolist()]
        return {
            name: data[offset - start : offset - start + size]
            for name, offset, size in zip(names, offsets, sizes, strict=True)
        }

    def _pread(self, size: int, offset: int) -> bytes:
        file = _open(self.path, self.stamp)
        parts: list[bytes] = []
        while size > 0:
            part = os.pread(file.descriptor, size, offset)
            if not part:
                raise _changed(self.path)
            if len(part) == size and not parts:
                return part
            parts.append(part)
            size -= len(part)
            offset += len(part)
        return b"".join(parts)

    def __reduce__(self) -> tuple[Any, ...]:
        return ShardIndex, (self.path, self.stamp, self._arrays)

    def __del__(self) -> None:
        # An open file would keep the disk space of a set that was deleted; another index opens it again.
        if _files is not None and hasattr(self, "stamp"):  # module globals are None at the interpreter's end
            _files.pop((self.path, self.stamp), None)


class _Keys(Sequence[str]):
    def __init__(self, index: ShardIndex) -> None:
        self._index = index

    def __len__(self) -> int:
        return len(self._index)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self._index.key(record) for record in range(*at.indices(len(self)))]
        if not -len(self) <= at < len(self):
            raise IndexError(at)
        return self._index.key(at % len(self))


def sidecar_path(shard: Path, cache_dir: Path | None, suffix: str) -> Path:
    """Where a file that is derived from a shard is cached.

    Args:
        shard: The tar.
        cache_dir: None for `.pcclip-cache` beside the shard, which may then move with its set; in a folder of
            the caller's own the name tells shards of different folders apart.
        suffix: Of the file, without a leading dot.
    """
    if cache_dir is None:
        return shard.parent / CACHE_FOLDER / f"{shard.name}.{suffix}"
    origin = hashlib.sha256(os.fsencode(shard.resolve().parent)).hexdigest()[:16]
    return cache_dir / f"{shard.name}.{origin}.{suffix}"


def _build(path: Path, members: list[Member]) -> dict[str, npt.NDArray[Any]]:
    numbers: dict[str, int] = {}
    keys: list[bytes] = []
    firsts: list[int] = []
    offsets: list[int] = []
    sizes: list[int] = []
    kinds: list[int] = []
    skipped = 0
    current: str | None = None
    present: set[str] = set()
    for (_, offset, size), split in zip(members, record_names(name for name, _, _ in members), strict=True):
        if split is None:
            skipped += 1
            continue
        key, extension = split
        if key != current:
            check_name(path, key)
            current, present = key, set()
            keys.append(key.encode("utf-8", "surrogateescape"))
            firsts.append(len(offsets))
        if extension in present:
            raise ShardError.at(path, key, f"has two files .{extension}", "Give every record its own key.")
        present.add(extension)
        if extension not in numbers:
            check_name(path, f"{key}.{extension}")
            if len(numbers) >= MAX_EXTENSIONS:
                raise ShardError.at(
                    path,
                    key,
                    f"its .{extension} is one of more than {MAX_EXTENSIONS:,} kinds of file in the shard",
                    "A key ends at the first dot of its last part; write others in place of the dots.",
                )
        offsets.append(offset)
        sizes.append(size)
        kinds.append(numbers.setdefault(extension, len(numbers)))
    if len(set(keys)) < len(keys):
        twice = next(key for key, count in Counter(keys).items() if count > 1)
        raise ShardError.at(
            path,
            twice.decode("utf-8", "replace"),
            "comes again after other records; the files of a record must follow one another",
            "Write the tar with 'tar --sort=name', or give every record its own key.",
        )
    return {
        "skipped": np.array(skipped),
        "extensions": np.frombuffer("\0".join(numbers).encode("utf-8", "surrogateescape"), np.uint8),
        "key_bytes": np.frombuffer(b"".join(keys), np.uint8),
        "key_ends": np.cumsum([0] + [len(key) for key in keys], dtype=np.uint32),
        "firsts": np.array([*firsts, len(offsets)], np.uint32),
        "offsets": np.array(offsets, np.int64),
        "sizes": np.array(sizes, np.int64),
        "kinds": np.array(kinds, np.uint16),
    }


def _stamp(path: Path) -> Stamp:
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ShardError(f"{path}: cannot be read ({why}). Check the path.") from error
    if not stat.S_ISREG(status.st_mode):
        raise ShardError(f"{path}: is no file. Check the path.")
    return status.st_size, status.st_mtime_ns


def read_sidecar(path: Path, stamp: Stamp) -> dict[str, npt.NDArray[Any]] | None:
    """The arrays that `write_sidecar` kept for a shard as it is now; None where there are none."""
    try:
        arrays = load_arrays(path)
    except (OSError, ValueError):
        return None  # absent or damaged: it is made again
    valid = arrays.pop("valid", None)
    return arrays if valid is not None and valid.ravel().tolist() == [_VERSION, *stamp] else None


def write_sidecar(path: Path, stamp: Stamp, arrays: dict[str, npt.NDArray[Any]]) -> None:
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


def _changed(path: Path) -> ShardError:
    return ShardError(f"{path}: changed after it was indexed. Start again, and do not write to a set in use.")
