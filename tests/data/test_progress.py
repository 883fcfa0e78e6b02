"""Progress: bars on a terminal, lines elsewhere, and only of what takes seconds."""

import os
import pty
import subprocess
import sys
import time

import pytest

from pcclip.data import progress
from pcclip.data.progress import Lines, clock, progress_bar

SHOW = """
import time
from pcclip.data.progress import progress_bar
with progress_bar() as outer:
    task = outer.add_task("sets", total=2)
    for _ in range(2):
        with progress_bar(transient=True) as inner:
            part = inner.add_task("pictures", total=3)
            for _ in range(3):
                time.sleep(0.05)
                inner.advance(part)
        outer.advance(task)
"""


def on_a_terminal(script: str = SHOW, stdout=None, **environment: str) -> str:
    master, slave = pty.openpty()
    env = os.environ | {"TERM": "xterm", "COLUMNS": "80", "CI": ""} | environment
    with subprocess.Popen([sys.executable, "-c", script], stdout=stdout, stderr=slave, env=env) as process:
        os.close(slave)
        read = b""
        while True:
            try:
                part = os.read(master, 4096)
            except OSError:  # Linux says so where the other end is closed
                break
            if not part:
                break
            read += part
    os.close(master)
    assert process.returncode == 0
    return read.decode()


def test_a_terminal_has_bars_and_a_ci_none():
    drawn = on_a_terminal()
    assert "\x1b[" in drawn
    assert "pictures" in drawn
    assert "2/2" in drawn
    assert on_a_terminal(CI="1") == ""
    assert on_a_terminal(TERM="dumb") == ""


@pytest.fixture
def hurried(monkeypatch):
    """Seconds pass twenty times as fast."""
    for name in ("_FIRST_SECONDS", "_EVERY_SECONDS", "_LONG_SECONDS"):
        monkeypatch.setattr(progress, name, getattr(progress, name) / 20)


def test_lines_tell_how_far_and_how_long_still(hurried, capsys):
    with progress_bar() as lines:
        assert isinstance(lines, Lines)
        task = lines.add_task("rows", total=1000)
        for _ in range(8):
            time.sleep(0.05)
            lines.advance(task, 125)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert said[0].startswith("rows: ")
    assert " of 1,000, " in said[0]
    assert said[0].endswith(" left")
    assert said[1].startswith("rows: 1,000 of 1,000, ")
    assert said[1].endswith("in 0:00")
    assert not any("\x1b" in line for line in said)


def test_what_is_quick_or_hidden_says_nothing(capsys):
    for show in (True, False):
        with progress_bar(show) as lines:
            task = lines.add_task("rows", total=2)
            lines.advance(task, 2)
    assert capsys.readouterr().err == ""


def test_clock():
    assert [clock(s) for s in (0, 7.4, 62, 3723)] == ["0:00", "0:07", "1:02", "1:02:03"]


def test_what_is_read_is_told_in_megabytes(monkeypatch, tmp_path, capsys):
    from pcclip.checksums import sha256_of

    monkeypatch.setattr(progress, "_LONG_SECONDS", 0.0)
    files = [tmp_path / name for name in "ab"]
    for file in files:
        file.write_bytes(b"\0" * 2_500_000)
    with progress.reading(files) as read:
        sums = {sha256_of(file, read) for file in files}
    assert len(sums) == 1
    assert capsys.readouterr().err.startswith("checksums, MB: 5 of 5, ")


def test_what_is_printed_under_a_bar_reaches_its_file(tmp_path):
    """Standard error is a terminal, standard output is not."""
    script = SHOW.replace("inner.advance(part)", "inner.advance(part); print('a result')")
    with (tmp_path / "out").open("w") as out:
        assert "2/2" in on_a_terminal(script, out)
    assert (tmp_path / "out").read_text() == "a result\n" * 6
