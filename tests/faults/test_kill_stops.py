"""SIGTERM and Ctrl-C end every verb in time, with one line and a status; the same command goes on."""

from __future__ import annotations

import os
import random
import re
import signal
from pathlib import Path

import pytest

from tests.faults.kill_worlds import READERS, VERBS, World, begun, outcome, work_of
from tests.faults.kill_zygote import Zygote

FULL = os.environ.get("PCCLIP_FAULTS") == "full"
STOPS = 5 if FULL else 1
GRACE = 30.0  # as SLURM and Kubernetes give
NAMES = {signal.SIGTERM: "SIGTERM", signal.SIGINT: "Ctrl-C"}
EVERY = [(verb, number) for verb in (*VERBS, *READERS) for number in NAMES]
FEW = [("fit", signal.SIGTERM), ("bank", signal.SIGINT)]
TOLD = re.compile(r"^(pcclip \w+: |\S+: )?stopped .*$", re.MULTILINE)


@pytest.mark.parametrize(("verb", "number"), EVERY if FULL else FEW)
@pytest.mark.timeout(1800)
def test_a_stop_is_heard_told_and_gone_on_from(
    verb: str,
    number: signal.Signals,
    world: World,
    zygote: Zygote,
    undisturbed,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    work = work_of(verb, world)
    whole, expected = undisturbed(verb)
    rng = random.Random(f"{verb} {number}")
    folder = begun(work, tmp_path / "stopped")
    stops, slowest = 0, 0.0
    while words := work.words(folder):
        wanted = (
            {"at": rng.randint(1, whole.events), "number": number, "to": "group"} if stops < STOPS else {}
        )
        ended = zygote.run(words, folder, **wanted)
        if ended.status == 0:  # the moment lay behind what was left, or the work was all but done
            break
        stops += 1
        slowest = max(slowest, ended.heard or 0.0)
        assert ended.status == 128 + number, ended.said
        assert ended.heard is not None
        assert ended.heard < GRACE
        assert "Traceback" not in ended.said
        (told,) = TOLD.finditer(ended.said)
        assert "stopped" in told[0]
    assert outcome(folder) == expected
    with capsys.disabled():
        print(f"\n{verb}: {stops} stops by {NAMES[number]}, slowest end after {slowest:.1f} s; outcome equal")
