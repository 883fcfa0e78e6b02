"""Small file systems, mounted for a test: full ones, read-only ones."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def needs_mounts() -> pytest.MarkDecorator:
    """Skips where nothing can be mounted: for root in a container with that right only."""
    return pytest.mark.skipif(not _can_mount(), reason="needs the right to mount (root)")


def _can_mount() -> bool:
    return os.geteuid() == 0 and _run("unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt") == 0


def _run(*words: str) -> int:
    try:
        return subprocess.run(words, capture_output=True, check=False).returncode
    except FileNotFoundError:
        return -1


@contextmanager
def small_disk(place: Path, kib: int) -> Iterator[Path]:
    """A file system of so many KiB in a folder; unmounted at the end whatever happens."""
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "none", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def make_room(place: Path, kib: int) -> None:
    """Gives a small disk so many KiB in all."""
    subprocess.run(["mount", "-o", f"remount,size={kib}k", str(place)], check=True)


@contextmanager
def read_only(place: Path) -> Iterator[Path]:
    """A folder as on read-only media, for root too."""
    subprocess.run(["mount", "--bind", str(place), str(place)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(place)], check=True)
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
