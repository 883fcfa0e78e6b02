"""Sets of shards: written whole or not at all, the same bytes each time, found by name."""

import hashlib
import json
import random
import time

import pytest
import webdataset
from shard_making import jpeg, picture, start, triple, write_pictures, write_triples

from pcclip.data.records import Picture, ShardError, Triple
from pcclip.data.shards import ShardIndex, ShardSet, ShardSetWriter, resolve_shards
from pcclip.errors import PcclipError


def _files(folder):
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.iterdir()
        if file.is_file()
    }


@pytest.mark.parametrize("pixels", [False, True])
def test_triples_come_back(tmp_path, pixels):
    folder = write_triples(tmp_path / "set", 25, 10, pixels)
    indexes = [ShardIndex.load(path) for path in resolve_shards(str(folder))]
    assert [len(index) for index in indexes] == [10, 10, 5]
    read = [(index, record) for index in indexes for record in range(len(index))]
    for i, (index, record) in enumerate(read):
        assert Triple.parse(index.key(record), index.read(record, "json"), index.path) == triple(i)
        if pixels:
            assert index.read(record, "1.jpg") == jpeg(i)
            assert index.read_record(record)["2.jpg"] == jpeg(i + 1)
    about = ShardSet.load(folder)
    assert (about.kind, about.payload, about.records) == ("triples", "pixels" if pixels else "keys", 25)
    assert about.card == {"made": "by a test"}
    for entry in about.shards:
        data = (folder / entry.name).read_bytes()
        assert (entry.bytes, entry.sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_pictures_come_back_and_webdataset_reads_the_same(tmp_path):
    shards = resolve_shards(write_pictures(tmp_path / "set"))
    ours = {}
    for index in map(ShardIndex.load, shards):
        for record, key in enumerate(index.keys):
            ours[key] = index.read_record(record)
            assert Picture.parse(key, ours[key], index.path) == picture(int(key[1:]))
    theirs = {
        sample["__key__"]: {k: v for k, v in sample.items() if not k.startswith("__")}
        for sample in webdataset.WebDataset([str(path) for path in shards], shardshuffle=False)
    }
    assert ours == theirs


def test_the_same_records_give_the_same_bytes(tmp_path):
    first = _files(write_triples(tmp_path / "a", pixels=True))
    time.sleep(1.1)  # a time of writing in a header would show
    assert _files(write_triples(tmp_path / "b", pixels=True)) == first


_WRITE = """
import sys
from pathlib import Path
from shard_making import write_triples
print("ready", flush=True)
write_triples(Path(sys.argv[1]), 3000, 100)
"""


def test_a_killed_writer_leaves_nothing_that_a_reader_accepts(tmp_path):
    whole = _files(write_triples(tmp_path / "whole", 3000, 100))
    folder, moments = tmp_path / "set", random.Random(1)
    killed = 0
    for _ in range(8):
        with start(_WRITE, folder) as process:
            process.stdout.readline()
            time.sleep(moments.uniform(0.0, 0.05))  # the whole set takes about 0.15 s
            process.kill()
        if (folder / "set.json").exists():
            break  # it was faster than the kill: then the set is whole, as checked below
        killed += 1
        with pytest.raises(PcclipError, match="unfinished or foreign set"):
            resolve_shards(folder)
        for shard in folder.glob("*.tar"):
            assert len(ShardIndex.load(shard)) == 100
    assert killed >= 2
    if not (folder / "set.json").exists():
        write_triples(folder, 3000, 100)
    assert _files(folder) == whole


def test_an_exception_leaves_no_set(tmp_path):
    def fail():
        with ShardSetWriter(tmp_path, "triples", 2) as writer:
            for i in range(3):
                writer.write_triple(triple(i))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not (tmp_path / "set.json").exists()
    with pytest.raises(PcclipError, match=r"pass '.*/\*\.tar' to read its shards anyway"):
        resolve_shards(tmp_path)
    assert len(resolve_shards(f"{tmp_path}/*.tar")) == 1


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda w: w.write_triple(triple(0)), "'t0000': the set holds this key already"),
        (lambda w: w.write_triple(triple(1, image2="p0001")), "same picture 'p0001'"),
        (lambda w: w.write_triple(triple(1, difference="")), "'difference' is empty"),
        (lambda w: w.write_triple(triple(1, key="a.b")), "a key is"),
        (lambda w: w.write_triple(triple(1, key="x" * 300)), "a tar cannot hold it"),
        (lambda w: w.write_triple(triple(1, key="bad\udfff")), "a key is"),
        (lambda w: w.write_triple(triple(1, difference="bad \udfff")), "no valid Unicode"),
        (lambda w: w.write_triple(triple(1, source={"score": float("nan")})), "cannot be stored as json"),
        (lambda w: w.write_triple(triple(1, source={"writer": object()})), "cannot be stored as json"),
        (lambda w: w.write_triple(triple(1), b"x"), "only one of its two pictures"),
        (lambda w: w.write_triple(triple(1), b"x", b"y"), "'pixels' among triples with payload 'keys'"),
        (lambda w: w.write_picture(picture(1)), "writes triples, not pictures"),
    ],
)
def test_the_writer_refuses(tmp_path, write, says):
    def attempt():
        with ShardSetWriter(tmp_path, "triples") as writer:
            writer.write_triple(triple(0))
            write(writer)

    with pytest.raises(PcclipError, match=says):
        attempt()
    assert not (tmp_path / "set.json").exists()


