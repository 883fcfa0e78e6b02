"""What killed processes leave is taken over, and what living ones hold is not."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

import pcclip.runs
from pcclip.data.files import write_atomically
from pcclip.errors import PcclipError
from pcclip.folders import whole_folder
from pcclip.runs import claim, hold, let_go


def _elsewhere(function, *args) -> int | None:
    """The exit status of a process that calls a function."""
    process = multiprocessing.get_context("fork").Process(target=function, args=args)
    process.start()
    process.join()
    return process.exitcode


def test_a_temporary_file_of_a_killed_writer_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / ".a.json.tmp").write_bytes(b"half of something longer")
    write_atomically(tmp_path / "a.json", b"whole")
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_bytes() == b"whole"


def _write_often(path: Path, letter: bytes) -> None:
    for _ in range(200):
        write_atomically(path, letter * 10_000)


def test_two_writers_of_one_file_leave_one_of_their_contents_and_nothing_else(tmp_path: Path) -> None:
    start = multiprocessing.get_context("fork").Process
    both = [start(target=_write_often, args=(tmp_path / "a", letter)) for letter in (b"x", b"y")]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() in (b"x" * 10_000, b"y" * 10_000)


def _make(folder: Path) -> None:
    try:
        with whole_folder(folder):
            os._exit(7)
    except PcclipError as error:
        os._exit(3 if "another process makes this folder" in str(error) else 4)


def test_a_folder_of_a_killed_maker_is_cleared_and_a_living_ones_is_refused(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "made") as partial:
        (partial / "file").write_text("one")
        assert _elsewhere(_make, tmp_path / "made") == 3
    assert _elsewhere(_make, tmp_path / "next") == 7
    (tmp_path / ".next.partial" / "left").write_text("of a killed one")
    with whole_folder(tmp_path / "next") as partial:
        assert not list(partial.iterdir())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["made", "next"]
    with pytest.raises(PcclipError, match="exists already"), whole_folder(tmp_path / "made"):
        pass


def _claim_and_die(runs: str, name: str) -> None:
    pcclip.runs._held.clear()  # of the process that it was forked from
    os._exit(0 if claim(runs, "some") == name else 1)


def test_an_empty_run_folder_of_a_killed_start_is_claimed_again(tmp_path: Path) -> None:
    runs = str(tmp_path)
    for _ in range(2):
        assert _elsewhere(_claim_and_die, runs, "v000") == 0
    try:
        assert claim(runs, "some") == "v000"
        assert _elsewhere(_claim_and_die, runs, "v001") == 0  # the first is ours, though empty
    finally:
        let_go()
    (tmp_path / "some" / "v000" / "config.yaml").touch()
    assert _elsewhere(_claim_and_die, runs, "v001") == 0  # the first has begun: `resume` goes on with it


def _hold(run: Path) -> None:
    pcclip.runs._held.clear()
    pcclip.runs._ORPHANS = 0.1
    try:
        hold(run)
    except PcclipError as error:
        os._exit(3 if "another process works in this run folder" in str(error) else 4)
    os._exit(0)


def test_a_run_folder_has_one_process(tmp_path: Path) -> None:
    hold(tmp_path / "run")
    assert _elsewhere(_hold, tmp_path / "run") == 3
    let_go()
    assert _elsewhere(_hold, tmp_path / "run") == 0
