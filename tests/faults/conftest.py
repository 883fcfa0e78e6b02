"""What the tests of kills and stops share."""

from collections.abc import Callable, Iterator

import pytest

from tests.faults.kill_worlds import World, begun, make_world, outcome, words_of, work_of
from tests.faults.kill_zygote import Ended, Zygote


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    with Zygote() as started:
        yield started


@pytest.fixture(scope="session")
def undisturbed(
    world: World, zygote: Zygote, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Ended, dict[str, str]]]:
    """How a verb's work ends that nobody disturbs, and its outcome."""
    known: dict[str, tuple[Ended, dict[str, str]]] = {}

    def of(verb: str) -> tuple[Ended, dict[str, str]]:
        if verb not in known:
            work = work_of(verb, world)
            folder = begun(work, tmp_path_factory.mktemp("whole") / verb)
            ended = zygote.run(words_of(work, folder), folder)
            assert ended.status == 0, ended.said
            known[verb] = ended, outcome(folder)
        return known[verb]

    return of
