"""One `pcclip fit` as a process of its own, and how it ended."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PATIENCE = 15.0  # seconds, in which a stopped fit saves itself
_TAIL = 1 << 16
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG
_STOPPED = (128 + signal.SIGTERM, 128 + signal.SIGINT)


class Fit:
    """A running fit. It ends with us: also where we are killed, it hears SIGTERM and saves itself.

    Args:
        words: After `pcclip`.
        log: File that its output is added to.
        kept: Descriptor that it keeps open.
        environment: Variables besides our own.
    """

    def __init__(self, words: Sequence[str], log: Path, kept: int, environment: Mapping[str, str]) -> None:
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pcclip", *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | dict(environment),
                pass_fds=(kept,),
                start_new_session=True,  # a Ctrl-C is for us; we pass it on
                preexec_fn=_end_with(os.getpid()),
            )

    def ended(self) -> int | None:
        """Its exit status; minus the signal's number where one killed it; None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Asks it to save itself and end."""
        if self._process.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        """Ends it and what it has started."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def by_signal(self) -> bool:
        """Whether a signal has ended it: a scheduler's, a person's, or the system's at too little memory."""
        status = self._process.poll()
        return status is not None and (status < 0 or status in _STOPPED)

    def why(self) -> str:
        """What it said last, in one line."""
        status = self._process.poll()
        if status == -signal.SIGKILL:
            return f"killed, of too little memory as a rule ({self.log})"
        if status is not None and self.by_signal():
            return f"ended by signal {-status if status < 0 else status - 128} ({self.log})"
        if status == 0:
            return f"ended without a summary.json in its run folder ({self.log})"
        with self.log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
        said = [line for line in lines if line]
        own = [line for line in said if line.startswith(("pcclip fit: ", "pcclip resume: "))]
        last = own[-1].partition(": ")[2] if own else said[-1] if said else "ended without a word"
        return f"{last} ({self.log})"


def stop_all(fits: Sequence[Fit]) -> None:
    """Ends fits: each may save itself first, for some seconds."""
    try:
        for fit in fits:
            fit.stop()
        until = time.monotonic() + _PATIENCE
        while any(fit.ended() is None for fit in fits) and time.monotonic() < until:
            time.sleep(0.05)
    finally:  # also at a second Ctrl-C
        for fit in fits:
            fit.kill()


def _end_with(parent: int) -> Callable[[], None]:
    """What a new process calls so that it hears SIGTERM when its parent dies, on Linux."""
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None

    def call() -> None:
        if prctl is not None:
            prctl(_DEATH_SIGNAL, signal.SIGTERM)
            if os.getppid() != parent:  # it has died already
                os._exit(_STOPPED[0])

    return call
