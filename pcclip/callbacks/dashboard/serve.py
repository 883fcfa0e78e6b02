"""`python -m pcclip.callbacks.dashboard.serve RUNS`: TensorBoard over all runs, each once.

`EXPERIMENT/latest` is a link to one of the runs, and TensorBoard, which follows links, would show that run
twice. So it gets a folder of links of its own, without such ones, kept up to date while it serves.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

_EVERY = 5.0
"""Seconds between two looks for new runs: as TensorBoard itself looks for new events."""


def link_runs(runs: Path, mirror: Path) -> None:
    """Links every folder below `runs` that holds events into `mirror`, by the same name; links are left out.

    Args:
        runs: Folder of all runs.
        mirror: What TensorBoard reads; links to runs that are gone are removed.
    """
    for link in [Path(place, name) for place, names, _ in os.walk(mirror) for name in names]:
        if link.is_symlink() and not link.exists():
            link.unlink()
    for place, inner, files in os.walk(runs):
        if not any("tfevents" in name for name in files):
            continue
        inner.clear()  # what lies below the run comes with its link
        name = Path(place).relative_to(runs)
        link = mirror / (name if name.parts else runs.resolve().name)  # `runs` may itself be one
        if not link.is_symlink():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(Path(place).resolve(), target_is_directory=True)


def main(arguments: list[str]) -> int:
    """Serves until it is stopped.

    Args:
        arguments: Folder of all runs, then options of `tensorboard` (`--port 6006`, `--bind_all`).

    Returns:
        The exit status of `tensorboard`.
    """
    runs = Path(arguments[0] if arguments else "runs")
    if not runs.is_dir():
        told = f"{runs}: no such folder. Name the folder of the runs, as in `pcclip fit --runs`."
        print(told, file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # else TensorBoard would outlive this process
    with tempfile.TemporaryDirectory(prefix="pcclip-tensorboard-") as folder:
        mirror = Path(folder)
        link_runs(runs, mirror)
        words = [sys.executable, "-m", "tensorboard.main", "--logdir", folder, *arguments[1:]]
        served = subprocess.Popen(words)
        try:
            while True:
                try:
                    return served.wait(_EVERY)
                except subprocess.TimeoutExpired:
                    link_runs(runs, mirror)
        except KeyboardInterrupt:
            return served.wait()
        finally:
            served.terminate()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
