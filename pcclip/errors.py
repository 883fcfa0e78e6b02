"""The error that a user can mend: bad input, a wrong path, a mismatch of files, a full disk."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FULL = "the disk is full. Make room, and the same command goes on"
_QUOTA = "your share of the disk is used up. Make room, and the same command goes on"
_TROUBLES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _QUOTA,
    errno.EFBIG: "the file is larger than the file system or the limit of the shell (ulimit -f) allows",
    errno.ENOTDIR: "a part of its path is a file, not a folder. Name another folder",
    errno.EEXIST: "there is a file of that name already. Name another folder",
    errno.EROFS: "it is read-only there. Name another folder",
    errno.EACCES: "permission denied. Name another folder, or change its permissions",
    errno.EPERM: "the system does not permit it. Name another folder",
    errno.EIO: "the disk or the network file system failed. Check it, and the same command goes on",
    errno.EMFILE: "too many files are open: raise the limit of the shell (ulimit -n)",
}
_OF_RUST = re.compile(r"\bos error (\d+)|\bOs \{ code: (\d+)")
"""What errors of libraries in Rust (safetensors, tokenizers) say of those of the system."""
_OF_NUMPY = re.compile(r"\d+ requested and \d+ written")


class PcclipError(Exception):
    """Something about the user's files or settings is wrong; the message names it and the remedy.

    The command line prints it without a traceback and exits with status 1.
    """


def disk_error(error: BaseException) -> PcclipError | None:
    """The user's error behind an error of the file system; None where it is none that a user can mend."""
    if not isinstance(error, OSError) or (trouble := _TROUBLES.get(error.errno or 0)) is None:
        return None
    return PcclipError(f"{error.filename or 'a file'}: cannot be read or written: {trouble}.")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Lets errors of the file system within name the file or folder that is written.

    Only `open` names the file by itself; NumPy and safetensors raise errors of their own at a full disk.

    Raises:
        OSError: With `errno` and `filename`.
    """
    try:
        yield
    except Exception as error:
        if (code := _code(error)) is None:
            raise
        raise OSError(code, os.strerror(code), os.fspath(path)) from error


def _code(error: Exception) -> int | None:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if isinstance(error, OSError) and _OF_NUMPY.search(str(error)):
        return errno.ENOSPC
    found = _OF_RUST.search(str(error))
    return int(found[1] or found[2]) if found else None
