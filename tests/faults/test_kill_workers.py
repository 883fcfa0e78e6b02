"""A process that reads data is killed: the main one ends with a message in seconds, and its work goes on."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import pytest

from tests.faults.kill_worlds import World, begun, outcome, words_of, work_of
from tests.faults.kill_zygote import Zygote

FULL = os.environ.get("PCCLIP_FAULTS") == "full"
_EMPTY, _PROBE = hashlib.sha256().hexdigest(), re.compile(r"tmp/tmp[a-z0-9_]{8}")


@pytest.mark.parametrize("verb", ["bank", "fit"] if FULL else ["bank"])
def test_a_killed_worker_ends_the_work_with_a_message_and_it_goes_on(
    verb: str, world: World, zygote: Zygote, undisturbed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = work_of(verb, world)
    folder = begun(work, tmp_path / "killed")
    whole, expected = undisturbed(verb)
    ended = zygote.run(words_of(work, folder), folder, at=whole.events // 3, to="worker")
    assert ended.status == 1, ended.said
    assert ended.heard is not None
    assert ended.heard < 30
    assert "a process that reads data has died" in ended.said
    assert "Traceback" not in ended.said
    assert not (folder / work.last).exists()
    again = zygote.run(words_of(work, folder), folder)
    assert again.status == 0, again.said
    assert _but_probes(outcome(folder)) == expected
    with capsys.disabled():
        print(f"\n{verb}: a killed worker ended it after {ended.heard:.1f} s; outcome equal")


def _but_probes(found: dict[str, str]) -> dict[str, str]:
    """Without the empty files by which torch's loader, when a worker is lost, sees whether it may open more.

    The signal of the worker's end can come while it makes one; that one stays.
    """
    return {name: digest for name, digest in found.items() if digest != _EMPTY or not _PROBE.fullmatch(name)}
