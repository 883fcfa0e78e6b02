"""Embedding that is stopped, or wanted by several at once."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from planted import load_prepared, pictures, write
from slow_embedding import slow_features

SCRIPT = Path(__file__).with_name("slow_embedding.py")
COUNT = 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("planted"), pictures(COUNT))


def start(folder: Path, cache: Path, seconds: float) -> subprocess.Popen[str]:
    words = [sys.executable, SCRIPT, folder, cache, str(seconds)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def partial(cache: Path) -> Path | None:
    return next(iter(cache.glob(".features-*.partial")), None)


@pytest.fixture(scope="module")
def killed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache that a process leaves which was killed in the middle."""
    cache = tmp_path_factory.mktemp("killed") / "cache"
    with start(folder, cache, 0.3) as process:
        while process.poll() is None:
            left = partial(cache)
            if left is not None and left.stat().st_size > 128 + 2 * 10 * 12 * 4:
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert partial(cache) is not None
    assert not list(cache.glob("features-*"))  # nothing that would be taken for complete
    return cache


@pytest.mark.parametrize("damage", ["none", "half a row", "zeros", "no header"])
def test_a_killed_embedding_goes_on(folder: Path, killed: Path, tmp_path: Path, damage: str):
    shutil.copytree(killed, tmp_path / "cache")
    left = partial(tmp_path / "cache")
    assert left is not None
    content = left.read_bytes()
    rows = (len(content) - 128) // 48
    if damage == "half a row":
        left.write_bytes(content[:-20])
        rows = (len(content) - 20 - 128) // 48
    elif damage == "zeros":
        left.write_bytes(content[:-96] + bytes(96))
        rows = (len(content) - 128) // 48 - 2
    elif damage == "no header":
        left.write_bytes(content[5:])
        rows = 0
    features, made = slow_features(folder, tmp_path / "cache", 0)
    assert made == COUNT - rows // 10 * 10  # whole batches: others would have other last bits
    expected, _ = slow_features(folder, tmp_path / "fresh", 0)
    assert np.array_equal(features, expected)
    assert partial(tmp_path / "cache") is None
    assert slow_features(folder, tmp_path / "cache", 0)[1] == 0


def test_two_processes_make_each_embedding_once(folder: Path, tmp_path: Path):
    both = [start(folder, tmp_path / "cache", 0.1) for _ in range(2)]
    made = [int(process.communicate()[0]) for process in both]
    assert sorted(made) == [0, COUNT]
    left = [file for file in (tmp_path / "cache").iterdir() if file.suffix != ".lock"]
    assert [file.name[:9] for file in left] == ["features-"]  # no part left


def test_kept_digests_are_not_those_of_a_changed_shard(tmp_path: Path):
    made = pictures(12)
    one, other = write(tmp_path / "one", made), write(tmp_path / "other", made[::-1])
    expected = load_prepared(other, "test").fingerprint()
    before = load_prepared(one, "test").fingerprint()
    assert load_prepared(one, "test").fingerprint() == before  # from what is kept beside the shard
    assert before != expected
    for shard in (other / "pictures" / "test").glob("*.tar"):
        shutil.copyfile(shard, one / "pictures" / "test" / shard.name)
    assert load_prepared(one, "test").fingerprint() == expected
