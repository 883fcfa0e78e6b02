"""What is fuzzed: each target takes bytes and raises only where the code under it is wrong.

`python -m tests.fuzz.run` feeds them by coverage (atheris), tests/hostile/test_fuzz.py by Hypothesis.
"""

import contextlib
import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from pcclip.data.index import ShardIndex
from pcclip.data.records import Picture, ShardError, Triple, decode_picture
from pcclip.data.sources.coco import Coco
from pcclip.data.sources.cub import Cub
from pcclip.data.sources.table import Table
from pcclip.data.sources.webdataset import WebDataset
from pcclip.data.tarscan import scan_tar
from pcclip.demos.claims import Unreadable, read
from pcclip.errors import PcclipError
from pcclip.generation.filters import Accepted, Context, Limits, clean
from pcclip.generation.manifest import MANIFEST, Manifest
from pcclip.generation.prompts import PromptTemplate, RowRejected
from pcclip.generation.rows import Row

_SHM = Path("/dev/shm")
_NOWHERE = Path("/proc/no-cache")  # a folder that cannot be made: nothing is cached
_LIMITS = Limits(min_chars=0)
_PROMPT = PromptTemplate("fuzzed", 1, "A: {caption1} B: {caption2} C: {captions1} {other}", slots=["other"])
_place: Path | None = None


def _folder() -> Path:
    """A folder of this process, in memory where there is one."""
    global _place
    if _place is None or not _place.is_dir():
        _place = Path(tempfile.mkdtemp(prefix="pcclip-fuzz-", dir=_SHM if _SHM.is_dir() else None))
    return _place


def clean_up() -> None:
    if _place is not None:
        shutil.rmtree(_place, ignore_errors=True)


def _file(name: str, data: bytes) -> Path:
    path = _folder() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def triple(data: bytes) -> None:
    try:
        found = Triple.parse("key", data, "shard")
    except ShardError:
        return
    assert Triple.parse("key", found.to_json(), "shard") == found


def picture(data: bytes) -> None:
    text, _, notes = data.partition(b"\n---\n")
    try:
        found = Picture.parse("key", {"jpg": b"", "txt": text, "json": notes or text}, "shard")
    except ShardError:
        return
    again = Picture.parse("key", found.members(), "shard")
    assert (again.caption, again.class_name, again.attributes) == (
        found.caption,
        found.class_name,
        found.attributes,
    )


def decode(data: bytes) -> None:
    try:
        found = decode_picture(data, "key", "shard")
    except ShardError:
        return
    assert found.mode == "RGB"


def shard(data: bytes) -> None:
    path = _file("fuzzed.tar", data)
    try:
        members = scan_tar(path)
    except ShardError:
        return
    finally:
        os.utime(path)
    assert all(at >= 0 and size >= 0 and at + size <= len(data) for _, at, size in members)
    try:
        with tarfile.open(path, "r:") as tar:
            theirs = [(m.name, m.offset_data, m.size) for m in tar if m.isreg()]
    except (tarfile.TarError, ValueError, EOFError):
        theirs = members  # refused there: nothing to compare
    assert [m[1:] for m in members] == [m[1:] for m in theirs]
    assert [m[0] for m in members] == [m[0] for m in theirs]
    try:
        index = ShardIndex.load(path, _NOWHERE)
    except ShardError:
        return
    places = {name.removeprefix("./"): data[at : at + size] for name, at, size in members}
    for record in range(min(len(index), 50)):
        for extension, content in index.read_record(record).items():
            same = [n for n in places if n.lower() == f"{index.key(record)}.{extension}".lower()]
            assert content in [places[n] for n in same]


def coco(data: bytes) -> None:
    _ask(Coco(captions=str(_file("captions.json", data)), with_images=False))


def table(data: bytes) -> None:
    _ask(Table(table=str(_file("table.csv", data)), with_images=False, label_column="label"))


def parquet(data: bytes) -> None:
    _ask(Table(table=str(_file("table.parquet", data)), with_images=False))


def cub(data: bytes) -> None:
    listed, _, captions = data.partition(b"\n---\n")
    _file("cub/classes.txt", b"1 001.A_bird\n")
    _file("cub/images.txt", listed)
    _file("cub/attributes.txt", b"1 has_wing_color::red\n2 has_wing_color::blue\n")
    _file("cub/attributes/attributes.txt", b"1 has_wing_color::red\n2 has_wing_color::blue\n")
    _file("cub/attributes/class_attribute_labels_continuous.txt", b"90.0 10.0\n")
    _file("cub/text/001.A_bird/one.txt", captions)
    root = _folder() / "cub"
    _ask(Cub(root=str(root), captions=str(root / "text"), with_images=False))


def img2dataset(data: bytes) -> None:
    text, _, notes = data.partition(b"\n---\n")
    with tarfile.open(_folder() / "pairs.tar", "w") as tar:
        for name, content in (("1.jpg", b"x"), ("1.txt", text), ("1.json", notes)):
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    _ask(WebDataset(shards=str(_folder() / "pairs.tar"), cache_dir=str(_NOWHERE), label="label"))


def _ask(source: object) -> None:
    try:
        for split in ("train", "validation", "test"):
            for found in source.texts(split):
                assert found.captions
                found.members()
    except PcclipError:
        pass


def answers(data: bytes) -> None:
    text = data.decode("utf-8", "surrogatepass" if data[:1] == b"\xed" else "replace")
    context = Context(("A man on a red horse.",), ("Say how the first picture differs from the second one.",))
    for cut_off in (False, True):
        found = clean(text, _LIMITS, context, cut_off)
        if isinstance(found, Accepted):
            again = clean(found.text, _LIMITS, context, cut_off)
            assert isinstance(again, Accepted), (found.text, again)
            assert again.text == found.text


def clauses(data: bytes) -> None:
    with contextlib.suppress(Unreadable):
        read(data.decode("utf-8", "replace"))


def prompt(data: bytes) -> None:
    one, _, two = data.decode("utf-8", "replace").partition("\n---\n")
    row = Row(0, "key", "a", "b", (one, two), (two or one,), {}, {}, None, None, {"other": one})
    try:
        made = _PROMPT.render(row)
    except RowRejected:
        return
    content = made.messages[-1]["content"]
    assert content.count("\n") <= 1
    assert "<|" not in content
    content.encode()


def manifest(data: bytes) -> None:
    folder = _folder() / "job"
    shutil.rmtree(folder, ignore_errors=True)
    job = Manifest(folder, {"a": 1})
    job.write(0, [{"row": 0, "tokens": [1, 1], "error": None, "reason": None}], True)
    job.close()
    (folder / MANIFEST).write_bytes((folder / MANIFEST).read_bytes() + data)
    try:
        job = Manifest(folder, {"a": 1})
    except PcclipError:
        return
    try:
        list(job.records())
        job.totals()
    except PcclipError:
        pass
    finally:
        job.close()


TARGETS: dict[str, Callable[[bytes], None]] = {
    f.__name__: f
    for f in (
        triple, picture, decode, shard, coco, table, parquet, cub, img2dataset, answers, clauses, prompt,
        manifest,
    )
}  # fmt: skip
