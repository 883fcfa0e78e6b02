"""Shared fixtures: a free port, the folder of real data; how tests are shared among processes (`-n`)."""

from __future__ import annotations

import gc
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from xdist.scheduler import LoadFileScheduling

# Files whose tests start from one world that takes long to make: one process makes it, and runs them all.
_WORLDS = {
    "a fit": "tests/cli/test_(bad_input|dashboard|evaluate_run|evaluation_over_ranks|fit|mistakes"
    "|report_of_runs|stops_and_ranks).py",
    "kills": "tests/faults/test_kill_(anytime|stops|twins|workers).py",
    "damage": "tests/faults/test_(clock|damage|full_disk|read_only).py",
}
_LONG = re.compile(r"tests/(cli|faults)/")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture
def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with coco/, eurosat/, differences/...; set PCCLIP_TEST_DATA to run these tests."""
    folder = os.environ.get("PCCLIP_TEST_DATA")
    if not folder:
        pytest.skip("PCCLIP_TEST_DATA is unset: no real data to test on")
    return Path(folder)


def _unit(nodeid: str) -> str:
    """What is run in one process: a file, or all that share a world."""
    file = nodeid.split("::")[0]
    return next((world for world, files in _WORLDS.items() if re.fullmatch(files, file)), file)


@pytest.hookimpl(hookwrapper=True)
def pytest_collection() -> Iterator[None]:
    """Imports a lot that stays: the garbage collector does not hold it up."""
    gc.disable()
    yield
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first, so that short ones fill the end and no process waits for another."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        slow = {_unit(item.nodeid) for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: _unit(item.nodeid) not in slow and not _LONG.match(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    """`--dist loadfile` by units, in the order of collection; xdist's own puts files of few tests last."""
    from xdist.scheduler import LoadFileScheduling

    class Units(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _unit(nodeid)

    if config.getoption("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False
    return Units(config, log)
