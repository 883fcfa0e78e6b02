"""A process that has imported everything and forks a child for each command, so that kills hit the work.

`Zygote` starts it and speaks with it, a line of JSON each way. A child can be killed at a moment by the
clock, or right before its n-th event in the file system: opening to write, fsync, renaming, removing, making
folders.
"""

from __future__ import annotations

import json
import mmap
import os
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_ROOT = Path(__file__).parents[2]
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_MODULES = (
    "pcclip.trainer_cli",
    "pcclip.callbacks.evaluation",
    "pcclip.evaluation.evaluate",
    "pcclip.export.command",
    "pcclip.data.bank_cli",
    "pcclip.data.prepare",
    "pcclip.generation.write",
    "transformers",
    "matplotlib.pyplot",
    "torch.utils.tensorboard",
    "torch._dynamo",
)


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        status: Its exit status; minus the signal's number where a signal ended it.
        events: Events in the file system that it came to.
        seconds: Wall time.
        said: Its standard error.
    """

    status: int
    events: int
    seconds: float
    said: str

    @property
    def killed(self) -> bool:
        return self.status == -signal.SIGKILL


class Zygote:
    """The process; use it in a `with` block."""

    def __enter__(self) -> Self:
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.kill_zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=_ROOT,
            env=os.environ | threads | {"PYTHONPATH": str(_ROOT), "TOKENIZERS_PARALLELISM": "false"},
        )
        assert self._answer() == {"ready": True}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def run(
        self, words: list[str], folder: Path, kill_at: int | None = None, kill_after: float | None = None
    ) -> Ended:
        """Runs a command.

        Args:
            words: After `pcclip`.
            folder: Where it works: events outside do not count. Temporary files are put into `tmp` there.
            kill_at: The event that it is killed before.
            kill_after: Seconds after which it is killed.
        """
        asked = {"words": words, "folder": str(folder), "kill_at": kill_at, "kill_after": kill_after}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return Ended(**self._answer())

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


def _serve() -> None:
    import functools
    import gc
    import importlib

    for module in _MODULES:
        importlib.import_module(module)
    from pcclip.data import bank_cli

    # A small bank is built faster than it is checkpointed: here every batch is a checkpoint.
    bank_cli.build_bank = functools.partial(bank_cli.build_bank, checkpoint_seconds=0.0)
    gc.collect()
    gc.freeze()  # else every child's last collection copies all that was imported
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        counter = mmap.mmap(-1, 8)
        if not (child := os.fork()):
            _child(asked, counter)
        print(json.dumps(_watch(child, asked, counter)), flush=True)


def _child(asked: dict[str, Any], counter: mmap.mmap) -> None:
    os.setsid()
    folder = Path(asked["folder"])
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder / "tmp")
    said = os.open(f"{folder}.said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for descriptor in (1, 2):
        os.dup2(said, descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    from pcclip.cli import main

    _count(str(folder), asked["kill_at"] or 0, counter)
    sys.exit(main(asked["words"]))  # by the way out that every process takes: exit handlers run


def _count(folder: str, kill_at: int, counter: mmap.mmap) -> None:
    """Counts events within the folder, and dies right before the `kill_at`th."""

    def event() -> None:
        number = struct.unpack("q", counter[:8])[0] + 1
        if number == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        counter[:8] = struct.pack("q", number)

    def heard(name: str, args: tuple[Any, ...]) -> None:
        if name == "open":
            if not isinstance(args[2], int) or not args[2] & _WRITES:
                return
        elif name not in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.link"):
            return
        if str(args[0]).startswith(folder):
            event()

    def counted(function: Any) -> Any:
        def call(*args: Any) -> Any:
            event()
            return function(*args)

        return call

    os.fsync, os.pwrite = counted(os.fsync), counted(os.pwrite)  # of which Python tells no audit hook
    sys.addaudithook(heard)


def _watch(child: int, asked: dict[str, Any], counter: mmap.mmap) -> dict[str, Any]:
    started = time.monotonic()
    descriptor = os.pidfd_open(child)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    after = asked["kill_after"]
    if not poll.poll(None if after is None else max(after, 0.0) * 1000):
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(descriptor)
    return {
        "status": os.waitstatus_to_exitcode(status),
        "events": struct.unpack("q", counter[:8])[0],
        "seconds": time.monotonic() - started,
        "said": Path(f"{asked['folder']}.said").read_text(errors="replace"),
    }


if __name__ == "__main__":
    _serve()
