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
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

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
        heard: Seconds between the signal and the end; None where none was sent.
        events: Events in the file system that it came to.
        seconds: Wall time.
        said: Its standard error.
    """

    status: int
    events: int
    seconds: float
    heard: float | None
    said: str

    @property
    def killed(self) -> bool:
        return self.status == -signal.SIGKILL


@dataclass(frozen=True)
class Disturbance:
    """A signal at a moment.

    Attributes:
        at: The event that it is sent right before.
        after: Seconds after which it is sent.
        number: The signal.
        to: The process itself, all processes of the command (as from a terminal or a scheduler), or one of
            those that it has started, as soon as there is one.
    """

    at: int | None = None
    after: float | None = None
    number: int = signal.SIGKILL
    to: Literal["itself", "group", "worker"] = "itself"


class Zygote:
    """The process; use it in a `with` block."""

    def __enter__(self) -> Self:
        self._short, self._times = Path(tempfile.mkdtemp(prefix="kill-")), 0
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
        shutil.rmtree(self._short)

    def run(self, words: list[str], folder: Path, **disturbed: Any) -> Ended:
        """Runs a command; `disturbed` are settings of `Disturbance`."""
        return self.run_all(words, folder, 1, **disturbed)[0]

    def run_all(self, words: list[str], folder: Path, times: int, **disturbed: Any) -> list[Ended]:
        """Runs a command several times at once; only the first is disturbed.

        Args:
            words: After `pcclip`.
            folder: Where it works: events outside do not count. Temporary files are put into `tmp` there,
                by a short path, as sockets are among them.
            times: How often.
            disturbed: Settings of `Disturbance`.
        """
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        self._times += 1
        temporary = self._short / str(self._times)
        temporary.symlink_to(folder / "tmp")
        asked = {"words": words, "folder": str(folder), "temporary": str(temporary), "times": times}
        asked |= asdict(Disturbance(**disturbed))
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return [Ended(**one) for one in self._answer()]

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
        children = []
        for number in range(asked["times"]):
            counter, said = mmap.mmap(-1, 16), Path(f"{asked['folder']}.said{number}")
            if not (child := os.fork()):
                _child(asked if not number else asked | {"at": None}, counter, said)
            children.append((child, counter, said))
        after = asked["after"]
        ended = [
            _watch(*child, asked if not number and after is not None else None)
            for number, child in enumerate(children)
        ]
        print(json.dumps(ended), flush=True)


def _child(asked: dict[str, Any], counter: mmap.mmap, said: Path) -> None:
    os.setsid()
    os.environ["TMPDIR"] = tempfile.tempdir = asked["temporary"]
    output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    from pcclip.cli import main

    _count((asked["folder"], asked["temporary"]), asked, counter)
    sys.exit(main(asked["words"]))  # by the way out that every process takes: exit handlers run


def _count(folders: tuple[str, str], asked: dict[str, Any], counter: mmap.mmap) -> None:
    """Counts events within folders, and sends the signal right before the one that it is asked for."""
    main, at = os.getpid(), asked["at"]

    def event() -> None:
        number, sent = struct.unpack("qd", counter)
        due = at is not None and number + 1 >= at and not sent
        if due and asked["number"] == signal.SIGKILL and asked["to"] == "itself":
            os.kill(main, signal.SIGKILL)
        counter[:8] = struct.pack("q", number + 1)
        if due:
            _send(main, asked, counter)

    def heard(name: str, args: tuple[Any, ...]) -> None:
        if name == "open":
            if not isinstance(args[2], int) or not args[2] & _WRITES:
                return
        elif name not in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.link"):
            return
        if str(args[0]).startswith(folders):
            event()

    def counted(function: Any) -> Any:
        def call(*args: Any) -> Any:
            event()
            return function(*args)

        return call

    os.fsync, os.pwrite = counted(os.fsync), counted(os.pwrite)  # of which Python tells no audit hook
    sys.addaudithook(heard)


def _send(main: int, asked: dict[str, Any], counter: mmap.mmap) -> None:
    whom = [main]
    if asked["to"] == "worker":
        whom = [int(child) for child in Path(f"/proc/{main}/task/{main}/children").read_text().split()][:1]
    if whom:
        counter[8:] = struct.pack("d", time.monotonic())
        (os.killpg if asked["to"] == "group" else os.kill)(whom[0], asked["number"])


def _watch(child: int, counter: mmap.mmap, said: Path, asked: dict[str, Any] | None) -> dict[str, Any]:
    started = time.monotonic()
    descriptor = os.pidfd_open(child)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    if asked is not None and not poll.poll(asked["after"] * 1000):
        _send(child, asked, counter)
    _, status = os.waitpid(child, 0)
    os.close(descriptor)
    events, sent = struct.unpack("qd", counter)
    return {
        "status": os.waitstatus_to_exitcode(status),
        "events": events,
        "seconds": time.monotonic() - started,
        "heard": time.monotonic() - sent if sent else None,
        "said": said.read_text(errors="replace"),
    }


if __name__ == "__main__":
    _serve()
