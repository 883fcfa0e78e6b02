"""`pcclip fit` from object storage and HTTP: the same losses as from a folder."""

import json
import logging
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from fitting import STEPS, command, fit_words, losses
from ranked import PLAIN, assert_same, moved

from pcclip.cli import main
from pcclip.data.records import Triple
from pcclip.data.shards import ShardIndex, ShardSetWriter, resolve_shards
from tests.data.remote.serving_shards import Behaviour, s3_server, served, upload, watched

QUICK = [
    "--data.shuffle_shards=2",
    "--data.batch_size=8",
    "--trainer.callbacks=[]",
    "--trainer.val_check_interval=null",
]


@pytest.fixture(scope="module")
def many(place) -> Path:
    """The training triples, in shards of ten."""
    folder = place / "many"
    with ShardSetWriter(folder, "triples", records_per_shard=10) as writer:
        for path in resolve_shards(place / "data/triples/train"):
            index = ShardIndex.load(path)
            for record in range(min(len(index), 80)):
                members = index.read_record(record)
                pictures = [members[name] for name in sorted(members) if name[0] in "12"]
                extension = next(name.split(".")[1] for name in members if name[0] == "1")
                triple = Triple.parse(index.key(record), members["json"], path)
                writer.write_triple(triple, *pictures, extension=extension)
    return folder


def _words(place, version, triples, *more):
    validation = f"--data.validation_triples={triples}"
    return fit_words(place, version, f"--data.triples={triples}", validation, *QUICK, *PLAIN, *more)


@pytest.fixture(scope="module")
def expected(place, many) -> dict[int, float]:
    assert main(_words(place, "from-folder", many)) == 0
    return losses(place / "runs/small/from-folder")


def _limit(many, shards):
    return sum(sorted(p.stat().st_size for p in many.glob("*.tar"))[-shards:]) + 1


@pytest.mark.slow
def test_a_fit_from_s3_in_a_cache_smaller_than_the_set_is_killed_and_resumed(place, many, expected, caplog):
    shards = len(list(many.glob("*.tar")))
    assert shards >= 6
    cache, limit, run = place / "s3-cache", _limit(many, 4), place / "runs/small/from-s3"
    with s3_server("fits") as (_, client), watched(cache) as most:
        url = upload(client, many, "fits", "train")
        more = [f"--data.remote.cache_dir={cache}", f"--data.remote.cache_gb={limit / 1e9}"]
        process = subprocess.Popen(
            command(place, *_words(place, "from-s3", url, *more)), cwd=Path.cwd(), start_new_session=True
        )
        checkpoint = run / "checkpoints/last.ckpt"
        deadline = time.monotonic() + 200
        while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL, "the fit ended before it was killed"
        caplog.clear()
        with caplog.at_level(logging.INFO):
            assert main(["resume", str(run)]) == 0
    resumed = losses(run)
    assert STEPS - 1 in resumed
    assert resumed == {step: expected[step] for step in resumed}
    assert 0 < most[0] <= limit
    said = caplog.messages
    config = (run / "config.yaml").read_text()
    assert "hush" not in config + "".join(said)
    assert url in config
    counted = [line for line in said if line.startswith("shards at URLs:")][-1]
    evicted = int(counted.split(" evicted")[0].rsplit(" ", 1)[1].replace(",", ""))
    assert evicted > 0, counted


@pytest.mark.slow
def test_two_ranks_download_each_shard_once_and_train_as_from_the_folder(place, many, expected):
    behaviour, cache = Behaviour(delay_s=0.02, every=(4, "drop:1500")), place / "shared-cache"
    with served(many, behaviour) as url:
        two = ["--trainer.devices=2", "--trainer.strategy=ddp", "--data.batch_size=4"]
        more = [f"--data.remote.cache_dir={cache}", "--data.remote.max_wait_s=0.2"]
        words = command(place, *_words(place, "two-remote", url, *two, *more))
        done = subprocess.run(words, capture_output=True, text=True, timeout=280, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
    lines = [line for line in done.stderr.splitlines() if line.startswith("shards at URLs:")]
    assert len(lines) == 1  # for both ranks
    fetched = int(lines[0].split(" fetched")[0].rsplit(" ", 1)[1])
    # What is read ahead when the fit ends is left as it is.
    assert STEPS * 8 / 10 <= fetched <= len(list(cache.glob("*.tar")))
    for shard in many.glob("*.tar"):  # no byte twice, dropped connections and all
        assert behaviour.sent[shard.name] <= shard.stat().st_size
    assert "1,500 of" in done.stderr
    assert len(expected) == STEPS
    run, alone = (place / "runs/small" / version for version in ("two-remote", "from-folder"))
    assert_same(run, alone)  # losses of every step and final weights at 1e-5
    assert moved(run, place) > 1e-2


def test_secrets_and_a_cache_too_small_stop_a_fit_before_its_first_step(place, many, capsys):
    assert main(_words(place, "secret", "https://me:hush@host/set")) == 1
    assert "hush" not in capsys.readouterr().err
    assert not list((place / "runs/small").glob("secret/config.yaml"))
    with served(many) as url:
        small = [f"--data.remote.cache_gb={_limit(many, 1) / 1e9}", f"--data.remote.cache_dir={place / 'c'}"]
        assert main(_words(place, "too-small", url, *small)) == 1
    error = capsys.readouterr().err
    assert "Raise data.remote.cache_gb" in error
    assert json.loads((many / "set.json").read_text())["records"] >= 60
