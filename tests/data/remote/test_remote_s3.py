"""Shards in S3 (a real server that speaks its protocol) and other file systems."""

import multiprocessing
import shutil

import fsspec
import pytest
import torch

from pcclip.cli import main
from pcclip.data.bank import build_bank
from pcclip.data.index import ShardIndex
from pcclip.data.records import ShardError
from pcclip.data.remote.cache import ShardCache
from pcclip.data.remote.options import RemoteOptions
from pcclip.data.sets import resolve_shards
from pcclip.errors import PcclipError
from tests.data.remote.loading import full, keys_of
from tests.data.remote.serving_shards import Behaviour, s3_server, served, upload
from tests.data.shard_making import write_pictures


@pytest.fixture(scope="module")
def s3():
    with s3_server("bucket") as (address, client):
        yield address, client


def test_the_same_batches_from_s3_in_workers(s3, triples, options, loader):
    url = upload(s3[1], triples, "bucket", "triples")
    expected = keys_of(loader(triples))
    assert keys_of(loader(url, options, workers=2)) == expected
    assert ShardCache(options.folder, options.limit).counts().downloads == 12
    assert len(resolve_shards(f"{url}/*.tar", options)) == 12
    assert keys_of(loader(f"{url}/{{000000..000011}}.tar", options)) == expected


def test_an_endpoint_by_the_settings_and_a_bucket_that_is_not_there(s3, triples, options, monkeypatch):
    upload(s3[1], triples, "bucket", "endpoint")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    options.storage_options = {"endpoint_url": s3[0]}
    index = ShardIndex.load(resolve_shards("s3://bucket/endpoint/000003.tar", options)[0])
    assert index.keys[0] == "t0060"
    with pytest.raises(PcclipError, match="s3://nowhere/set: unfinished or foreign set"):
        resolve_shards("s3://nowhere/set/", options)
    with pytest.raises(PcclipError, match=r"no-such\.tar: there is no such file"):
        resolve_shards("s3://bucket/endpoint/no-such.tar", options)


def test_an_object_that_is_replaced_during_the_run_is_refused(s3, triples, options):
    url = upload(s3[1], triples, "bucket", "replaced")
    foreign = ShardIndex.load(resolve_shards(f"{url}/000001.tar", options)[0])
    listed = ShardIndex.load(resolve_shards(url, options)[2])
    other = (triples / "000005.tar").read_bytes()
    for name in ("000001", "000002"):
        s3[1].put_object(Bucket="bucket", Key=f"replaced/{name}.tar", Body=other)
    with pytest.raises(ShardError, match="changed after it was listed"):
        foreign.read(0, "json")
    with pytest.raises(ShardError, match=r"another sha256|changed after"):
        listed.read(0, "json")


def test_memory_and_file_urls(triples, options, loader):
    memory = fsspec.filesystem("memory")
    memory.put(str(triples), "/remote-set", recursive=True)
    try:
        assert keys_of(loader("memory://remote-set/", options)) == keys_of(loader(triples))
        assert resolve_shards(f"file://{triples}") == resolve_shards(triples)
    finally:
        memory.rm("/remote-set", recursive=True)
    with pytest.raises(PcclipError, match="no file system for nonsense://"):
        resolve_shards("nonsense://x/y/", options)


def _read_everything(url, options, turn, answers):
    indexes = [ShardIndex.load(path) for path in resolve_shards(url, options)]
    for _ in range(2):
        for number in range(len(indexes)):
            index = indexes[(number + turn) % len(indexes)]
            for record in range(len(index)):
                assert index.read_record(record)["json"]
    answers.put(turn)


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=full)])
def test_processes_share_one_download_of_each_shard(triples, options, method):
    behaviour = Behaviour(delay_s=0.05)
    context = multiprocessing.get_context(method)
    answers = context.Queue()
    with served(triples, behaviour) as url:
        words = [(url, options, turn, answers) for turn in range(3)]
        processes = [context.Process(target=_read_everything, args=one) for one in words]
        for process in processes:
            process.start()
        assert sorted(answers.get(timeout=90) for _ in processes) == [0, 1, 2]
        for process in processes:
            process.join()
    assert sum(behaviour.gets.values()) == 12 + 3  # each shard once, set.json by each process
    assert not list(options.folder.glob("*.lock"))
    assert not list(options.folder.glob("*.part"))


