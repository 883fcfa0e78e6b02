"""Files made to harm, and a measure of what reading them takes."""

import io
import os
import pickle
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

BLOCK = 512


class Payload:
    """Unpickled, it makes a file: the mark that code ran."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def pickled(mark: Path) -> bytes:
    return pickle.dumps({"state_dict": Payload(mark), "weight": Payload(mark)})


def header(
    name: bytes = b"a.txt", size: bytes = b"00000000001\0", kind: bytes = b"0", magic=b"ustar\x0000"
) -> bytes:
    """A header with a right checksum, whatever stands in its fields."""
    fields = [
        name[:100].ljust(100, b"\0"), b"0000644\0", b"0000000\0", b"0000000\0", size[:12].ljust(12, b"\0"),
        b"00000000000\0", b" " * 8, kind, b"\0" * 100, b"ustar\x0000", b"\0" * 247,
    ]  # fmt: skip
    block = b"".join(fields).ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % BLOCK)


END = b"\0" * (2 * BLOCK)


def pax(records: dict[str, bytes], kind: bytes = b"x") -> bytes:
    """PAX records as the header that carries them."""
    data = b""
    for key, value in records.items():
        body = b" " + key.encode() + b"=" + value + b"\n"
        length = len(body)
        while len(str(length)) + len(body) != length:
            length = len(str(length)) + len(body)
        data += str(length).encode() + body
    return header(b"pax", b"%011o\0" % len(data), kind) + padded(data)


def tar_of(*members: tuple[str, bytes] | tarfile.TarInfo, format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            tar.addfile(info, io.BytesIO(member[1]))
    return buffer.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *more: bytes, pixels: bytes = b"") -> bytes:
    """A PNG of a size that its pixels need not have."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(pixels or b"\0" * 100, 9))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + body + chunk(b"IEND", b"")


def peak_mib(call: Callable[[], object]) -> float:
    """Most memory that the process held during a call beyond what it held before."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _status("VmRSS")
    call()
    return _status("VmHWM") - before


def _status(name: str) -> float:
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(name))
    return int(line.split()[1]) / 1024
