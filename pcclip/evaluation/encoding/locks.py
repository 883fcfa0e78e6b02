"""One process at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from pcclip.errors import PcclipError


@contextmanager
def only_one(path: Path, work: str) -> Iterator[None]:
    """Holds a lock file; another process that holds it is waited for. A process that is killed lets go of it.

    Args:
        path: The lock file, made here and removed at the end.
        work: What is done meanwhile, for the message to whoever waits.

    Raises:
        PcclipError: The file cannot be made or locked.
    """
    descriptor = _acquire(path, work)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _acquire(path: Path, work: str) -> int:
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise PcclipError(
                f"{path.parent}: cannot be written to ({error.strerror}). Name another folder."
            ) from error
        try:
            _lock(descriptor, work)
            if _is_at(path, descriptor):
                return descriptor
        except OSError as error:
            os.close(descriptor)
            raise PcclipError(
                f"{path}: cannot be locked ({error.strerror}). Name a folder on a local disk."
            ) from error
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its owner removed it when it was done: the next one is another file


def _lock(descriptor: int, work: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with Console(stderr=True).status(f"another process is {work}; waiting for it"):
            fcntl.flock(descriptor, fcntl.LOCK_EX)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        there, ours = os.stat(path), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)
