"""Work that is killed at any moment and begun again ends as if nothing had happened, byte for byte."""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.faults.kill_worlds import VERBS, World, begun, outcome, work_of
from tests.faults.kill_zygote import Ended, Zygote

KILLS = 50 if os.environ.get("PCCLIP_FAULTS") == "full" else 1


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.timeout(3600)
def test_kills_change_nothing_lose_nothing_and_leave_nothing(
    verb: str, world: World, zygote: Zygote, undisturbed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = work_of(verb, world)
    whole, expected = undisturbed(verb)
    rng = random.Random(f"kills of {verb}")
    tally, kills, times = Counter[str](), 0, 0
    while kills < KILLS:
        folder = begun(work, tmp_path / f"killed{times}")
        times += 1
        while words := work.words(folder):
            moment = _moment(whole, rng) if kills < KILLS else {}
            ended = zygote.run(words, folder, **moment)
            if not ended.killed:
                assert ended.status == 0, ended.said
                break
            kills += 1
            done = (folder / work.last).exists()
            tally["before" if not ended.events else "after" if done else "within"] += 1
        assert outcome(folder) == expected
        shutil.rmtree(folder)
    with capsys.disabled():
        where = ", ".join(f"{tally[when]} {when}" for when in ("before", "within", "after"))
        print(
            f"\n{verb}: {kills} kills ({where} its work of {whole.events} events, {whole.seconds:.1f} s) "
            f"in {times} times; outcome equal byte for byte each time"
        )


def _moment(whole: Ended, rng: random.Random) -> dict[str, Any]:
    """A moment of the undisturbed work, by count of its events or by the clock."""
    if rng.random() < 0.5:
        return {"at": rng.randint(1, whole.events)}
    return {"after": rng.uniform(0, whole.seconds)}
