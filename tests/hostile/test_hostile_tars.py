"""Shards whose headers lie: refused with the shard's name, in little time and memory; nothing is unpacked."""

import io
import os
import tarfile
import time
import zipfile

import pytest

from pcclip.cli import main
from pcclip.data.index import ShardIndex, sidecar_path
from pcclip.data.records import ShardError
from pcclip.data.sources.webdataset import WebDataset
from tests.hostile.making import BLOCK, END, header, padded, pax, peak_mib, special, tar_of

ONE = header() + padded(b"x")
BIG = b"\x80" + (1 << 41).to_bytes(11, "big")

REFUSED = {
    "absolute path": (tar_of(("/etc/a.txt", b"x")), "is an absolute path"),
    "parent path": (tar_of(("../../a.txt", b"x")), "'..' among its folders"),
    "parent within": (tar_of(("d/../a.txt", b"x")), "'..' among its folders"),
    "symbolic link": (tar_of(special("a.jpg", tarfile.SYMTYPE, "/etc/passwd")), "is a link"),
    "hard link": (tar_of(("b.jpg", b"x"), special("a.jpg", tarfile.LNKTYPE, "b.jpg")), "is a link"),
    "character device": (tar_of(special("a.jpg", tarfile.CHRTYPE)), "a device or a pipe"),
    "block device": (tar_of(special("a.jpg", tarfile.BLKTYPE)), "a device or a pipe"),
    "pipe": (tar_of(special("a.jpg", tarfile.FIFOTYPE)), "a device or a pipe"),
    "unknown type": (header(kind=b"Q") + padded(b"x") + END, "unknown type"),
    "sparse": (
        pax({"GNU.sparse.major": b"0", "GNU.sparse.size": b"9", "GNU.sparse.map": b"0,1"}) + ONE + END,
        "sparse",
    ),
    "size below zero": (header(size=b"-0000001000\0") + ONE + END, "a size of -512 bytes"),
    "size below zero by PAX": (pax({"size": b"-1024"}) + ONE + END, "leads back|size of"),
    "negative PAX header": (header(b"p", b"\xff" * 12, b"x") + ONE + END, "a size of -"),
    "terabytes": (header(size=BIG) + padded(b"x") + END, "truncated or damaged"),
    "terabytes by PAX": (pax({"size": b"9" * 14}) + ONE + END, "truncated or damaged"),
    "a size of thousands of digits": (pax({"size": b"9" * 5000}) + ONE + END, "truncated or damaged"),
    "PAX header of gigabytes": (header(b"p", b"77777777777\0", b"x") + ONE + END, "a size of 8,589,934,591"),
    "long name of megabytes": (
        header(b"././@LongLink", b"%011o\0" % (3 << 20), b"L") + padded(b"n" * (3 << 20)) + ONE + END,
        "a size of 3,145,728 bytes",
    ),
    "name of 100,000 characters": (tar_of(("n" * 100_000 + ".txt", b"x")), "is 100,000 characters long"),
    "long names without end": ((header(b"L", b"%011o\0" % 5, b"L") + padded(b"n\0")) * 5000 + END, "damaged"),
    "control characters": (tar_of(("a\x1b[2J.txt", b"x")), "has control characters"),
    "NUL in a PAX path": (pax({"path": b"a.j\0pg"}) + ONE + END, "control characters"),
    "two of a name": (tar_of(("a.txt", b"x"), ("a.txt", b"y")), "has two files .txt"),
    "a record in two places": (tar_of(("a.txt", b"x"), ("b.txt", b"y"), ("a.jpg", b"z")), "comes again"),
    "kinds without end": (
        tar_of(*((f"a.{n}", b"") for n in range(10_002)), format=tarfile.USTAR_FORMAT),
        "kinds of file",
    ),
    "no tar": (b"<html>404 not found</html>" * 100, "damaged tar"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_hostile_tar_is_refused_by_name(case, tmp_path):
    data, message = REFUSED[case]
    shard = tmp_path / "hostile.tar"
    shard.write_bytes(data)
    started = time.process_time()
    with pytest.raises(ShardError, match=message) as caught:
        ShardIndex.load(shard)
    assert str(shard) in str(caught.value)
    assert len(str(caught.value)) < 2000
    assert time.process_time() - started < 5
    assert sorted(file.name for file in tmp_path.iterdir()) == ["hostile.tar"], "nothing was unpacked"


def test_the_command_line_and_the_source_of_webdatasets_refuse_it_too(tmp_path, capsys):
    shard = tmp_path / "hostile.tar"
    shard.write_bytes(REFUSED["size below zero"][0])
    assert main(["inspect", str(shard)]) == 1
    assert f"{shard}: truncated or damaged tar" in capsys.readouterr().err
    with pytest.raises(ShardError, match=r"hostile\.tar"):
        WebDataset(shards=str(shard)).count("train")


def test_surrogates_in_names_are_bytes_that_are_no_utf8_and_stay_so(tmp_path):
    (tmp_path / "a.tar").write_bytes(header(b"caf\xe9.txt") + padded(b"x") + END)
    index = ShardIndex.load(tmp_path / "a.tar")
    assert index.key(0) == "caf\udce9"
    assert index.read(0, "txt") == b"x"


def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.tar")
    for place in (tmp_path / "pipe.tar", tmp_path):
        with pytest.raises(ShardError, match="is no file"):
            ShardIndex.load(place)


@pytest.mark.parametrize(("records", "seconds", "mib"), [(100_000, 10, 80)])
def test_members_of_zero_bytes_cost_little(records, seconds, mib, tmp_path):
    with (tmp_path / "many.tar").open("wb") as file:
        for start in range(0, records, 1000):
            file.write(b"".join(header(b"%07d.txt" % n, b"0") for n in range(start, start + 1000)))
        file.write(END)
    started = time.process_time()
    found = []
    peak = peak_mib(lambda: found.append(ShardIndex.load(tmp_path / "many.tar")))
    assert len(found[0]) == records
    assert found[0].read(records - 1, "txt") == b""
    assert time.process_time() - started < seconds
    assert peak < mib


def test_a_sparse_file_of_a_terabyte_is_refused_without_reading_it(tmp_path):
    shard = tmp_path / "huge.tar"
    shard.write_bytes(ONE + END)
    os.truncate(shard, 1 << 40)
    started = time.process_time()
    with pytest.raises(ShardError, match="bytes follow its end"):
        ShardIndex.load(shard)
    assert time.process_time() - started < 2


def test_an_index_that_came_with_the_shard_is_not_believed(tmp_path):
    import numpy as np

    shard = tmp_path / "a.tar"
    shard.write_bytes(tar_of(("a.txt", b"one"), ("b.txt", b"two"), format=tarfile.USTAR_FORMAT))
    good = ShardIndex.load(shard)
    sidecar = sidecar_path(shard, None, "index.npz")
    with np.load(sidecar) as stored:
        arrays = dict(stored)
    changes = {
        "sizes": np.array([1 << 50, 3]),
        "offsets": np.array([-5, 3]),
        "kinds": np.array([7, 0], np.uint16),
        "firsts": np.array([0, 9, 2], np.uint32),
        "key_ends": np.array([0, 1, 1 << 30], np.uint32),
        "key_bytes": np.array(["ab"]),
    }
    for name, value in changes.items():
        np.savez(sidecar, **(arrays | {name: value}))
        found = ShardIndex.load(shard)
        assert list(found.keys) == list(good.keys)
        assert found.read_record(1) == {"txt": b"two"}
    head = io.BytesIO()  # 2^40 rows are told of, none is there
    np.lib.format.write_array_header_1_0(head, {"descr": "<i8", "fortran_order": False, "shape": (1 << 40,)})
    with zipfile.ZipFile(sidecar, "w") as archive:
        archive.writestr("offsets.npy", head.getvalue())
    assert peak_mib(lambda: ShardIndex.load(shard)) < 50


def test_headers_only_to_the_last_byte(tmp_path):
    """Every cut of a good tar is an error of ours, at every block and around it."""
    data = tar_of(("a" * 120 + ".txt", b"one"), ("b.txt", b"two" * 300))
    for cut in sorted(
        {c + d for c in range(0, len(data), BLOCK) for d in (-1, 0, 1) if 0 < c + d < len(data)}
    ):
        (tmp_path / "cut.tar").write_bytes(data[:cut])
        try:
            index = ShardIndex.load(tmp_path / "cut.tar", tmp_path / "cache")
        except ShardError:
            continue
        assert data[cut:].strip(b"\0") == b"", "only padding may be missing"
        assert index.read(len(index) - 1, "txt") == b"two" * 300
