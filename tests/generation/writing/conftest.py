from collections.abc import Callable, Iterator

import pytest
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
