"""CLIP_benchmark's layout, written by webdataset as `clip_benchmark_export_wds` does."""

from __future__ import annotations

import contextlib
import functools
import http.server
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import webdataset
from PIL import Image
from set_making import colour, shown, spoken

from pcclip.errors import PcclipError
from pcclip.evaluation.sources.clip_benchmark import ClipBenchmark

NAMES = ["tabby cat", "dog", "red panda"]


def export(root: Path, split: str, count: int, shard: int = 40, retrieval: bool = False) -> None:
    (root / split).mkdir(parents=True)
    with webdataset.ShardWriter(str(root / split / "%d.tar"), maxcount=shard, verbose=0) as sink:
        for number in range(count):
            sample = {"__key__": f"s{number:07d}", ("webp", "png", "jpg")[number % 2]: picture(number)}
            sink.write(sample | ({"txt": "one line\nand another"} if retrieval else {"cls": number % 3}))
        shards = sink.shard
    (root / split / "nshards.txt").write_text(f"{shards}\n")
    if retrieval:
        (root / "dataset_type.txt").write_text("retrieval\n")
    else:
        (root / "classnames.txt").write_text("".join(f"{name}\n" for name in NAMES))
        (root / "zeroshot_classification_templates.txt").write_text("a photo of a {c}.\na {c}.\n")


def picture(number: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (9, 9), colour(number)).save(file, ("WEBP", "PNG")[number % 2], lossless=True)
    return file.getvalue()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    export(tmp_path / "wds", "test", 100)
    export(tmp_path / "wds", "train", 150)
    return tmp_path / "wds"


def test_a_classification_set(root: Path):
    found = ClipBenchmark(str(root), name="wds/vtab/pets").load("test")
    assert found.evaluated == "vtab-pets/test"
    assert found.classes == tuple(NAMES)
    assert found.prompts == ("a photo of a {}.", "a {}.")
    assert found.held_out_prompts == ()
    assert len(found) == 100
    for index in (0, 41, 99):
        assert found.keys[index] == f"s{index:07d}"
        assert shown(found, index) == colour(index)
        assert spoken(found)[index] == NAMES[index % 3]
    assert ClipBenchmark(str(root), name="x", prompts=["{}!"]).load("test").prompts == ("{}!",)


def test_validation_is_cut_from_train_where_it_has_no_folder(root: Path):
    source = ClipBenchmark(str(root), name="pets", validation=0.3)
    parts = [source.load(split) for split in ("train", "validation")]
    assert sum(map(len, parts)) == 150
    assert 20 < len(parts[1]) < 70
    assert not set(parts[0].keys) & set(parts[1].keys)
    whole = source.load("all")  # the splits number their pictures alike
    assert len(whole) == 250
    assert whole.keys[0] == "train/0/s0000000"
    export(root, "val", 12)
    assert len(source.load("validation")) == 12
    assert len(source.load("train")) == 150


def test_a_retrieval_set(tmp_path: Path):
    export(tmp_path / "wds_flickr8k", "test", 50, retrieval=True)
    found = ClipBenchmark(str(tmp_path / "wds_flickr8k")).load("test")
    assert found.evaluated == "flickr8k/test"
    assert found.captions == (("one line", "and another"),) * 50
    assert not found.classes
    assert (found.labels == -1).all()
    assert shown(found, 49) == colour(49)


def test_sets_off_the_layout_are_refused(root: Path):
    source = ClipBenchmark(str(root), name="pets")
    (root / "classnames.txt").write_text("cat\ndog\n")
    with pytest.raises(
        PcclipError, match=r"classnames.txt: 2 class names, but .*wds/test .* of class number 2"
    ):
        source.load("test")
    (root / "classnames.txt").write_text("".join(f"{name}\n" for name in [*NAMES, "cow"]))
    with pytest.raises(PcclipError, match=r"4 classes, but .* are of 3; without a picture: '3'"):
        source.load("test")
    (root / "classnames.txt").unlink()
    with pytest.raises(PcclipError, match=r"classnames.txt: is not there. Set 'class_names'"):
        source.load("test")
    named = ClipBenchmark(str(root), name="pets", class_names=NAMES, class_names_in_order=True)
    assert named.load("test").classes == tuple(NAMES)
    (root / "zeroshot_classification_templates.txt").unlink()
    with pytest.raises(PcclipError, match=r"templates.txt: is not there. Set 'prompts'"):
        named.load("test")
    (root / "test" / "1.tar").unlink()
    with pytest.raises(PcclipError, match=r"test/1.tar: is not there, but nshards.txt says 3"):
        source.load("test")
    with pytest.raises(PcclipError, match=r"has no split 'valid'; its splits: train, validation, test, all"):
        source.load("valid")
    (root / "dataset_type.txt").write_text("multilabel")
    with pytest.raises(PcclipError, match=r"several labels each"):
        source.load("test")


