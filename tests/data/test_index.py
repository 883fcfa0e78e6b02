"""The shard index: other people's tars, damaged tars, caches, processes."""

import gzip
import io
import multiprocessing
import os
import pickle
import random
import subprocess
import tarfile
import threading
import time

import pytest
import webdataset
from shard_making import write_pictures, write_triples

from pcclip.data.shards import ShardError, ShardIndex, resolve_shards, sidecar_path

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def _tar(path, members, form=tarfile.USTAR_FORMAT, pax=None):
    with tarfile.open(path, "w", format=form) as tar:
        for name, data in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            header.pax_headers = dict(pax or {})
            tar.addfile(header, io.BytesIO(data))
    return path


def _records(index):
    return {index.key(i): index.read_record(i) for i in range(len(index))}


def _foreign(long_names=False):
    prefix = "part one/" + ("deep/" * 60 if long_names else "")
    return {
        f"{prefix}{i:09d}.{extension}": f"{i} {extension}".encode() * i
        for i in range(20)
        for extension in ("jpg", "json", "txt")
    }


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("long_names", [False, True])
def test_img2dataset_tars_give_what_webdataset_reads(tmp_path, form, long_names):
    if form == "ustar" and long_names:
        pytest.skip("ustar cannot hold such names")
    members = _foreign(long_names)
    path = _tar(tmp_path / "00000.tar", members, FORMATS[form], {"mtime": "1.5"} if form == "pax" else None)
    assert resolve_shards(f"{tmp_path}/{{00000..00000}}.tar") == [path]
    ours = _records(ShardIndex.load(path))
    assert len(ours) == 20
    theirs = {
        sample["__key__"]: {k: v for k, v in sample.items() if not k.startswith("__")}
        for sample in webdataset.WebDataset(str(path), shardshuffle=False)
    }
    assert ours == theirs


def test_a_tar_of_the_tar_command_with_folders_and_strays(tmp_path):
    folder = tmp_path / "files"
    (folder / "sub").mkdir(parents=True)
    for name in ("sub/a.jpg", "sub/a.TXT", "b.1.jpg", "b.json", "README", "._b.json"):
        (folder / name).write_bytes(name.encode())
    subprocess.run(["tar", "--sort=name", "-cf", tmp_path / "x.tar", "-C", folder, "."], check=True)
    index = ShardIndex.load(tmp_path / "x.tar")
    assert _records(index) == {
        "b": {"1.jpg": b"b.1.jpg", "json": b"b.json"},
        "sub/a": {"jpg": b"sub/a.jpg", "txt": b"sub/a.TXT"},
    }
    assert index.skipped == 2


@pytest.mark.parametrize("cut", [*range(24), "boundary", "one zero block less than whole"])
def test_a_cut_tar_is_refused_by_file_last_key_and_remedy(tmp_path, cut):
    whole = (write_triples(tmp_path / "set", 40, 40) / "000000.tar").read_bytes()
    ends = [start + 1024 for start in range(0, 40 * 1024, 1024)]  # a header and a payload block per record
    if cut == "boundary":
        size = ends[17]
    elif cut == "one zero block less than whole":
        size = ends[-1] + 511
    else:
        size = random.Random(cut).randrange(1, ends[-1])
    path = tmp_path / "cut.tar"
    path.write_bytes(whole[:size])
    with pytest.raises(ShardError) as caught:
        ShardIndex.load(path)
    message = str(caught.value)
    assert str(path) in message
    assert "truncated or damaged tar" in message
    assert "Copy or write the shard again" in message
    # The payload, not its padding, has to be there for a record to count as good.
    good = sum(size >= end - 512 + len(_json(whole, end)) for end in ends)
    assert (f"last good key is 't{good - 1:04d}'" if good else "no record in it is good") in message
    assert not list(tmp_path.glob(".pcclip-cache/*cut*"))


def _json(whole, end):
    return whole[end - 512 : end].rstrip(b"\0")


