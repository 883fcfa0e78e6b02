"""On a full disk a command says so in one line; with room made, it goes on to the same bytes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from pcclip.cli import main
from tests.faults.damage_world import run, world
from tests.faults.small_disks import make_room, needs_mounts, small_disk

pytestmark = needs_mounts()
FULL = os.environ.get("PCCLIP_FAULTS") == "full"
ROOM = 150_000
WEIGHTS = "open_clip_model.safetensors"
Work = tuple[list[str], Callable[[], dict[str, bytes]]]
_OF_A_FIT = (WEIGHTS, "interpolation.json", "fit/tuned/*.npz")


def files(folder: Path, patterns: Iterable[str] = ("*",)) -> dict[str, bytes]:
    """Contents by name; caches and locks apart."""
    found = sorted(file for pattern in patterns for file in folder.rglob(pattern) if file.is_file())
    kept = (
        file for file in found if not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )
    return {str(file.relative_to(folder)): file.read_bytes() for file in kept}


def work(verb: str, disk: Path) -> Work:
    """The command of the world's own round with its output on a disk, and a look at what it makes."""
    place, base = world() / "round", f"local-dir:{world() / 'base'}"
    sets = json.dumps([str(place / "data/pictures/train"), str(place / "data/pictures/validation")])
    match verb:
        case "prepare":
            words = [f"--config={place / 'prepare.yaml'}", f"--out={disk / 'data'}"]
            return words, lambda: files(disk / "data")
        case "write":
            words = [f"--config={place / 'write.yaml'}", f"--out={disk / 'written'}"]
            return words, lambda: files(disk / "written")
        case "bank":
            words = [f"--pictures={sets}", f"--out={disk / 'bank'}", f"--name={base}", "--num_workers=0"]
            return words, lambda: files(disk / "bank")
        case "fit":
            words = [f"--config={place / 'fit.yaml'}", f"--runs={disk}", "--version=v000"]
            return words, lambda: files(disk / "soak/v000", _OF_A_FIT)
        case "evaluate":
            words = [f"--config={place / 'evaluate.yaml'}", f"--runs=[{disk.parents[1]}]"]
            return words, lambda: files(disk, ("*.npz",))
        case "export":
            return [str(run()), f"--out={disk / 'exported'}"], lambda: files(disk / "exported")
    words = [str(place / "photos"), "it is larger", f"--model={run()}", f"--cache_dir={disk}"]
    words += ["--compare=base", f"--csv={disk / 'order.csv'}"]
    return words, lambda: files(disk, ("order.csv",))


def undisturbed(verb: str) -> dict[str, bytes]:
    """What the command makes where nobody disturbs it."""
    place = world() / "round"
    return {
        "prepare": lambda: files(place / "data"),
        "write": lambda: files(place / "written"),
        "bank": lambda: files(place / "bank"),
        "fit": lambda: files(run(), _OF_A_FIT),
        "evaluate": lambda: files(run() / "results/soak", ("*.npz",)),
        "export": lambda: files(place / "exported"),
        "rank": lambda: files(place, ("order.csv",)),
    }[verb]()


ROOMS = {
    "prepare": (40, 250, range(24, 800, 24)),
    "write": (24, 150, range(16, 800, 24)),
    "bank": (12, 24, range(4, 60, 4)),
    "fit": (1_500, 20_000, range(8, 45_000, 1_500)),
    "evaluate": (24, 64, range(4, 400, 12)),
    "export": (6_000, 14_000, range(500, 30_000, 1_500)),
    "rank": (8, 12, range(4, 60, 4)),
}


@pytest.mark.parametrize("verb", ROOMS if FULL else ("write", "bank", "export", "rank"))
@pytest.mark.timeout(3600)
def test_a_full_disk_is_said_in_one_line_and_with_room_the_work_goes_on(
    verb: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    expected, refused = undisturbed(verb), 0
    *few, many = ROOMS[verb]
    rooms = many if FULL else few
    for kib in rooms:
        place = tmp_path / f"disk{kib}"
        if verb == "evaluate":
            shutil.copytree(run(), place, ignore=shutil.ignore_patterns("results", "checkpoints"))
            place = place / "results/soak"
        with small_disk(place, kib) as disk:
            words, found = work(verb, disk)
            capfd.readouterr()
            if main([verb, *words]):
                refused += 1
                told = [
                    line for line in capfd.readouterr().err.splitlines() if line.startswith(f"pcclip {verb}:")
                ]
                assert len(told) == 1, told
                assert "the disk is full" in told[0] or "No space left" in told[0], told
                assert str(disk) in told[0], told
                make_room(disk, ROOM)
                started = disk / "soak/v000"
                again = ["resume", str(started)] if (started / "config.yaml").exists() else [verb, *words]
                assert main(again) == 0, capfd.readouterr().err[-2000:]
            now = found()
            assert now.keys() == expected.keys(), kib
            assert [name for name in now if now[name] != expected[name]] == [], kib
    with capfd.disabled():
        print(f"\n{verb}: {len(rooms)} disks, {refused} too small", end=" ")
    assert refused
