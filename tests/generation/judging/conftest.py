import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "writing"))  # jobs.py, parrot.py

from parrot import Misbehaviour, Parrot


@pytest.fixture
def parrot() -> Iterator[Callable[[Misbehaviour | None], Parrot]]:
    """Starts servers on loopback, and stops them after the test."""
    started: list[Parrot] = []

    def make(misbehave: Misbehaviour | None = None) -> Parrot:
        started.append(Parrot(misbehave))
        return started[-1]

    yield make
    for server in started:
        server.close()