@pytest.mark.parametrize("form", ["gnu", "pax"])
@pytest.mark.parametrize("seed", range(6))
def test_a_cut_tar_with_long_names_is_refused(tmp_path, form, seed):
    path = _tar(tmp_path / "x.tar", _foreign(True), FORMATS[form])
    data = path.read_bytes()
    end = len(data.rstrip(b"\0"))
    path.write_bytes(data[: random.Random(seed).randrange(1, end)])
    with pytest.raises(ShardError, match="truncated or damaged tar"):
        ShardIndex.load(path)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "it is empty"),
        (b"no tar at all" * 100, "truncated or damaged"),
        (gzip.compress(b"x" * 5000, mtime=0), "is compressed"),
    ],
)
def test_what_is_no_tar_is_refused(tmp_path, data, says):
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(ShardError, match=says):
        ShardIndex.load(tmp_path / "x.tar")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ShardError, match=r"x\.tar: cannot be read"):
        ShardIndex.load(tmp_path / "x.tar")


def test_an_overwritten_header_is_refused(tmp_path):
    path = write_triples(tmp_path / "set", 10) / "000000.tar"
    data = bytearray(path.read_bytes())
    data[3 * 1024 + 5] ^= 0xFF  # in the name of the fourth record
    path.write_bytes(data)
    with pytest.raises(ShardError, match="last good key is 't0002'"):
        ShardIndex.load(path)


def test_tars_joined_by_cat_are_refused(tmp_path):
    folder = write_triples(tmp_path / "set", 20, 10)
    joined = tmp_path / "joined.tar"
    joined.write_bytes((folder / "000000.tar").read_bytes() + (folder / "000001.tar").read_bytes())
    with pytest.raises(ShardError, match="data follows the end-of-archive mark"):
        ShardIndex.load(joined)


def test_links_are_refused(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    os.link(tmp_path / "a.jpg", tmp_path / "b.jpg")
    subprocess.run(["tar", "-cf", tmp_path / "x.tar", "-C", tmp_path, "a.jpg", "b.jpg"], check=True)
    with pytest.raises(ShardError, match=r"'b\.jpg' is a link"):
        ShardIndex.load(tmp_path / "x.tar")


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["a.jpg", "b.jpg", "a.txt"], "'a': comes again after other records"),
        (["a.jpg", "a.txt", "a.jpg"], r"'a': has two files \.jpg"),
        (["a.jpg", "a.JPG"], r"'a': has two files \.jpg"),
    ],
)
def test_records_that_would_be_torn_apart_are_refused(tmp_path, names, says):
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name))
    with pytest.raises(ShardError, match=says):
        ShardIndex.load(tmp_path / "x.tar")


def test_a_tar_without_records_is_empty(tmp_path):
    index = ShardIndex.load(_tar(tmp_path / "x.tar", {}))
    assert (len(index), list(index.keys)) == (0, [])
    assert len(ShardIndex.load(tmp_path / "x.tar")) == 0  # from the cache


def test_keys_are_a_sequence(tmp_path):
    index = ShardIndex.load(write_triples(tmp_path / "set", 10) / "000000.tar")
    expected = [f"t{i:04d}" for i in range(10)]
    assert (list(index.keys), index.keys[2:4], index.keys[-1]) == (expected, expected[2:4], expected[-1])
    assert "t0003" in index.keys
    with pytest.raises(IndexError):
        index.keys[10]


@pytest.mark.parametrize("own_folder", [False, True])
def test_the_cache_is_used_and_follows_the_shard(tmp_path, own_folder):
    cache = tmp_path / "cache" if own_folder else None
    shard = write_triples(tmp_path / "set", 10) / "000000.tar"
    first = ShardIndex.load(shard, cache)
    sidecar = sidecar_path(shard, cache, "index.npz")
    written = sidecar.stat().st_mtime_ns
    assert _records(ShardIndex.load(shard, cache)) == _records(first)
    assert sidecar.stat().st_mtime_ns == written
    shard.write_bytes((write_triples(tmp_path / "other", 7) / "000000.tar").read_bytes())
    assert len(ShardIndex.load(shard, cache)) == 7


