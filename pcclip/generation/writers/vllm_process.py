"""The engine's process, seen from the job: started, watched, ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

_SCRIPT = Path(__file__).with_name("vllm_child.py")
_TOLD_BYTES = 3000


class EngineDied(Exception):
    """The engine's process ended or answers no more; the message says what is known."""


class EngineProcess:
    """One process with an engine; ends with this one, however this one ends.

    Args:
        python: Interpreter of an environment that has vLLM.
        options: Arguments of `vllm.LLM`.
        chat: Arguments of `LLM.enqueue_chat`, beside the messages.
        environment: Variables for the process.
        log: File for what the engine prints; a temporary one where None.
    """

    def __init__(
        self,
        python: str,
        options: Mapping[str, Any],
        chat: Mapping[str, Any],
        environment: Mapping[str, str],
        log: str | None,
    ) -> None:
        self._log = Path(log).open("a+b") if log else tempfile.TemporaryFile()  # noqa: SIM115
        ours, theirs = socket.socketpair()
        life_read, self._life = os.pipe()
        try:
            self._process = subprocess.Popen(
                # -P keeps the script's folder, whose modules are ours, off the engine's path.
                [python, "-P", str(_SCRIPT), str(theirs.fileno()), str(life_read)],
                pass_fds=(theirs.fileno(), life_read),
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        except OSError:  # there is no such interpreter
            os.close(self._life)
            ours.close()
            self._log.close()
            raise
        finally:
            theirs.close()
            os.close(life_read)
        self._connection = Connection(ours.detach())
        self._heard = time.monotonic()
        self.ready = False
        self.send((dict(options), dict(chat)))

    def send(self, message: Any) -> None:
        """Hands something to the engine.

        Raises:
            EngineDied: It is gone.
        """
        try:
            self._connection.send(message)
        except OSError as error:
            raise self._died() from error

    def receive(self, seconds: float, patience: float) -> Sequence[tuple[Any, ...]]:
        """Waits for answers.

        Args:
            seconds: Longest wait; no answers then.
            patience: Seconds of silence after which the engine counts as dead.

        Raises:
            EngineDied: It is gone, or silent for too long.
        """
        try:
            if not self._connection.poll(seconds):
                if time.monotonic() - self._heard > patience:
                    raise EngineDied(f"no answer for {patience:.0f} seconds{self._tail()}")
                return ()
            kind, value = self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._died() from error
        self._heard = time.monotonic()
        if kind == "dead":
            raise EngineDied(f"{value}{self._tail()}")
        self.ready = True
        return value or ()

    def listen(self) -> None:
        """Starts the time of silence anew: from now on an answer is awaited."""
        self._heard = time.monotonic()

    def close(self) -> None:
        """Ends the process with all its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._connection.close()
        with contextlib.suppress(OSError):
            os.close(self._life)
        self._log.close()

    def _died(self) -> EngineDied:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        return EngineDied(f"its process ended with status {self._process.poll()}{self._tail()}")

    def _tail(self) -> str:
        """The end of what the engine printed."""
        size = os.fstat(self._log.fileno()).st_size
        # pread, since the engine's process writes at the very position that a seek would move
        tail = os.pread(self._log.fileno(), _TOLD_BYTES, max(0, size - _TOLD_BYTES))
        printed = tail.decode("utf-8", "replace").strip()
        return f"; it printed last:\n{printed}" if printed else ""
