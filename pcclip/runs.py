"""Run folders: `RUNS/EXPERIMENT/VERSION/`, claimed once, never overwritten."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from pathlib import Path

from filelock import FileLock, Timeout

from pcclip.errors import PcclipError

_LOCK = ".lock"
_ORPHANS = 12.0
_STARTED = (_LOCK, "config.yaml", "hparams.yaml", "provenance.json", "events.out.tfevents.")
_held: dict[Path, FileLock] = {}
_PREFIX = {"fit": "v", "validate": "validate", "test": "test"}


def claim(runs: str, experiment: str, verb: str = "fit") -> str:
    """Make the next free version folder and return its name (`v000`, `v001`, ...).

    Two processes that claim at the same moment get different folders. One that a killed start has left empty
    is taken again.

    Args:
        runs: root of all runs.
        experiment: name of the experiment.
        verb: `fit`, `validate` or `test`; the last two get folders of their own (`test000`).
    """
    parent = Path(runs) / experiment
    parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count():
        version = f"{_PREFIX[verb]}{number:03d}"
        folder = parent / version
        folder.mkdir(exist_ok=True)
        if not begun(folder) and _take(folder, timeout=0):
            if not begun(folder):
                return version
            _held.pop(folder.resolve()).release()
    raise AssertionError("unreachable")


def hold(run: Path) -> None:
    """Keep a run folder to this process until `let_go`, by `RUN/.lock`; a killed process lets go of it.

    Raises:
        PcclipError: another process works in it.
    """
    run.mkdir(parents=True, exist_ok=True)
    # The data workers of a killed process hold on for some seconds, until they find themselves alone.
    if not _take(run, timeout=_ORPHANS):
        raise PcclipError(f"{run}: another process works in this run folder. Wait for it, or name another")


def let_go() -> None:
    """Give back all run folders that this process holds."""
    while _held:
        _held.popitem()[1].release()


def begun(run: Path) -> bool:
    """Whether a run folder holds anything."""
    return any(entry.name != _LOCK for entry in run.iterdir())


def forget(run: Path) -> None:
    """Remove a run folder that holds no more than what a start writes, and the folders above it if empty."""
    if not run.is_dir() or any(not entry.name.startswith(_STARTED) for entry in run.iterdir()):
        return
    shutil.rmtree(run)
    with contextlib.suppress(OSError):
        run.parent.rmdir()
        run.parent.parent.rmdir()


def _take(run: Path, timeout: float) -> bool:
    key = run.resolve()
    if key not in _held:
        lock = FileLock(run / _LOCK)
        try:
            lock.acquire(timeout=timeout)
        except Timeout:
            return False
        _held[key] = lock
    return True


def point_latest(run: Path) -> None:
    """Let `EXPERIMENT/latest` point at `run`, atomically; called when a fit is about to finish."""
    link = run.parent / f".latest-{run.name}"
    link.unlink(missing_ok=True)  # of a process that was killed here
    link.symlink_to(run.name)
    os.replace(link, run.parent / "latest")


def resume_arguments(run: str) -> list[str]:
    """Arguments of `pcclip fit` that go on with a stopped run, in its own folder.

    Args:
        run: folder of the run, `RUNS/EXPERIMENT/VERSION`.

    Raises:
        PcclipError: if it is no run folder, or the run has finished.
    """
    folder = Path(run).resolve()
    config = folder / "config.yaml"
    if not config.is_file():
        inside = [Path(run) / one.parent.name for one in sorted(folder.glob("*/config.yaml"))]
        inside += [one for one in folder.parents if (one / "config.yaml").is_file()]
        ask = f". Is {inside[-1]} meant?" if inside else ". Name RUNS/EXPERIMENT/VERSION"
        raise PcclipError(f"{folder} is no run folder: it has no config.yaml{ask}")
    if (folder / "summary.json").is_file():
        raise PcclipError(f"{folder} has finished: it has a summary.json. Start a new run with `pcclip fit`")
    place = [
        f"--runs={folder.parent.parent}",
        f"--experiment={folder.parent.name}",
        f"--version={folder.name}",
    ]
    arguments = ["fit", f"--config={config}", *place]
    checkpoint = folder / "checkpoints" / "last.ckpt"
    return [*arguments, f"--ckpt_path={checkpoint}"] if checkpoint.is_file() else arguments
