"""Read-only folders: what is read works from there, what is written says so in one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pcclip.cli import main
from tests.faults.damage_world import run, world
from tests.faults.small_disks import needs_mounts, read_only
from tests.faults.test_full_disk import work

pytestmark = needs_mounts()


def test_data_bank_model_and_run_may_lie_on_read_only_media(tmp_path: Path) -> None:
    place = world() / "round"
    for cache in place.rglob(".pcclip-cache"):  # so that the indexes cannot even be kept
        shutil.rmtree(cache)
    photos, cached = str(place / "photos"), f"--cache_dir={tmp_path / 'cache'}"
    with read_only(world()):
        fit = ["fit", f"--config={place / 'fit.yaml'}", f"--runs={tmp_path}", "--trainer.max_steps=1"]
        assert main([*fit, "--trainer.callbacks=null"]) == 0
        assert main(["rank", photos, "it is larger", f"--model={run()}", cached]) == 0
        for part in (run(), place / "bank", place / "written/triples"):
            assert main(["inspect", str(part)]) == 0


@pytest.mark.parametrize("verb", ["prepare", "write", "bank", "fit", "export", "evaluate"])
def test_an_output_that_is_read_only_is_named_in_one_line(
    verb: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "out"
    if verb == "evaluate":
        shutil.copytree(run(), place, ignore=shutil.ignore_patterns("results", "checkpoints"))
        place = place / "results/soak"
    place.mkdir(parents=True, exist_ok=True)
    with read_only(place):
        words, _ = work(verb, place)
        assert main([verb, *words]) == 1
        told = [line for line in capfd.readouterr().err.splitlines() if line.startswith(f"pcclip {verb}:")]
        assert len(told) == 1, told
        assert str(place) in told[0], told
        assert "ead-only" in told[0], told
        assert list(place.iterdir()) == []


def test_a_cache_that_is_read_only_stops_nothing_or_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache"
    shutil.copytree(world() / "round/cache", cache)
    known = [
        "rank",
        str(world() / "round/photos"),
        "it is larger",
        f"--model={run()}",
        f"--cache_dir={cache}",
    ]
    new = [*known[:2], "it is brighter than ever", *known[3:]]
    with read_only(cache):
        assert main(known) == 0  # all embeddings are kept there
        if main(new):
            assert str(cache) in capfd.readouterr().err
