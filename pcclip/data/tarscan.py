"""Where each member of a tar lies, found from its headers alone, and whether the tar is whole."""

from __future__ import annotations

import mmap
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from pcclip.data.records import ShardError

_BLOCK = 512
_ZEROS = bytes(_BLOCK)
_SUM = struct.Struct("512B")
_BLANK_CHECKSUM = sum(b" " * 8)
_MAX_EXTRA = 1 << 20  # bytes of a long name or of PAX headers
_MAX_TAIL = 1 << 30  # zeros after the end; tar pads to 10 KiB, or as much as it is told

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
        ShardError: The file is no tar, is compressed or cut, or has anything but files and folders, or data
            after its end.
    """
    path = path or file_path
    with file_path.open("rb") as file:
        size = file.seek(0, 2)
        if size == 0:
            raise _cut(path, [], "it is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data[:2] == b"\x1f\x8b":
                raise ShardError(
                    f"{path}: is compressed; members cannot be found in it. Decompress it: "
                    f"mv {file_path.name} {file_path.name}.gz; gunzip {file_path.name}.gz"
                )
            members: list[Member] = []
            try:
                end = _scan_plain(data, size, members)
            except (_NotPlain, ValueError):
                members.clear()
                end = _scan_any(path, file, size, members)
            except _Impossible as error:
                raise _cut(path, members, str(error)) from error
            _check_end(path, data, end, size, members)
    return members


class _Impossible(Exception):
    """A header that no writer of tars makes."""


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
        if length < 0:  # a reader that trusts it goes backwards, for ever
            raise _Impossible(f"the header at byte {position} tells a size of {length} bytes")
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
    end = 0
    try:
        bounded: Any = _Bounded(file, size)
        with tarfile.open(fileobj=bounded, mode="r:", tarinfo=_Header) as tar:
            for member in tar:
                if not (member.isreg() or member.isdir()) or member.issparse():
                    raise ShardError(
                        f"{path}: member {member.name!r} is {_kind(member)}. Write the tar from plain files, "
                        "with 'tar --dereference --hard-dereference'."
                    )
                if member.size < 0 or member.offset < end:
                    raise _Impossible(f"the header at byte {member.offset} leads back")
                end = member.offset + _BLOCK
                if member.isreg():
                    members.append((member.name, member.offset_data, member.size))
                tar.members.clear()  # type: ignore[attr-defined]  # tarfile keeps them all otherwise
            return tar.offset
    # A hostile header makes tarfile raise more than its own errors: IndexError, OverflowError, KeyError ...
    except (_Impossible, tarfile.TarError, ValueError, EOFError, LookupError, ArithmeticError) as error:
        raise _cut(path, members, str(error) or type(error).__name__) from error
    except (RecursionError, MemoryError) as error:
        raise _cut(path, members, "its headers follow one another without end") from error


class _Header(tarfile.TarInfo):
    """A header; those that hold long names or PAX records must be of a sane size, not below zero."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        extra = self.type in (*_LONG_NAMES, *_PAX)
        if self.size < 0 or (extra and self.size > _MAX_EXTRA):
            raise _Impossible(f"the header at byte {self.offset} tells a size of {self.size:,} bytes")
        return super()._proc_member(tar)  # type: ignore[misc]  # not in the stubs


class _Bounded:
    """A file that never makes room for more bytes than it has."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        self.tell = file.tell

    def seek(self, position: int) -> int:
        if position > self._size:
            raise tarfile.ReadError("unexpected end of data")
        return self._file.seek(position)

    def read(self, count: int = -1) -> bytes:
        left = max(0, self._size - self._file.tell())
        return self._file.read(left if count < 0 else min(count, left))


_LONG_NAMES = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_PAX = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)


def _kind(member: tarfile.TarInfo) -> str:
    if member.issparse():
        return "a sparse file"
    if member.issym() or member.islnk():
        return "a link"
    return "a device or a pipe" if member.isdev() else f"of the unknown type {member.type!r}"


def _check_end(path: object, data: mmap.mmap, end: int, size: int, members: list[Member]) -> None:
    if members and members[-1][1] + members[-1][2] > size:
        late = members[-1][0][:200]
        raise _cut(path, members[:-1], f"the payload of {late!r} goes past the end of the file")
    if end + _BLOCK > size:
        raise _cut(path, members, "the end-of-archive mark is missing")
    if data[end : end + _BLOCK] != _ZEROS:
        raise _cut(path, members, f"there is no valid header at byte {end}")
    if size - end > _MAX_TAIL:
        raise ShardError(f"{path}: {size - end:,} bytes follow its end. Cut them off, or write it again.")
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
