"""Where each member of a tar lies, found from its headers alone, and whether the tar is whole."""

from __future__ import annotations

import mmap
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pcclip.data.records import ShardError

_BLOCK = 512
_ZEROS = bytes(_BLOCK)
_SUM = struct.Struct("512B")
_BLANK_CHECKSUM = sum(b" " * 8)

Member = tuple[str, int, int]
"""Name, offset of its payload in bytes, its size in bytes."""


class _NotPlain(Exception):
    """A header that this scanner leaves to tarfile: long names, PAX, sizes over 8 GiB, damage."""


def scan_tar(file_path: Path, path: object = None) -> list[Member]:
    """Lists the regular members of a tar in the order of the file.

    Plain ustar headers are read here (several times faster than `tarfile`); where anything else turns up, the
    whole file goes through `tarfile`.

    Args:
        file_path: The tar.
        path: Its name in errors, where that is another.

    Raises:
        ShardError: The file is no tar, is compressed or cut, or has links or data after its end.
    """
    path = path or file_path
    with file_path.open("rb") as file:
        size = file.seek(0, 2)
        if size == 0:
            raise _cut(path, [], "it is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data[:2] == b"\x1f\x8b":
                raise ShardError(
                    f"{path}: is compressed; members cannot be found in it. Decompress it: gunzip."
                )
            members: list[Member] = []
            try:
                end = _scan_plain(data, size, members)
            except (_NotPlain, ValueError):
                members.clear()
                end = _scan_any(path, file, size, members)
            _check_end(path, data, end, size, members)
    return members


def _scan_plain(data: mmap.mmap, size: int, members: list[Member]) -> int:
    position = 0
    while position + _BLOCK <= size:
        header = data[position : position + _BLOCK]
        if header[0] == 0 and header == _ZEROS:
            return position
        kind = header[156:157]
        if header[257:262] != b"ustar" or header[124] & 0x80 or kind not in b"05":
            raise _NotPlain
        checksum = int(header[148:156].rstrip(b"\0 ") or b"0", 8)
        if sum(_SUM.unpack(header)) - sum(header[148:156]) + _BLANK_CHECKSUM != checksum:
            raise _NotPlain
        length = int(header[124:136].rstrip(b"\0 ") or b"0", 8)
        if kind == b"0":
            name = header[: header.index(0) if 0 in header[:100] else 100]
            if header[345]:
                name = header[345:500].rstrip(b"\0") + b"/" + name
            members.append((name.decode("utf-8", "surrogateescape"), position + _BLOCK, length))
        else:
            length = 0
        position += _BLOCK + (length + _BLOCK - 1) // _BLOCK * _BLOCK
    return position


def _scan_any(path: object, file: BinaryIO, size: int, members: list[Member]) -> int:
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                if member.issym() or member.islnk() or member.issparse():
                    raise ShardError(
                        f"{path}: member {member.name!r} is a link or a sparse file. Write the tar with "
                        "'tar --dereference --hard-dereference'."
                    )
                if member.isreg():
                    members.append((member.name, member.offset_data, member.size))
                tar.members.clear()  # type: ignore[attr-defined]  # tarfile keeps them all otherwise
            return tar.offset
    except (tarfile.TarError, ValueError, EOFError) as error:
        raise _cut(path, members, str(error)) from error


def _check_end(path: object, data: mmap.mmap, end: int, size: int, members: list[Member]) -> None:
    if members and members[-1][1] + members[-1][2] > size:
        raise _cut(path, members[:-1], f"the payload of {members[-1][0]!r} goes past the end of the file")
    if end + _BLOCK > size:
        raise _cut(path, members, "the end-of-archive mark is missing")
    if data[end : end + _BLOCK] != _ZEROS:
        raise _cut(path, members, f"there is no valid header at byte {end}")
    if any(data[start : start + (1 << 20)].strip(b"\0") for start in range(end, size, 1 << 20)):
        raise ShardError(
            f"{path}: data follows the end-of-archive mark at byte {end}; a reader would lose it. Were tars "
            "joined by 'cat'? Keep them as separate shards."
        )


def _cut(path: object, members: list[Member], why: str) -> ShardError:
    key = next((split[0] for split in record_names(m[0] for m in reversed(members)) if split), None)
    last = f"its last good key is {key!r}" if key is not None else "no record in it is good"
    return ShardError(
        f"{path}: truncated or damaged tar: {why}; {last}. Copy or write the shard again, or leave it out of "
        "the set."
    )


def record_names(names: Iterator[str]) -> Iterator[tuple[str, str] | None]:
    """Splits member names into key and extension at the first dot of the last part, as webdataset does.

    Yields None for what is no part of a record (no dot, or nothing before it, such as `._x` of macOS).
    """
    for name in names:
        name = name.removeprefix("./")
        slash = name.rfind("/") + 1
        dot = name.find(".", slash)
        yield (name[:dot], name[dot + 1 :].lower()) if dot > slash else None
