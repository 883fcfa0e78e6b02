"""What the tests of kills and stops share."""

from collections.abc import Iterator

import pytest

from tests.faults.kill_worlds import World, make_world
from tests.faults.kill_zygote import Zygote


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    with Zygote() as started:
        yield started