@pytest.mark.parametrize("again", [2, 9, 17, 24, 30])
def test_a_key_that_comes_again_is_found_in_any_order_of_keys(tmp_path, again):
    def attempt():
        with ShardSetWriter(tmp_path, "triples", 5) as writer:
            for i in [*range(2, 20), 30, 24, 0]:  # ascending at first, over several shards
                writer.write_triple(triple(i))
            writer.write_triple(triple(1))
            writer.write_triple(triple(again))

    with pytest.raises(ShardError, match=f"'t{again:04d}': the set holds this key already"):
        attempt()


def test_no_record_is_no_set(tmp_path):
    with pytest.raises(PcclipError, match="no record was written"), ShardSetWriter(tmp_path, "triples"):
        pass


def test_a_finished_set_is_not_overwritten(tmp_path):
    before = _files(write_triples(tmp_path / "set"))
    with pytest.raises(PcclipError, match="finished set already"):
        ShardSetWriter(tmp_path / "set", "triples")
    assert _files(tmp_path / "set") == before


def test_shards_of_another_origin_are_not_cleared(tmp_path):
    (tmp_path / "000000.tar").write_bytes(b"theirs")
    with pytest.raises(PcclipError, match="not written by pcclip"):
        ShardSetWriter(tmp_path, "triples")
    assert (tmp_path / "000000.tar").read_bytes() == b"theirs"


def test_two_writers_do_not_mix(tmp_path):
    with ShardSetWriter(tmp_path, "triples") as writer:
        writer.write_triple(triple(0))
        with pytest.raises(PcclipError, match="another process writes"):
            ShardSetWriter(tmp_path, "triples")
    assert ShardSet.load(tmp_path).records == 1


def test_all_ways_to_name_shards(tmp_path):
    folder = write_triples(tmp_path / "set", 30, 10)
    expected = [folder / f"{i:06d}.tar" for i in range(3)]
    for spec in (
        folder,
        str(folder),
        f"{folder}/*.tar",
        f"{folder}/{{000000..000002}}.tar",
        [f"{folder}/000000.tar", f"{folder}/{{000001,000002}}.tar"],
        [f"{folder}/00000[01].tar", str(expected[2])],
    ):
        assert resolve_shards(spec) == expected
    assert resolve_shards([str(folder), write_triples(tmp_path / "two", 5)]) == [
        *expected,
        tmp_path / "two/000000.tar",
    ]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("{0}/none/*.tar", r"no shard matches '.*/none/\*\.tar'"),
        ("{0}/none", "there is no such shard"),
        ("{0}/set/{{000000..000009}}.tar", "000003.tar: there is no such shard"),
        ("{0}", "unfinished or foreign set"),
        ("{0}/set/*[01].tar {0}", "there is no such shard|no shard matches"),
    ],
)
def test_names_that_match_nothing_are_refused(tmp_path, spec, says):
    write_triples(tmp_path / "set", 30, 10)
    with pytest.raises(PcclipError, match=says):
        resolve_shards(spec.format(tmp_path))


def test_a_shard_named_twice_is_refused(tmp_path):
    folder = write_triples(tmp_path / "set", 5)
    with pytest.raises(PcclipError, match="more than once"):
        resolve_shards([str(folder), f"{folder}/*.tar"])


def test_a_missing_or_shortened_shard_of_a_set_is_refused(tmp_path):
    folder = write_triples(tmp_path / "set", 30, 10)
    shard = folder / "000001.tar"
    shard.write_bytes(shard.read_bytes()[:-512])
    with pytest.raises(PcclipError, match=r"000001\.tar: has \d+ bytes, but .*set\.json lists it with \d+"):
        resolve_shards(folder)
    shard.unlink()
    with pytest.raises(PcclipError, match=r"000001\.tar: is missing"):
        resolve_shards(folder)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ("{}", "cannot be read"),
        ('{"schema": 9}', "schema 9"),
    ],
)
def test_a_broken_set_file_is_refused(tmp_path, text, says):
    (tmp_path / "set.json").write_text(text)
    with pytest.raises(PcclipError, match=says):
        resolve_shards(tmp_path)


def test_set_file_keeps_the_contract(tmp_path):
    raw = json.loads((write_triples(tmp_path / "set", 12, 10) / "set.json").read_bytes())
    assert set(raw) == {"schema", "kind", "payload", "records", "shards", "card", "sha256"}
    assert [(s["name"], s["records"]) for s in raw["shards"]] == [("000000.tar", 10), ("000001.tar", 2)]


def test_error_of_a_record_is_a_shard_error(tmp_path):
    index = ShardIndex.load(write_triples(tmp_path / "set", 3) / "000000.tar")
    with pytest.raises(ShardError, match=r"'t0001': has no file \.jpg, only \.json"):
        index.read(1, "jpg")
