"""SIGTERM and Ctrl-C: every verb ends with one line, and with status 128 + the signal's number.

Schedulers (SLURM, Kubernetes) send SIGTERM and, by default, SIGKILL 30 seconds later.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_PATIENCE = 20.0  # seconds, of the 30 that are given


class Interrupted(KeyboardInterrupt):
    """A signal asked for an end. Libraries clean up after it as after a Ctrl-C."""


class Stop:
    """What has been heard.

    Attributes:
        number: The first signal's number; None as long as none came.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._timer: threading.Timer | None = None

    @property
    def name(self) -> str:
        """What stopped us, for people."""
        return "Ctrl-C" if self.number == signal.SIGINT else "SIGTERM"

    @property
    def status(self) -> int:
        """The exit status."""
        return 128 + (self.number or 0)

    def cancel(self) -> None:
        """Ends the waiting for an end."""
        if self._timer is not None:
            self._timer.cancel()

    def hear(self, number: int, _frame: FrameType | None) -> None:
        """The handler of both signals."""
        first, self.number = self.number is None, self.number or number
        if number == signal.SIGTERM and self._timer is None:
            self._timer = threading.Timer(_PATIENCE, self._end)
            self._timer.daemon = True
            self._timer.start()
        theirs = signal.getsignal(signal.SIGTERM)
        if theirs != self.hear and callable(theirs):  # Lightning's: it stops between two steps, and saves
            # SIGTERM may come twice, from the scheduler and from the first rank; a second Ctrl-C is meant.
            if number == signal.SIGTERM:
                return
            if first:
                signal.raise_signal(signal.SIGTERM)
                return
        raise Interrupted(number)

    def _end(self) -> None:
        # As a kill would, for which all that is written is made.
        print(f"stopped by {self.name}: ended amidst its work, as {_PATIENCE:g} s passed", file=sys.stderr)
        sys.stderr.flush()
        os._exit(self.status)


_current = Stop()


def current() -> Stop:
    """What the verb that runs now has heard."""
    return _current


@contextmanager
def stoppable() -> Iterator[Stop]:
    """While inside, SIGTERM and SIGINT raise `Interrupted`, where no library handles them."""
    global _current
    stop, former, handlers = Stop(), _current, dict[int, Any]()
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            if (handler := signal.getsignal(number)) != signal.SIG_IGN:  # which a shell asks for by `&`
                handlers[number] = handler
                signal.signal(number, stop.hear)
    _current = stop
    try:
        yield stop
    finally:
        stop.cancel()
        _current = former
        for heard, handler in handlers.items():
            signal.signal(heard, handler)
