"""A clock that jumps hangs nothing, makes nothing stale and changes no result."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from pathlib import Path

import pytest

from pcclip.cli import main
from pcclip.evaluation.finished import finished_runs
from pcclip.generation.writers.openai_server import _retry_after
from tests.faults.damage_world import run, world
from tests.faults.test_full_disk import FULL, files, undisturbed, work

HOUR, DECADE = 3600.0, 3650 * 86_400.0


@pytest.fixture
def jumping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock is an hour off either way, or ten years."""
    right, rng = time.time, random.Random(0)
    monkeypatch.setattr(time, "time", lambda: right() + rng.choice((-HOUR, HOUR, DECADE, 0.0)))
    monkeypatch.setattr(time, "time_ns", lambda: int(time.time() * 1e9))


@pytest.mark.skipif(not FULL, reason="PCCLIP_FAULTS=full runs it")
@pytest.mark.usefixtures("jumping")
@pytest.mark.parametrize("verb", ["write", "fit"])
def test_work_under_a_jumping_clock_ends_as_ever(verb: str, tmp_path: Path) -> None:
    words, found = work(verb, tmp_path)
    assert main([verb, *words]) == 0
    assert found() == undisturbed(verb)


@pytest.mark.parametrize("jump", [HOUR, -HOUR, DECADE, -DECADE])
def test_files_from_the_future_or_the_past_are_neither_stale_nor_fresh(
    jump: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    triples, photos = tmp_path / "triples", tmp_path / "photos"
    shutil.copytree(world() / "round/written/triples", triples)
    shutil.copytree(world() / "round/photos", photos)
    then = time.time() + jump
    for file in (*triples.glob("*.tar"), *photos.iterdir()):
        os.utime(file, (then, then))
    rank = ["rank", str(photos), "it is larger", f"--model={run()}", f"--cache_dir={tmp_path / 'cache'}"]
    orders = []
    for _ in range(2):  # the second time from what is kept
        assert main(["inspect", str(triples)]) == 0
        assert main([*rank, f"--csv={tmp_path / 'order.csv'}"]) == 0
        orders.append((tmp_path / "order.csv").read_bytes())
    assert orders[0] == orders[1]
    kept = files(tmp_path / "cache", ("index.npz",))
    assert main(rank) == 0
    assert files(tmp_path / "cache", ("index.npz",)) == kept


def test_the_newest_run_is_the_one_with_the_highest_number_whatever_the_clock_said(tmp_path: Path) -> None:
    summary = {"schema": 1, "experiment": "e", "seed": 0, "base": {}, "tuned": {}}
    for name, age in (("v000", 0), ("v001", 7200), ("v002", 3600), ("mine", -DECADE)):
        file = tmp_path / name / "summary.json"
        file.parent.mkdir()
        file.write_text(json.dumps(summary))
        os.utime(file, (time.time() - age, time.time() - age))
    assert [one.folder.name for one in finished_runs([tmp_path])] == ["v002"]


@pytest.mark.parametrize("header", ["Wed, 21 Oct 2099 07:28:00 GMT", "inf", "1e300"])
def test_a_server_s_date_does_not_stop_a_job_for_years(header: str) -> None:
    assert _retry_after(header) == 3600
    assert _retry_after("nan") == _retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
