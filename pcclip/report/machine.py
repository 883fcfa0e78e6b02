"""What a command runs on and by: the machine, the packages, the state of the source. Nothing names people."""

from __future__ import annotations

import os
import platform
import re
import resource
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

_PATIENCE = 10  # seconds; git is slow in a huge working directory
_KIB = 1024


def processor() -> str:
    """The processor's name, as far as the system tells it."""
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        told = ""
    found = re.search(r"^model name\s*:\s*(.+)$", told, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes() -> int:
    """The machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def gpu_driver(file: Path = Path("/proc/driver/nvidia/version")) -> str | None:
    """Version of NVIDIA's driver; None where there is none, or the system does not tell."""
    try:
        told = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"\s(\d+(?:\.\d+)+)\s", told)
    return found[1] if found else None


def peak_memory_bytes() -> int:
    """The most memory that this process has held, its children not counted."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else _KIB)


def packages() -> dict[str, str]:
    """Versions of pcclip and of what it needs, by name."""
    needed = [one for one in metadata.requires("pcclip") or [] if "extra ==" not in one]
    names = [found[0] for one in needed if (found := re.match(r"[\w.-]+", one))]
    versions = {}
    for name in ("pcclip", *sorted(names, key=str.lower)):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # an environment that holds less, on purpose
            continue
    return versions


def git_state(folder: Path) -> dict[str, Any] | None:
    """The state of the repository that a folder lies in.

    Returns:
        `commit`, and the numbers of tracked files that were `changed` since and of `untracked` ones (a folder
        of untracked files counts once); None where there is no repository, or no git.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    status = _git(folder, "status", "--porcelain")
    if commit is None or status is None:
        return None
    lines = status.splitlines()
    untracked = sum(line.startswith("??") for line in lines)
    return {"commit": commit.strip(), "changed": len(lines) - untracked, "untracked": untracked}


def _git(folder: Path, *words: str) -> str | None:
    command = ["git", "--no-optional-locks", *words]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def without_home(text: str) -> str:
    """A text in which the path of the home folder, which names its owner, is `~`."""
    home = os.path.expanduser("~")
    return text if home in ("/", "~") else re.sub(rf"(?<![\w./~-]){re.escape(home)}(?![\w.-])", "~", text)
