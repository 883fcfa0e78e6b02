"""Where the members of a shard's records lie: keys and places as arrays, from one pass over its headers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from pcclip.data.index_checks import MAX_EXTENSIONS, check_name
from pcclip.data.records import ShardError
from pcclip.data.tarscan import Member, record_names

Arrays = dict[str, npt.NDArray[Any]]


class Layout:
    """Keys and places of all records of one shard: about 40 bytes per record.

    Args:
        arrays: As `build_layout` makes them.
    """

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays
        self.skipped = int(arrays["skipped"])
        self._names = tuple(arrays["extensions"].tobytes().decode("utf-8", "surrogateescape").split("\0"))
        self._key_ends = arrays["key_ends"]
        self._key_bytes = arrays["key_bytes"].tobytes()
        self._firsts = arrays["firsts"]
        self._offsets = arrays["offsets"]
        self._sizes = arrays["sizes"]
        self._kinds = arrays["kinds"]

    def __len__(self) -> int:
        return len(self._key_ends) - 1

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

    def member(self, record: int, extension: str) -> tuple[int, int] | None:
        """Offset and size in bytes of a record's member; None where it has no such one."""
        for member in range(self._firsts[record], self._firsts[record + 1]):
            if self._names[self._kinds[member]] == extension:
                return int(self._offsets[member]), int(self._sizes[member])
        return None

    def members(self, record: int) -> list[tuple[str, int, int]]:
        """Extension, offset and size of all members of a record, in the order of the file."""
        first, last = int(self._firsts[record]), int(self._firsts[record + 1])
        names = [self._names[kind] for kind in self._kinds[first:last].tolist()]
        offsets, sizes = self._offsets[first:last].tolist(), self._sizes[first:last].tolist()
        return list(zip(names, offsets, sizes, strict=True))


class Keys(Sequence[str]):
    """All keys in the order of the file, decoded one by one."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def __len__(self) -> int:
        return len(self._layout)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self._layout.key(record) for record in range(*at.indices(len(self)))]
        if not -len(self) <= at < len(self):
            raise IndexError(at)
        return self._layout.key(at % len(self))


def build_layout(path: object, members: list[Member]) -> Arrays:
    """Groups the members of a tar into records.

    Args:
        path: Of the tar, for errors.
        members: As `scan_tar` lists them.

    Raises:
        ShardError: Two records have the same key, one record has two files of the same extension, or a name
            leads elsewhere or cannot be shown.
    """
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
