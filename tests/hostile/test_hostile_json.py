"""JSON that harms whoever reads it: an error that names the file, never another exception."""

import json

import numpy as np
import pytest

from pcclip.cli import main
from pcclip.data.records import Picture, ShardError, Triple
from pcclip.data.sets import ShardSet
from pcclip.data.shards import ShardSetWriter
from pcclip.data.sources.coco import Coco
from pcclip.errors import PcclipError
from pcclip.generation.manifest import MANIFEST, Manifest
from pcclip.model.checkpoint import read_meta
from pcclip.model.sources import find_source
from pcclip.untrusted import load_array, load_arrays, parse_json

DEEP = b"[" * 100_000 + b"]" * 100_000
BOMBS = {
    "nesting of lists": DEEP,
    "nesting of objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a number of 10,000 digits": b"1" * 10_000,
    "not UTF-8": b'{"a": "\xff"}',
    "cut": b'{"a": [1, 2',
    "nothing": b"",
}
TRIPLE = {"schema": 1, "kind": "triple", "image1": "a", "image2": "b", "difference": "darker"}


@pytest.mark.parametrize("case", BOMBS)
def test_every_reader_says_which_file_it_is(case, tmp_path):
    bomb = BOMBS[case]

    def put(name: str) -> str:
        (tmp_path / name).write_bytes(bomb)
        return str(tmp_path / name)

    with pytest.raises(ShardError, match="record 'k'"):
        Triple.parse("k", bomb, "shard")
    with pytest.raises(ShardError, match="record 'k'"):
        Picture.parse("k", {"jpg": b"", "json": bomb}, "shard")
    put("set.json")
    with pytest.raises(PcclipError, match=r"set\.json"):
        ShardSet.load(tmp_path)
    with pytest.raises(PcclipError, match=r"captions\.json"):
        Coco(captions=put("captions.json"), with_images=False).count("train")
    put("pcclip.json")
    with pytest.raises(PcclipError, match=r"pcclip\.json"):
        read_meta(tmp_path)
    for name in ("open_clip_config.json", "config.json", "tokenizer_config.json"):
        put(name)
        with pytest.raises(PcclipError, match=r"\.json"):
            find_source(f"local-dir:{tmp_path}", None, False, None)
        (tmp_path / name).unlink()
    job = Manifest(tmp_path / "job", {"a": 1})
    job.close()
    (tmp_path / "job" / MANIFEST).write_bytes(bomb + b"\n")
    if bomb:
        with pytest.raises(PcclipError, match="line 1"):
            Manifest(tmp_path / "job", {"a": 1})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source": {"score": float("nan")}}, "nan is no number"),
        ({"source": {"score": float("-inf")}}, "-inf is no number"),
        ({"source": {"seed": 1 << 70}}, "more than 64 bits"),
        ({"source": {"a": "\ud800"}}, "surrogates not allowed"),
        ({"source": json.loads("[" * 70 + "]" * 70) and {"a": json.loads("[" * 70 + "]" * 70)}}, "64 deep"),
        ({"source": [1]}, "'source' is not a json object"),
        ({"image1": ["a"]}, "'image1' is not a text"),
        ({"difference": "\udc80"}, "no valid Unicode"),
        ({"difference": {"a": 1}}, "'difference' is not a text"),
        ({"schema": True, "kind": ["triple"]}, "schema True"),
    ],
)
def test_a_triple_that_could_not_be_written_again_is_refused(fields, message):
    with pytest.raises(ShardError, match=message):
        Triple.parse("k", json.dumps(TRIPLE | fields).encode(), "shard")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"class": 7}, "'class' is not a text"),
        ({"attributes": ["size"]}, "'attributes' is not an object"),
        ({"attributes": {"size": None}}, "neither a number nor a text"),
        ({"attributes": {"size": float("nan")}}, "nan is no number"),
        ({"captions": "one"}, "'captions' is not a list"),
        ({"captions": [1]}, "'captions' is not a list"),
    ],
)
def test_our_own_picture_notes_are_held_to_their_types(fields, message):
    notes = {"schema": 1, "kind": "picture"} | fields
    with pytest.raises(ShardError, match=message):
        Picture.parse("k", {"jpg": b"", "json": json.dumps(notes).encode()}, "shard")


def test_notes_of_other_tools_may_hold_nan_and_the_last_of_two_entries_counts():
    notes = b'{"caption": "one", "similarity": NaN, "caption": "two"}'
    assert Picture.parse("k", {"jpg": b"", "json": notes}, "shard").caption == "two"
    assert parse_json(b'{"a": Infinity}') == {"a": float("inf")}


def test_a_text_of_a_hundred_megabytes_is_read_once(tmp_path, capsys):
    long = "a " * 5_000_000
    found = Triple.parse("k", json.dumps(TRIPLE | {"difference": long}).encode(), "shard")
    assert len(found.difference) == 10_000_000
    with ShardSetWriter(tmp_path / "set", "triples", 10) as writer:
        writer.write_triple(found)
    assert main(["inspect", str(tmp_path / "set")]) == 0
    assert len(capsys.readouterr().out) < 20_000


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
        b"{'descr': '<i8', 'fortran_order': False, 'shape': (1099511627776,)}",
        b"(" * 5000,
        b"{'descr': '<i8', 'fortran_order': False, 'shape': (-1,)}",
        b"{'descr': ",
        b"__import__('os').system('true')",
        b"1" * 5000,
    ],
)
def test_headers_of_arrays(header, tmp_path):
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\0" * 64
    (tmp_path / "a.npy").write_bytes(data)
    for mode in (None, "r"):
        with pytest.raises((ValueError, OSError)):
            load_array(tmp_path / "a.npy", mode)
    np.savez(tmp_path / "a.npz", a=np.arange(3))
    good = (tmp_path / "a.npz").read_bytes()
    assert load_arrays(good)["a"].tolist() == [0, 1, 2]
    for cut in range(0, len(good), 7):
        with pytest.raises(ValueError, match=r"."):
            load_arrays(good[:cut])
