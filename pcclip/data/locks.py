"""One process at a time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from filelock import FileLock, Timeout
from rich.console import Console

from pcclip.errors import PcclipError
from pcclip.quiet import lively


@contextmanager
def only_one(path: Path, work: str) -> Iterator[None]:
    """Holds a lock file; another process that holds it is waited for. A process that is killed lets go of it.

    Args:
        path: The lock file, made here. It stays: to remove it would split those who wait.
        work: What is done meanwhile, for the message to whoever waits.

    Raises:
        PcclipError: The file cannot be made or locked.
    """
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            waits = f"another process is {work}; waiting for it"
            if not lively():
                print(waits, file=sys.stderr, flush=True)
            with Console(stderr=True).status(waits) if lively() else nullcontext():
                lock.acquire()
    except OSError as error:
        raise PcclipError(f"{path}: cannot be locked ({error.strerror}). Name another folder.") from error
    try:
        yield
    finally:
        lock.release()
