"""Two network namespaces, joined by a cable, as two hosts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest


def _ip(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=False)


class Host:
    """A network of its own with one interface."""

    def __init__(self, name: str, number: int, folder: Path) -> None:
        self.name, self.number, self.folder = name, number, folder
        self.interface, self.address = f"pcc{os.getpid() % 10000}{number}", f"10.77.13.{number + 1}"
        folder.mkdir(parents=True, exist_ok=True)

    def run(self, words: Sequence[str], log: Path, **more: str) -> subprocess.Popen[bytes]:
        """Starts a program on this host, in its own folder, temporary files included."""
        environment = {
            **os.environ,
            "GLOO_SOCKET_IFNAME": self.interface,
            "OMP_NUM_THREADS": "1",
            "TMPDIR": str(self.folder),
            "PYTHON": sys.executable,
            "NODE": str(self.number),
            **more,
        }
        with log.open("wb") as out:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.name, *words],
                stdout=out,
                stderr=out,
                cwd=self.folder,
                env=environment,
                start_new_session=True,
            )


@contextmanager
def two_hosts(folder: Path) -> Iterator[tuple[Host, Host]]:
    """Makes them, and leaves nothing behind; skips the test where that is not allowed."""
    names = [f"pcclip-{os.getpid()}-{side}" for side in "ab"]
    hosts = Host(names[0], 0, folder / "a"), Host(names[1], 1, folder / "b")
    try:
        made = _ip("netns", "add", names[0])
    except FileNotFoundError:
        pytest.skip("there is no `ip` (iproute2) to make network namespaces with")
    try:
        if made.returncode:
            pytest.skip(f"network namespaces cannot be made here: {made.stderr.strip()}")
        a, b = (host.interface for host in hosts)
        steps = [("netns", "add", names[1]), ("link", "add", a, "type", "veth", "peer", "name", b)]
        for host in hosts:
            steps += [
                ("link", "set", host.interface, "netns", host.name),
                ("-n", host.name, "addr", "add", f"{host.address}/24", "dev", host.interface),
                ("-n", host.name, "link", "set", host.interface, "up"),
                ("-n", host.name, "link", "set", "lo", "up"),
            ]
        for step in steps:
            done = _ip(*step)
            if done.returncode:
                pytest.skip(f"ip {' '.join(step)}: {done.stderr.strip()}")
        yield hosts
    finally:
        for host in hosts:
            _ip("netns", "del", host.name)  # with its end of the cable


def cut(host: Host) -> None:
    """Pulls the cable out: packets are lost, and nobody is told."""
    assert _ip("-n", host.name, "link", "set", host.interface, "down").returncode == 0
