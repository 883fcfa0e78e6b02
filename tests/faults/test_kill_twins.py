"""The same command twice at the same moment: one works, the other waits or is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.kill_worlds import VERBS, World, begun, outcome, words_of, work_of
from tests.faults.kill_zygote import Zygote

FULL = os.environ.get("PCCLIP_FAULTS") == "full"
REFUSED = ("another process", "another job", "exists already")


@pytest.mark.parametrize("verb", VERBS if FULL else ("bank",))
@pytest.mark.timeout(600)
def test_two_at_once_make_what_one_makes(
    verb: str, world: World, zygote: Zygote, undisturbed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = work_of(verb, world)
    folder = begun(work, tmp_path / "both")
    _, expected = undisturbed(verb)
    both = zygote.run_all(words_of(work, folder), folder, 2)
    assert 0 in {one.status for one in both}, [one.said for one in both]
    for one in both:
        if one.status:
            assert one.status == 1
            assert any(told in one.said for told in REFUSED), one.said
            assert "Traceback" not in one.said
    assert outcome(folder) == expected
    with capsys.disabled():
        refused = [one.said.strip().splitlines()[-1] for one in both if one.status]
        told = f"one was refused: {refused[0]!r}" if refused else "both ended well, one after the other"
        print(f"\n{verb}, twice at once: {told}; outcome equal")