def test_one_cache_folder_tells_sets_apart(tmp_path):
    for name, count in (("a", 3), ("b", 4)):
        write_triples(tmp_path / name, count)
    for _ in range(2):
        loaded = [ShardIndex.load(tmp_path / name / "000000.tar", tmp_path / "cache") for name in ("a", "b")]
        assert [len(index) for index in loaded] == [3, 4]
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 damaged", "half", "flipped"])
def test_a_damaged_cache_is_made_again(tmp_path, damage):
    shard = write_triples(tmp_path / "set", 10) / "000000.tar"
    expected = _records(ShardIndex.load(shard))
    sidecar = sidecar_path(shard, None, "index.npz")
    data = bytearray(sidecar.read_bytes())
    if damage == "flipped":
        at = data.index(b"t0004")
        data[at] ^= 0xFF
    sidecar.write_bytes(
        data[: len(data) // 2] if damage == "half" else data if damage == "flipped" else damage
    )
    assert _records(ShardIndex.load(shard)) == expected
    assert _records(ShardIndex.load(shard)) == expected


def test_a_place_that_cannot_be_written_costs_only_the_cache(tmp_path):
    shard = write_triples(tmp_path / "set", 10) / "000000.tar"
    (tmp_path / "set" / ".pcclip-cache").write_text("a file where the folder would be")
    assert len(ShardIndex.load(shard)) == 10


def _load_often(shard, start, answers):
    start.wait()
    answers.put({len(ShardIndex.load(shard)) for _ in range(20) if not _remove_cache(shard)})


def _remove_cache(shard):
    sidecar_path(shard, None, "index.npz").unlink(missing_ok=True)


def test_processes_that_index_the_same_shard_agree(tmp_path):
    shard = write_triples(tmp_path / "set", 200, 200) / "000000.tar"
    context = multiprocessing.get_context("fork")
    begin, answers = context.Event(), context.Queue()
    processes = [context.Process(target=_load_often, args=(shard, begin, answers)) for _ in range(4)]
    for process in processes:
        process.start()
    begin.set()
    assert [answers.get(timeout=30) for _ in processes] == [{200}] * 4
    for process in processes:
        process.join()
    assert not list((tmp_path / "set/.pcclip-cache").glob("*.tmp"))


def _read_all(indexes, seed, answers):
    places = [(i, r) for i, index in enumerate(indexes) for r in range(len(index))]
    random.Random(seed).shuffle(places)
    read = {indexes[i].key(r): indexes[i].read(r, "json") for i, r in places}
    answers.put(hash(tuple(sorted(read.items()))) if seed is None else sorted(read.items()))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_indexes_read_in_other_processes(tmp_path, method):
    indexes = [ShardIndex.load(path) for path in resolve_shards(write_triples(tmp_path / "set", 300, 50))]
    expected = sorted((index.key(r), index.read(r, "json")) for index in indexes for r in range(len(index)))
    context = multiprocessing.get_context(method)
    answers = context.Queue()
    processes = [context.Process(target=_read_all, args=(indexes, seed, answers)) for seed in range(2)]
    for process in processes:
        process.start()
    assert [answers.get(timeout=60) for _ in processes] == [expected] * 2
    for process in processes:
        process.join()


def test_many_shards_keep_few_files_open_also_in_threads(tmp_path):
    indexes = [ShardIndex.load(path) for path in resolve_shards(write_triples(tmp_path / "set", 200, 1))]
    wrong, before = [], len(os.listdir("/proc/self/fd"))

    def read(seed):
        for i in random.Random(seed).choices(range(200), k=2000):
            if f'"p{i:04d}"'.encode() not in indexes[i].read(0, "json"):
                wrong.append(i)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(os.listdir("/proc/self/fd")) - before <= 64


def test_an_index_is_small_when_pickled(tmp_path):
    index = ShardIndex.load(write_triples(tmp_path / "set", 2000, 2000) / "000000.tar")
    index.read(0, "json")
    data = pickle.dumps(index)
    assert len(data) < 2000 * 50
    assert _records(pickle.loads(data)) == _records(index)


def test_a_shard_that_changes_under_its_index_is_refused(tmp_path):
    shard = write_triples(tmp_path / "set", 10) / "000000.tar"
    index = ShardIndex.load(shard)
    time.sleep(0.01)
    shard.write_bytes(shard.read_bytes())
    with pytest.raises(ShardError, match="changed after it was indexed"):
        index.read(0, "json")


def test_records_of_several_files_are_read_in_one_piece(tmp_path):
    index = ShardIndex.load(write_pictures(tmp_path / "set", 5) / "000000.tar")
    for record in range(5):
        members = index.read_record(record)
        assert members == {extension: index.read(record, extension) for extension in index.extensions(record)}
        assert set(members) == {"jpg", "txt", "json"}
