"""Damaged files are refused by name, or made again; what does not show when it is used shows by `inspect`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pcclip.inspection import inspect
from tests.faults.damage import try_all
from tests.faults.damage_kinds import KINDS, equal

FULL = os.environ.get("PCCLIP_FAULTS") == "full"


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.timeout(3600)
def test_damage_is_refused_by_name_or_made_good(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kind = KINDS[name]
    place = tmp_path / "copy"
    shutil.copytree(kind.folder(), place)
    (file,) = sorted(place.glob(kind.file))[:1]
    flips = (60 if kind.slow else 500) if FULL else (2 if kind.slow else 8)
    check = None if kind.sure else lambda: inspect(str(place), samples=0)
    tally = try_all(file, lambda: kind.use(place), equal, check, flips)
    counts = ", ".join(f"{what} {tally.counts[what]}" for what in ("tried", "refused", "same", "differs"))
    with capsys.disabled():
        print(f"\n{name}: {counts}", end=" ")
    assert not tally.undetected