def test_processes_in_a_cache_of_two_shards_get_along(triples, options):
    """Each evicts what the others read: nobody reads another shard's bytes, hangs, or breaks the bound."""
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    options.cache_gb = 2.1 * max(path.stat().st_size for path in triples.glob("*.tar")) / 1e9
    with served(triples) as url:
        words = [(url, options, turn * 4, answers) for turn in range(3)]
        processes = [context.Process(target=_read_everything, args=one) for one in words]
        for process in processes:
            process.start()
        assert sorted(answers.get(timeout=90) for _ in processes) == [0, 4, 8]
    assert ShardCache(options.folder, options.limit).counts().evictions >= 22


def test_a_killed_download_is_gone_on_with(triples, options):
    behaviour = Behaviour(faults=["drop:5000", "drop:0"])
    options.retries = 0
    with served(triples, behaviour) as url:
        index = ShardIndex.load(resolve_shards(url, options)[0])
        for _ in range(2):
            with pytest.raises(ShardError, match="are there"):
                index.read(0, "json")
        assert [p.stat().st_size for p in options.folder.glob("*.part")] == [5000]
        assert index.read(0, "json")
        assert behaviour.sent["000000.tar"] == triples.joinpath("000000.tar").stat().st_size


def test_a_folder_that_cannot_be_the_cache_is_named(triples, tmp_path):
    (tmp_path / "file").write_text("in the way")
    options = RemoteOptions(cache_dir=str(tmp_path / "file"))
    with served(triples) as url, pytest.raises(PcclipError, match=r"remote\.cache_dir"):
        ShardIndex.load(resolve_shards(url, options)[0]).read(0, "json")


def _embed(pixels):
    return torch.nn.functional.normalize(pixels.flatten(1)[:, :8] + 1, dim=1)


def _pixels(picture):
    from torchvision.transforms.functional import to_tensor

    return to_tensor(picture)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bank_from_a_url_is_the_folders_own_byte_for_byte(tmp_path, options, workers):
    folder = write_pictures(tmp_path / "set", 60, 6)
    options.cache_gb = 3.2 * max(path.stat().st_size for path in folder.glob("*.tar")) / 1e9
    with served(folder) as url:
        for name, spec in (("local", folder), ("remote", url)):
            shards = resolve_shards(spec, options)
            build_bank(
                tmp_path / name, shards, _pixels, _embed, "test", 8, 7, num_workers=workers, progress=False
            )
    for file in (tmp_path / "local").iterdir():
        assert file.read_bytes() == (tmp_path / "remote" / file.name).read_bytes(), file.name


def test_inspect_reads_a_url_and_finds_the_same(triples, capsys, tmp_path):
    words = ["--samples=1", "--as_json=true", "--remote.cache_dir", str(tmp_path / "inspected")]
    with served(triples) as url:
        assert main(["inspect", url, *words]) == 0
        there = capsys.readouterr().out.replace(url, "SET")
        assert main(["inspect", str(triples), *words]) == 0
        assert capsys.readouterr().out.replace(str(triples), "SET") == there
        damaged = tmp_path / "damaged"
        shutil.copytree(triples, damaged, ignore=shutil.ignore_patterns(".*"))
    data = bytearray((damaged / "000002.tar").read_bytes())
    data[3000] ^= 1
    (damaged / "000002.tar").write_bytes(data)
    with served(damaged) as url:
        assert main(["inspect", url, "--remote.cache_dir", str(tmp_path / "other")]) == 1
    assert "000002.tar: came 2 times with another sha256" in capsys.readouterr().err