class Server(http.server.SimpleHTTPRequestHandler):
    """A server that sends parts of files, as the hub's does, and can be told to break off."""

    asked: list[tuple[str, str | None]]
    stop_after: int | None = None
    pause = 0.0  # seconds after each MiB

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Range")))
        file = Path(self.translate_path(self.path))
        if not file.is_file():
            self.send_error(404)
            return
        data, tag = file.read_bytes(), f'"{file.stat().st_mtime_ns}"'
        start = 0
        part = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if part and self.headers.get("If-Range") == tag:
            start = int(part[1])
        self.send_response(206 if start else 200)
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        end = len(data) if self.stop_after is None else start + self.stop_after
        with contextlib.suppress(ConnectionError):
            for at in range(start, min(end, len(data)), 1 << 20):
                self.wfile.write(data[at : min(at + (1 << 20), end)])
                time.sleep(self.pause)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(root: Path) -> Iterator[tuple[str, type[Server]]]:
    class Handler(Server):
        asked: list[tuple[str, str | None]] = []  # noqa: RUF012

    handler = functools.partial(Handler, directory=str(root.parent))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/{{dataset_cleaned}}", Handler
    server.shutdown()
    server.server_close()


def test_an_address_is_fetched_once(root: Path, served: tuple[str, type[Server]], tmp_path: Path):
    address, handler = served
    source = ClipBenchmark(str(tmp_path / "kept"), address, name="wds")
    found = source.load("test")
    assert spoken(found) == spoken(ClipBenchmark(str(root), name="wds").load("test"))
    assert shown(found, 99) == colour(99)
    assert len({path for path, _ in handler.asked}) == len(handler.asked)
    assert not any("train" in path for path, _ in handler.asked)
    handler.asked.clear()
    again = ClipBenchmark(str(tmp_path / "kept"), address, name="wds").load("test")
    assert again.fingerprint() == found.fingerprint()
    assert not handler.asked
    assert [file.read_bytes() == (root / "test" / file.name).read_bytes()
            for file in (tmp_path / "kept" / "test").glob("*.tar")] == [True] * 3  # fmt: skip


def test_a_broken_connection_is_gone_on_with(root: Path, served: tuple[str, type[Server]], tmp_path: Path):
    address, handler = served
    size = (root / "test" / "0.tar").stat().st_size
    handler.stop_after = size // 3
    source = ClipBenchmark(str(tmp_path / "kept"), address, name="wds")
    found = source.load("test")
    assert [shown(found, n) for n in range(100)] == [colour(n) for n in range(100)]
    asked = [part for path, part in handler.asked if path.endswith("/0.tar")]
    assert asked[0] is None
    assert asked[1] == f"bytes={size // 3}-"
    assert not list((tmp_path / "kept" / "test").glob("*.part*"))


def test_what_changed_on_the_server_is_fetched_anew(
    root: Path, served: tuple[str, type[Server]], tmp_path: Path
):
    address, _ = served
    kept = tmp_path / "kept" / "test"
    kept.mkdir(parents=True)
    (kept / ".0.tar.part").write_bytes(b"what another version began with")
    (kept / ".0.tar.part.tag").write_text('"old"')
    ClipBenchmark(str(tmp_path / "kept"), address, name="wds").load("test")
    assert (kept / "0.tar").read_bytes() == (root / "test" / "0.tar").read_bytes()


def test_a_killed_download_leaves_no_half_file(root: Path, served: tuple[str, type[Server]], tmp_path: Path):
    address, handler = served
    big = root / "test" / "0.tar"
    rows = np.random.default_rng(0).integers(0, 255, 50_000_000, np.uint8).tobytes()
    big.write_bytes(rows)
    file = tmp_path / "kept" / "0.tar"
    url = address.replace("{dataset_cleaned}", "wds") + "/test/0.tar"
    call = f"fetch({url!r}, Path({str(file)!r}))"
    script = f"from pathlib import Path\nfrom pcclip.evaluation.sources.download import fetch\n{call}"
    handler.pause = 0.1
    child = subprocess.Popen([sys.executable, "-c", script], env=os.environ)
    part = file.with_name(".0.tar.part")
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size > 1_000_000) and time.monotonic() < deadline:
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.wait()
    handler.pause = 0.0
    assert not file.exists()
    start = part.stat().st_size
    assert 1_000_000 < start < len(rows)
    # Two at once: one goes on, the other waits for it.
    children = [subprocess.Popen([sys.executable, "-c", script], env=os.environ) for _ in range(2)]
    assert [child.wait(60) for child in children] == [0, 0]
    assert file.read_bytes() == rows
    assert sorted(path.name for path in file.parent.iterdir()) == ["0.tar"]
    assert handler.asked[1:] == [("/wds/test/0.tar", f"bytes={start}-")]


def test_an_address_that_does_not_answer_is_told(tmp_path: Path, free_port: int):
    source = ClipBenchmark(str(tmp_path), f"http://127.0.0.1:{free_port}/wds", name="wds")
    with pytest.raises(PcclipError, match=r"cannot be downloaded \(.*refused.*\).* by hand"):
        source.load("test")


def test_the_hubs_addresses_are_understood():
    address = "https://huggingface.co/datasets/clip-benchmark/wds_{dataset_cleaned}/tree/main"
    source = ClipBenchmark("kept", address, name="wds/vtab/eurosat")
    assert source._base == "https://huggingface.co/datasets/clip-benchmark/wds_vtab-eurosat/resolve/main"
