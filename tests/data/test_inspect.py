"""`pcclip inspect`: what it counts, and each fault with its file and key."""

import io
import json
import os
import re
import subprocess
import sys
import tarfile
from dataclasses import replace

import pytest
from shard_making import jpeg, picture, triple, write_pictures, write_triples

from pcclip.cli import main
from pcclip.data.inspect import inspect_shards
from pcclip.data.shards import ShardSetWriter


def _tar(path, members):
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    return path


def _json(**changes):
    return json.dumps(json.loads(triple(0).to_json()) | changes).encode()


def test_counts_of_triples(tmp_path):
    with ShardSetWriter(tmp_path / "set", "triples", 4) as writer:
        for i, (first, second, text) in enumerate(
            [
                ("a", "b", "more snow"),
                ("b", "a", "less snow"),
                ("a", "c", "more snow"),
                ("c", "d", "one two three four"),
            ]
        ):
            writer.write_triple(
                triple(i, image1=first, image2=second, difference=text, source={"writer": f"w{i % 2}"})
            )
        writer.write_triple(triple(9, image1="a", image2="d", difference="more snow", source={}))
    report = inspect_shards(str(tmp_path / "set"), samples=3)
    assert (report.kind, report.payload, report.shards, report.records) == ("triples", "keys", 2, 5)
    assert (report.texts, report.distinct_texts, report.repeated_texts) == (5, 3, [("more snow", 3)])
    assert (report.pictures, report.repeated_pairs) == (4, 1)
    assert report.words == {"min": 2, "median": 2, "mean": 2.4, "p95": pytest.approx(3.6), "max": 4}
    assert report.histogram == [(2, 2, 4), (3, 3, 0), (4, 4, 1)]
    assert report.writers == {"w0": 2, "w1": 2, "not noted": 1}
    assert len(report.samples) == 3
    assert not report.faults
    assert inspect_shards(str(tmp_path / "set"), samples=3) == report


def test_counts_of_pictures(tmp_path):
    report = inspect_shards(str(write_pictures(tmp_path / "set", 26)))
    assert (report.kind, report.payload, report.records, report.texts) == ("pictures", None, 26, 52)
    assert report.classes == {"class0": 9, "class1": 9, "class2": 8}
    assert report.attributes == {"size": 26, "colour": 26}
    assert report.repeated_texts[0] == ("noise", 26)
    assert report.samples[0]["size"] == [24, 24]


def test_long_texts_share_bins_and_every_text_is_in_one(tmp_path):
    with ShardSetWriter(tmp_path / "set", "triples") as writer:
        for i in range(200):
            writer.write_triple(triple(i, difference="word " * (1 + i % 77)))
    report = inspect_shards(str(tmp_path / "set"))
    assert len(report.histogram) <= 12
    assert sum(count for _, _, count in report.histogram) == 200
    assert report.histogram[0][0] == 1
    assert all(
        before[1] + 1 == after[0]
        for before, after in zip(report.histogram, report.histogram[1:], strict=False)
    )


def test_a_foreign_set_is_counted(tmp_path):
    members = {f"{i:05d}.{e}": jpeg(i) if e == "jpg" else b"a cat" for i in range(4) for e in ("jpg", "txt")}
    path = _tar(tmp_path / "00000.tar", members | {"README": b"hello"})
    report = inspect_shards(str(path))
    assert (report.kind, report.records, report.texts, report.skipped, report.faults) == (
        "pictures",
        4,
        4,
        1,
        [],
    )


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"a.json": _json(difference="")}, "x.tar: record 'a': its 'difference' is empty"),
        ({"a.json": _json(image2="p0000")}, "record 'a': image1 and image2 are the same picture 'p0000'"),
        ({"k.json": _json(), "a.json": b"{"}, "record 'a': its json cannot be read"),
        (
            {"k.json": _json(), "a.json": _json(), "a.1.jpg": jpeg(0)},
            r"record 'a': its pictures are \['1.jpg'\]",
        ),
        ({"k.1.jpg": jpeg(0), "k.2.jpg": jpeg(1)}, r"record 'k': .*no file \.json|record 'k': no image"),
        (
            {"a.1.jpg": jpeg(0), "a.2.jpg": jpeg(1)[:-300], "a.json": _json()},
            r"record 'a\.2\.jpg': its picture cannot be decoded",
        ),
        ({"k.jpg": jpeg(0), "a.jpg": jpeg(1)[:-300]}, r"record 'a\.jpg': its picture cannot be decoded"),
        ({"k.jpg": jpeg(0), "a.txt": b"alone"}, r"record 'a': no image among its files \(txt\)"),
    ],
)
def test_each_fault_is_named_by_file_and_key_and_fails_the_command(tmp_path, capsys, members, says):
    path = _tar(tmp_path / "x.tar", members)
    assert main(["inspect", str(path)]) == 1
    printed = capsys.readouterr()
    assert str(path) in printed.err
    report = inspect_shards(str(path))
    assert report.fault_count == 1
    assert re.search(says, report.faults[0])
    assert report.faults[0] in printed.out.replace("\n", "") or report.faults[0] in printed.out


