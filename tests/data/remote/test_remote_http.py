"""Shards over HTTP: the same batches as from the folder, whatever the connection does."""

import logging
import pickle
import subprocess
import sys
import time

import pytest

from pcclip.data.identity import identity
from pcclip.data.index import ShardIndex
from pcclip.data.records import ShardError
from pcclip.data.remote.cache import ShardCache
from pcclip.data.remote.options import RemoteOptions
from pcclip.data.sets import resolve_shards
from pcclip.errors import PcclipError
from tests.data.remote.loading import full, keys_of
from tests.data.remote.serving_shards import Behaviour, held_bytes, served, watched


def sizes(folder):
    return [path.stat().st_size for path in sorted(folder.glob("*.tar"))]


def counts(options):
    return ShardCache(options.folder, options.limit).counts()


@pytest.mark.parametrize("workers", [0, 2])
def test_the_same_batches_and_each_shard_once_per_pass(triples, options, loader, workers):
    expected = keys_of(loader(triples), epochs=2)
    behaviour = Behaviour()
    with served(triples, behaviour) as url:
        assert keys_of(loader(url, options, workers=workers), epochs=2) == expected
        assert len(behaviour.whole) == 12
        assert set(behaviour.whole.values()) == {1}
        before = behaviour.sent.total()
        assert keys_of(loader(f"{url}/", options), epochs=1) == expected[: len(expected) // 2]
        assert behaviour.sent.total() - before < 10_000  # set.json, and no shard again
    assert counts(options).downloads == 12
    assert counts(options).bytes == sum(sizes(triples))


def test_the_order_is_known_and_the_same_before_any_shard_is_read(triples, options, loader):
    behaviour = Behaviour()
    with served(triples, behaviour) as url:
        ours, local = (one.dataset.streams for one in (loader(url, options), loader(triples)))
        assert identity(ours, 3, 3) == identity(local, 3, 3)
        assert not any(name.endswith(".tar") for name in behaviour.gets)


def test_ranks_share_out_each_batch_of_one_process(triples, options, loader):
    expected = keys_of(loader(triples, batch_size=16), epochs=2)
    with served(triples) as url:
        ranks = [loader(url, options, batch_size=4, workers=1, rank=rank, world=4) for rank in range(4)]
        shares = zip(*(keys_of(one, epochs=2) for one in ranks), strict=True)
        assert [[key for part in parts for key in part] for parts in shares] == expected


@pytest.mark.parametrize(
    "method", ["fork", *(pytest.param(method, marks=full) for method in ("spawn", "forkserver"))]
)
def test_workers_start_in_any_way(triples, options, loader, method):
    with served(triples) as url:
        index = ShardIndex.load(resolve_shards(url, options)[0])
        assert index.keys[0] == "t0000"  # fsspec's thread, open files and locks are there before the fork
        index.read(0, "json")
        remote = loader(url, options, workers=1, method=method)
        assert keys_of(remote) == keys_of(loader(triples))


def test_a_worker_gets_what_reads_shards_by_pickle(triples, options, loader):
    with served(triples) as url:
        ours = loader(url, options).dataset
        assert ours[0, 1]["differences"]["keys"].any()  # threads, files and locks are open
        copy = pickle.loads(pickle.dumps(ours))
        keys = [copy[0, batch]["differences"]["keys"].tolist() for batch in range(copy.steps)]
    assert keys == keys_of(loader(triples))


def test_a_small_cache_is_kept_to_and_shards_come_again(triples, options, loader):
    options.cache_gb = (sum(sorted(sizes(triples))[-10:]) + 1) / 1e9
    with served(triples) as url, watched(options.folder) as most:
        assert keys_of(loader(url, options, workers=2), epochs=2) == keys_of(loader(triples), epochs=2)
    assert 0 < most[0] <= options.limit
    done = counts(options)
    assert done.evictions > 0
    assert 12 < done.downloads < 36
    assert held_bytes(options.folder) <= options.limit


def test_a_cache_smaller_than_a_window_is_refused_with_the_numbers(triples, options, loader):
    options.cache_gb = sum(sizes(triples)[:2]) / 1e9
    with served(triples) as url, pytest.raises(PcclipError) as caught:
        loader(url, options)
    message = str(caught.value)
    assert f"{options.limit / 1e9:,.3f} GB" in message
    assert "3 shards" in message
    assert "data.remote.cache_gb" in message
    assert "data.shuffle_shards" in message


FAULTS = {
    "drops": ["drop:3000", "drop:0", "drop:100"],
    "busy": ["503", "429"],
    "wrong once": ["wrong"],
    "stalls": ["drop:2000", "stall"],
}


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no-ranges"])
@pytest.mark.parametrize("kind", FAULTS)
def test_a_bad_connection_costs_retries_not_batches(triples, options, loader, caplog, kind, ranges):
    options.timeout_s = 1.0 if kind == "stalls" else 20.0
    behaviour = Behaviour(ranges=ranges, faults=list(FAULTS[kind]))
    with served(triples, behaviour) as url, caplog.at_level(logging.WARNING):
        assert keys_of(loader(url, options)) == keys_of(loader(triples))
    done = counts(options)
    assert not behaviour.faults
    assert done.downloads == 12
    if kind == "wrong once":
        assert done.damaged == 1
        return
    assert done.retries >= len(FAULTS[kind]) - (kind == "stalls")  # a stall after the last byte is none
    assert f"{url}/0" in caplog.text
    assert "attempt 2 of 9" in caplog.text
    if kind == "drops" and ranges:
        assert done.bytes == sum(sizes(triples))  # goes on where it was: no byte twice
    if kind == "drops" and not ranges:
        assert done.bytes == sum(sizes(triples)) + 3100


def test_a_server_without_ranges_of_the_standard_library(triples, options, loader):
    words = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "-d", str(triples)]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as server:
        try:
            port = server.stdout.readline().split(" port ")[1].split()[0]
            url = f"http://127.0.0.1:{port}"
            assert keys_of(loader(url, options)) == keys_of(loader(triples))
            assert len(resolve_shards(f"{url}/*.tar", options)) == 12  # it lists its folders
        finally:
            server.terminate()


