"""Files that are complete or absent, never half written."""

from __future__ import annotations

import fcntl
import os
import uuid
from pathlib import Path

from pcclip.errors import PcclipError, writing
from pcclip.folders import sync_folder


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Writes a file so that, also after a kill or a power cut, it is complete or as it was before.

    The bytes, then the name, are brought to disk (fsync of file and folder). Several processes may write the
    same path at once: one of them wins. A killed process leaves at most `.NAME.tmp`, which the next writer of
    that path takes over.

    Raises:
        OSError: It cannot be written; the error names `path`.
    """
    with writing(path):
        temporary, descriptor = _temporary(path)
        try:
            with open(descriptor, "wb") as file:
                file.truncate()
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                os.replace(temporary, path)  # while the file is locked: nobody else takes it for left over
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def write_named(path: Path, data: bytes) -> None:
    """Writes a file that a user has named, whole; the folders above it are made.

    Raises:
        PcclipError: It cannot be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    except OSError as error:
        raise PcclipError(f"{path}: cannot be written ({error.strerror}). Name another file.") from error


def _temporary(path: Path) -> tuple[Path, int]:
    """A file to write into, and its open descriptor: always of the same name, but where that is in use."""
    temporary = path.with_name(f".{path.name}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), os.stat(temporary)):
            return temporary, descriptor
    except OSError:  # another process writes there or has just given it its name, or there are no locks here
        pass
    os.close(descriptor)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    return temporary, os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
