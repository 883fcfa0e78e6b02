"""Folders that appear whole or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pcclip.errors import PcclipError


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to write into: it gets its name when all in it is on disk, and goes if something fails.

    A killed process leaves `.NAME.partial`, which the next one clears. One process at a time.

    Args:
        folder: Must not exist; the folder above it is made.

    Raises:
        PcclipError: The name is taken, or another process makes this folder now.
    """
    refuse_existing(folder)
    partial = folder.parent / f".{folder.name}.partial"
    partial.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(partial, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(descriptor, partial, folder)
        _clear(partial)
        try:
            yield partial
            sync_files(partial)
            refuse_existing(folder)
            os.rename(partial, folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        sync_folder(folder.parent)
    finally:
        os.close(descriptor)


def refuse_existing(folder: Path) -> None:
    """Refuses a name that is taken.

    Raises:
        PcclipError: It is.
    """
    if folder.exists() or folder.is_symlink():
        raise PcclipError(f"{folder}: exists already, and nothing is overwritten; name another")


def sync_folder(folder: Path) -> None:
    """Brings a folder's entries (new names, renames) to disk; of a file, its bytes."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_files(folder: Path) -> None:
    """Brings all files below a folder, and their names, to disk."""
    for place, _, names in os.walk(folder):
        for name in names:
            sync_folder(Path(place, name))
        sync_folder(Path(place))


def _lock(descriptor: int, partial: Path, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        busy = not partial.exists() or not os.path.samestat(os.fstat(descriptor), os.stat(partial))
    except BlockingIOError:
        busy = True
    except OSError:
        busy = False  # no locks on folders here, as on some network drives
    if busy:
        refuse_existing(folder)  # it may just have been finished
        raise PcclipError(f"{folder}: another process makes this folder now. Wait for it, or name another.")


def _clear(folder: Path) -> None:
    for left in folder.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink()
