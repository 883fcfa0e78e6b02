"""Signs of life that the ranks of a run give each other through the store at which they met."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

_EVERY = 2.0
_OVER = "over"


@dataclass(frozen=True)
class Place:
    """Where a rank runs: its process, and what tells hosts and containers apart."""

    host: str
    process: int

    @classmethod
    def here(cls) -> Place:
        """Of this process."""
        namespace = Path("/proc/self/ns/pid")
        inside = os.readlink(namespace) if namespace.is_symlink() else ""
        return cls(f"{socket.gethostname()} {inside}".strip(), os.getpid())

    def has_ended(self) -> bool:
        """Whether the process is seen from here to be gone; False where it cannot be seen."""
        if self.host != Place.here().host:
            return False
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False

    def __str__(self) -> str:
        return f"process {self.process} on {self.host.split()[0]}"


class Heartbeat:
    """Says every few seconds that this rank lives, and notices when another does not.

    The first rank listens to all, the others to the first, so that traffic grows with ranks and not with
    pairs. No collective is used: nothing waits for a device, and a rank that evaluates for hours beats like
    any other.

    Args:
        rank: of this process.
        world: number of ranks.
        patience: seconds without a sign after which a rank counts as lost.
        lost: called once, in a thread of its own, with what happened.
    """

    def __init__(self, rank: int, world: int, patience: float, lost: Callable[[str], None]) -> None:
        """See the class; begins at once, on all ranks together."""
        from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

        self.rank, self.patience, self._lost = rank, patience, lost
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        # A connection of our own: the process group's may be waited on by the main thread for long.
        server = TCPStore(
            address, port, is_master=False, timeout=timedelta(seconds=patience), wait_for_workers=False
        )
        self._store = PrefixStore(f"pcclip {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", server)
        here = Place.here()
        self._store.set(f"place {rank}", f"{here.process} {here.host}")
        self._store.set(f"beat {rank}", "0")
        self.places: dict[int, Place] = {}
        for other in range(world):
            process, host = self._store.get(f"place {other}").decode().split(" ", 1)
            self.places[other] = Place(host, int(process))
        watched = range(1, world) if rank == 0 else [0]
        now = time.monotonic()
        self._seen = dict.fromkeys(watched, (b"0", now))
        self._reached = now
        self._told = ""
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=work, name=f"heartbeat{work.__name__}", daemon=True)
            for work in (self._beat, self._judge)
        ]
        for thread in self._threads:
            thread.start()

    def ended(self) -> list[int]:
        """Ranks whose processes are seen from here to be gone."""
        return [rank for rank, place in self.places.items() if rank != self.rank and place.has_ended()]

    def tell(self, message: str) -> None:
        """Let all ranks know why this one stops."""
        self._say(f"{self.rank} {message}")

    def end(self) -> None:
        """This rank needs the others no more, nor they it."""
        if not self._over.is_set():
            self._over.set()
            self._say(None)
            for thread in self._threads:  # one that comes back from the store as Python ends would abort us
                if thread is not threading.current_thread():
                    thread.join(2)

    def told(self) -> str:
        """What a rank said when it stopped; empty if none did."""
        return self._told

    def _say(self, message: str | None) -> None:
        def say() -> None:
            try:
                self._store.set(*(("verdict", message) if message else (f"beat {self.rank}", _OVER)))
            except RuntimeError:
                return  # the first rank has gone, and the store with it

        speaker = threading.Thread(target=say, daemon=True)
        speaker.start()
        speaker.join(2)  # a store that hangs must not hang us

    def _beat(self) -> None:
        count = 0
        while not self._over.wait(_EVERY):
            count += 1
            try:
                self._store.set(f"beat {self.rank}", str(count))
                if self._store.check(["verdict"]):
                    self._told = self._store.get("verdict").decode()
                beats = self._store.multi_get([f"beat {other}" for other in self._seen])
            except RuntimeError:
                return  # a broken connection stays so; `_judge` counts the seconds
            now = time.monotonic()
            self._reached = now
            for other, beat in zip(self._seen, beats, strict=True):
                if beat != self._seen[other][0]:
                    self._seen[other] = (beat, now)

    def _judge(self) -> None:
        looked = time.monotonic()
        while not self._over.wait(1):
            slept = time.monotonic() - looked - 1
            looked += slept + 1
            if slept > _EVERY:  # this process itself was stopped: the others may have said much meanwhile
                self._reached += slept
                self._seen = {other: (beat, when + slept) for other, (beat, when) in self._seen.items()}
            if message := self._message():
                self._over.set()
                if self.rank == 0 and not self._told:
                    self._say(f"0 {message}")
                self._lost(message)

    def _message(self) -> str:
        if self._told:
            rank, message = self._told.split(" ", 1)
            return message if int(rank) == 0 else f"rank {rank} stopped: {message}"
        now = time.monotonic()
        if all(beat == _OVER.encode() for beat, _ in self._seen.values()):
            return ""
        if now - self._reached > self.patience:
            return f"the first rank ({self.places[0]}) has not answered for {self.patience:.0f} s"
        for other, (beat, when) in self._seen.items():
            if beat != _OVER.encode():
                if now - when > self.patience:
                    what = f"has not been heard of for {self.patience:.0f} s: it hangs, or the network is cut"
                    return f"rank {other} ({self.places[other]}) {what}"
                if now - when > 3 * _EVERY and self.places[other].has_ended():
                    return f"rank {other} ({self.places[other]}) has ended"
        return ""
