"""Run folders: `RUNS/EXPERIMENT/VERSION/`, claimed once, never overwritten."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from pcclip.errors import PcclipError

_PREFIX = {"fit": "v", "validate": "validate", "test": "test"}


def claim(runs: str, experiment: str, verb: str = "fit") -> str:
    """Make the next free version folder and return its name (`v000`, `v001`, ...).

    Two processes that claim at the same moment get different folders.

    Args:
        runs: root of all runs.
        experiment: name of the experiment.
        verb: `fit`, `validate` or `test`; the last two get folders of their own (`test000`).
    """
    parent = Path(runs) / experiment
    parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count():
        version = f"{_PREFIX[verb]}{number:03d}"
        try:
            (parent / version).mkdir()
        except FileExistsError:
            continue
        return version
    raise AssertionError("unreachable")


def point_latest(run: Path) -> None:
    """Let `EXPERIMENT/latest` point at `run`, atomically; called when a fit has finished."""
    link = run.parent / f".latest-{os.getpid()}"
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
        raise PcclipError(f"{folder} is no run folder: it has no config.yaml. Name RUNS/EXPERIMENT/VERSION")
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