def test_a_foreign_set_is_indexed_once_and_its_shards_come_again_when_needed(triples, options, loader):
    options.cache_gb = (sum(sorted(sizes(triples))[-4:]) + 1) / 1e9
    behaviour = Behaviour()
    with served(triples, behaviour) as url:
        spec = f"{url}/{{000000..000011}}.tar"
        assert keys_of(loader(spec, options)) == keys_of(loader(triples))
        assert held_bytes(options.folder) <= options.limit
        before = sum(behaviour.whole.values())
        assert before >= 12 + 8
        indexes = [ShardIndex.load(path) for path in resolve_shards(spec, options)]
        assert [len(index) for index in indexes] == [20] * 12
        assert sum(behaviour.whole.values()) == before  # from the indexes


def test_a_file_that_changes_during_the_run_is_refused(triples, options, loader, tmp_path):
    behaviour = Behaviour()
    with served(triples, behaviour) as url:
        shards = resolve_shards(f"{url}/{{000000..000002}}.tar", options)
        behaviour.etag = "new"
        with pytest.raises(ShardError, match=r"000001\.tar: changed after it was listed"):
            ShardIndex.load(shards[1]).read(0, "json")


def test_a_file_that_is_not_the_listed_one_is_refused_after_two_downloads(triples, options):
    behaviour = Behaviour(faults=["wrong"] * 2)
    with served(triples, behaviour) as url:
        index = ShardIndex.load(resolve_shards(url, options)[4])
        with pytest.raises(ShardError, match=r"000004\.tar: came 2 times with another sha256"):
            index.read(0, "json")
        assert not list(options.folder.glob("*.tar"))
        assert index.read(0, "json")  # the next one is whole


@pytest.mark.parametrize(
    ("what", "says"),
    [("missing/", "unfinished or foreign set"), ("missing.tar", "there is no such file")],
)
def test_what_is_not_there_is_named(triples, options, what, says):
    with served(triples) as url, pytest.raises(PcclipError, match=says) as caught:
        resolve_shards(f"{url}/{what}", options)
    assert f"{url}/missing" in str(caught.value)


def test_a_dead_server_is_given_up_with_the_url_and_the_remedy(triples, options, free_port):
    options.retries, options.max_wait_s = 2, 0.01
    started = time.monotonic()
    with pytest.raises(ShardError) as caught:
        resolve_shards(f"http://127.0.0.1:{free_port}/set/", options)
    message = str(caught.value)
    assert f"http://127.0.0.1:{free_port}/set/set.json" in message
    assert "3 times in a row" in message
    assert "remote.retries" in message
    assert time.monotonic() - started < 30


def test_secrets_are_refused_before_they_are_written_anywhere(triples):
    with pytest.raises(PcclipError) as caught:
        resolve_shards("https://me:hush@example.org/set/")
    assert "hush" not in str(caught.value)
    with pytest.raises(PcclipError, match="a query") as caught:
        resolve_shards("https://example.org/0.tar?X-Amz-Signature=hush")
    assert "hush" not in str(caught.value)
    for bad in ({"key": "hush"}, {"client_kwargs": {"aws_secret_access_key": "hush"}}, {"token": "hush"}):
        with pytest.raises(PcclipError, match="looks like a secret") as caught:
            RemoteOptions(storage_options=bad)
        assert "hush" not in str(caught.value)
    RemoteOptions(storage_options={"endpoint_url": "http://x", "anon": True, "profile": "lab"})
