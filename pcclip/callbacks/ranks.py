"""The ranks of a run stop together: after the same step on SIGTERM, within a minute where one is lost."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from datetime import timedelta
from typing import Any

import torch
from lightning.fabric.strategies.launchers.subprocess_script import _ChildProcessObserver
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import distributed

from pcclip.callbacks.heartbeat import Heartbeat
from pcclip.errors import PcclipError
from pcclip.groups import before_groups

_GRACE = 20.0
"""Seconds that the main thread has to end the process once it has failed by itself."""


class RankLost(PcclipError):
    """Another rank has ended, hangs or cannot be reached."""


class Ranks(Callback):
    """Keep the ranks of a run together.

    A rank that gets SIGTERM tells the others: all stop after the same step, with a checkpoint. A rank that
    dies, hangs or cannot be reached ends the run on all ranks, with a message and a status other than 0.

    Args:
        patience: seconds without a sign of life after which a rank counts as lost. Long evaluations do not
            matter, a rank gives signs meanwhile.
        collective_minutes: how long a collective waits for ranks that live but do not join in.
    """

    def __init__(self, patience: float = 45.0, collective_minutes: float = 240.0) -> None:
        """See the class."""
        self.patience = patience
        self.collective_minutes = collective_minutes
        self.heartbeat: Heartbeat | None = None
        self.asked_to_stop = False
        self._noticed = threading.Event()
        self._resume = ""
        self._children: list[Any] = []

    def prepare(self, trainer: Trainer) -> None:
        """Set what must be known before the ranks meet."""
        if trainer.world_size > 1:
            before_groups()
        if hasattr(trainer.strategy, "_timeout"):
            trainer.strategy._timeout = timedelta(minutes=self.collective_minutes)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Begin to watch, where there are several ranks."""
        folder = trainer.log_dir  # asks all ranks
        if trainer.world_size == 1 or not distributed.is_initialized():
            return
        self._resume = (
            f". `pcclip resume {folder}` goes on from its last checkpoint" if stage == "fit" else ""
        )
        self._children = getattr(trainer.strategy.launcher, "procs", [])
        for thread in threading.enumerate():
            if isinstance(thread, _ChildProcessObserver):
                # It kills this process without a word, even while it saves a checkpoint on SIGTERM.
                thread._run = lambda: True
        self.heartbeat = Heartbeat(trainer.global_rank, trainer.world_size, self.patience, self._end)
        self._group: Any = distributed.new_group(
            backend="gloo", timeout=timedelta(minutes=self.collective_minutes)
        )
        atexit.register(self._leave)  # before Lightning destroys it
        # Lightning's own broadcasts inside the signal handler, amidst whatever collective the main thread is
        # in, and waits for the device at every step.
        trainer._signal_connector._sigterm_notifier_fn = self._heard
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: self._agree(trainer)

    def _leave(self) -> None:
        self._group = None  # its threads end with the last reference: else they might abort the process

    def _heard(self, signum: int, frame: Any) -> None:
        self.asked_to_stop = True

    def _agree(self, trainer: Trainer) -> None:
        """Before each step: stop if any rank was asked to; on the host, no device waits."""
        if trainer.fit_loop.epoch_loop._should_accumulate():
            return  # a checkpoint has no gradients
        asked = torch.tensor([int(self.asked_to_stop)])
        distributed.all_reduce(asked, distributed.ReduceOp.MAX, self._group)
        if asked.item():
            trainer._signal_connector.received_sigterm = True
            raise SIGTERMException

    def _end(self, message: str) -> None:
        """In the heartbeat's thread: say what happened and end this process, unless it ends by itself."""
        if not self._noticed.wait(3):
            print(f"pcclip: the run stops: {message}{self._resume}", file=sys.stderr, flush=True)
            self._exit()

    def _exit(self) -> None:
        for child in self._children:
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(signal.SIGKILL)
        os._exit(1)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Tell the others, or find out which of them was lost."""
        if self.heartbeat is None:
            return
        if isinstance(exception, SIGTERMException):
            self.heartbeat.end()
        elif _is_of_a_connection(exception):
            self._noticed.set()
            # The command line prints the user's error that it finds among the causes.
            exception.__cause__ = RankLost(f"rank {trainer.global_rank} stops: {self._who()}{self._resume}")
            self.heartbeat.end()
            last = threading.Timer(_GRACE, self._exit)  # where taking down hangs
            last.daemon = True
            last.start()
        else:
            self.heartbeat.tell(str(exception).strip().partition("\n")[0][:300])
            self.heartbeat.end()

    def _who(self) -> str:
        assert self.heartbeat is not None
        until = time.monotonic() + 3
        while time.monotonic() < until:
            for child in self._children:
                child.poll()  # else a dead one would still have its process number
            if told := self.heartbeat.told():
                rank, message = told.split(" ", 1)
                return f"rank {rank} stopped: {message}"
            if ended := self.heartbeat.ended():
                return ", ".join(f"rank {r} ({self.heartbeat.places[r]}) {self._how(r)}" for r in ended)
            time.sleep(0.1)
        return "the connection to another rank broke"

    def _how(self, rank: int) -> str:
        """How a rank has ended, where this process started it."""
        assert self.heartbeat is not None
        process = self.heartbeat.places[rank].process
        status = next((child.returncode for child in self._children if child.pid == process), None)
        if not status:
            return "ended"
        return f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Watch no more."""
        if self.heartbeat is not None:
            self.heartbeat.end()


def _is_of_a_connection(error: BaseException) -> bool:
    """Whether a collective failed because of another rank, and not this one's own doing."""
    text = str(error)
    return isinstance(error, distributed.DistError) or (
        isinstance(error, RuntimeError)
        and any(word in text for word in ("gloo/", "NCCL", "Timed out waiting"))
    )