def test_undecodable_pictures_pass_without_decode(tmp_path):
    path = _tar(tmp_path / "x.tar", {"a.jpg": b"no picture", "b.jpg": jpeg(1)})
    assert inspect_shards(str(path), decode=False, samples=0).faults == []
    assert inspect_shards(str(path), decode=True, samples=0).fault_count == 1


def test_triples_whose_picture_is_missing(tmp_path):
    triples = write_triples(tmp_path / "triples", 30)
    pictures = write_pictures(tmp_path / "pictures", 6)
    report = inspect_shards(str(triples), pictures=str(pictures))
    assert (report.missing_pictures, report.fault_count, len(report.faults)) == (25, 25, 20)
    assert "000000.tar: record 't0005': names 'p0006', not in the picture set" in report.faults[0]
    assert "names 'p0006' and 'p0007', not in" in report.faults[1]
    assert inspect_shards(str(triples), pictures=str(write_pictures(tmp_path / "all", 31))).fault_count == 0


def test_a_key_in_two_shards(tmp_path):
    write_triples(tmp_path / "a", 3)
    write_triples(tmp_path / "b", 3)
    report = inspect_shards([str(tmp_path / "a"), str(tmp_path / "b")])
    assert report.fault_count == 3
    assert (
        f"{tmp_path}/b/000000.tar: record 't0000': its key is in {tmp_path}/a/000000.tar already"
        in report.faults[0]
    )


def test_a_cut_shard_does_not_hide_the_others(tmp_path):
    folder = write_triples(tmp_path / "set", 30, 10)
    shard = folder / "000001.tar"
    shard.write_bytes(shard.read_bytes()[:5000])
    report = inspect_shards(f"{folder}/*.tar")
    assert (report.records, report.fault_count) == (20, 1)
    assert "000001.tar: truncated or damaged tar" in report.faults[0]


def test_a_byte_that_changed_after_writing(tmp_path):
    folder = write_triples(tmp_path / "set", 5)
    data = bytearray((folder / "000000.tar").read_bytes())
    at = data.index(b"objects more")
    data[at] = ord("O")
    (folder / "000000.tar").write_bytes(data)
    report = inspect_shards(str(folder))
    assert report.fault_count == 1
    assert "its sha256 is not the one in set.json" in report.faults[0]


def test_the_command_prints_for_people_and_for_programs(tmp_path):
    folder = tmp_path / "set"
    with ShardSetWriter(folder, "triples") as writer:
        for i in range(20):
            writer.write_triple(triple(i, difference="a [bold]bracket[/] " + "word " * (i % 4)))
    command = [sys.executable, "-m", "pcclip", "inspect", str(folder), "--samples", "2"]
    environment = os.environ | {"COLUMNS": "100"}
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    for expected in (
        "20 in 1 shard(s)",
        "Words per text",
        "█",
        "a [bold]bracket[/]",
        "rules 20",
        "No fault found",
    ):
        assert expected in shown
    output = subprocess.run(
        [*command, "--as_json", "true"], capture_output=True, text=True, check=True
    ).stdout
    report = json.loads(output)
    assert (report["records"], report["faults"], len(report["samples"])) == (20, [], 2)


def test_nothing_to_inspect(tmp_path, capsys):
    assert main(["inspect", str(tmp_path / "none")]) == 1
    assert "there is no such shard" in capsys.readouterr().err


def test_real_pictures(tmp_path, real_data):
    files = sorted((real_data / "coco/val2017").glob("*.jpg"))[:12]
    with ShardSetWriter(tmp_path / "set", "pictures") as writer:
        for i, file in enumerate(files):
            writer.write_picture(replace(picture(i), key=file.stem, image=file.read_bytes()))
    report = inspect_shards(str(tmp_path / "set"))
    assert (report.records, report.fault_count) == (12, 0)
    assert min(report.samples[0]["size"]) > 100
