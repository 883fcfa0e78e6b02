"""Pictures that harm whoever decodes them: refused by name, in bounded memory, wherever pictures are read."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pcclip.cli import main
from pcclip.data.decoding import MAX_PIXELS
from pcclip.data.records import Picture, ShardError, decode_picture
from pcclip.data.shards import ShardSetWriter
from pcclip.errors import PcclipError
from pcclip.evaluation.sources.pictures import FilePictures
from pcclip.generation.prompts import PromptTemplate, RowRejected
from pcclip.generation.rows import Row
from pcclip.inference.html_page import thumbnail
from pcclip.inference.pictures import read_file
from pcclip.inference.serve.thumbnails import Thumbnails
from tests.hostile.making import chunk, peak_mib, png

SIDE = 50_000


def encoded(kind: str, picture: Image.Image | None = None, **options: object) -> bytes:
    buffer = io.BytesIO()
    (picture or Image.linear_gradient("L").resize((24, 16)).convert("RGB")).save(buffer, kind, **options)
    return buffer.getvalue()


def patched(data: bytes, mark: bytes, at: int, fields: bytes) -> bytes:
    place = data.index(mark) + at
    return data[:place] + fields + data[place + len(fields) :]


BOMB = zlib.compress(zlib.compress(b"\0" * (1 << 28), 9), 9)
EXIF = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\xff\xff\xff\xff\x06\0\0\0\xff\xff\xff\xff"

BROKEN = {
    "PNG of 50,000 x 50,000": png(SIDE, SIDE, pixels=b"\0" * (1 << 20)),
    "JPEG of 60,000 x 60,000": patched(encoded("JPEG"), b"\xff\xc0", 5, struct.pack(">HH", 60_000, 60_000)),
    "GIF of 65,535 x 65,535": patched(encoded("GIF"), b"GIF8", 6, b"\xff\xff\xff\xff"),
    "GIF whose frame is larger than itself": patched(encoded("GIF"), b",\0\0\0\0", 5, b"\xff\xff\xff\xff"),
    "WebP of 16,383 x 16,383": b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\xff\xff\xff\x0f\0\0\0\0\0\0\0\0\0",
    "TIFF of 100,000 x 100,000": b"II*\0\x08\0\0\0\x05\0"
    + b"".join(
        struct.pack("<HHII", *tag)
        for tag in ((256, 4, 1, 10**5), (257, 4, 1, 10**5), (258, 3, 1, 8), (262, 3, 1, 1), (273, 4, 1, 8))
    )
    + b"\0\0\0\0",
    "BMP of 2^31 - 1 lines": b"BM"
    + struct.pack("<IIIIiiHHIIiiII", 100, 0, 54, 40, 9, 2**31 - 1, 1, 24, 0, 0, 0, 0, 0, 0),
    "PPM of 10^9 x 10^9": b"P6 1000000000 1000000000 255\n" + b"\0" * 100,
    "zTXt bomb": png(4, 4, chunk(b"zTXt", b"a\0\0" + zlib.compress(b"\0" * (1 << 27), 9)), pixels=b"\0" * 52),
    "iCCP bomb": png(4, 4, chunk(b"iCCP", b"a\0\0" + zlib.compress(b"\0" * (1 << 27), 9)), pixels=b"\0" * 52),
    "truncated JPEG": encoded("JPEG")[:400],
    "truncated PNG": encoded("PNG")[:60],
    "SVG": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "error page": b"<!DOCTYPE html><html><title>404 Not Found</title></html>",
    "PostScript, which Pillow would give to Ghostscript": b"%!PS-Adobe-3.0 EPSF-3.0\n"
    b"%%BoundingBox: 0 0 9 9\n%%EndComments\n(id) system\n",
    "nothing": b"",
    "one byte": b"\xff",
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_picture_costs_an_error_and_little_memory(case, tmp_path):
    data = BROKEN[case]
    assert len(data) < 1 << 19
    file = tmp_path / "hostile.jpg"
    file.write_bytes(data)

    def everywhere():
        with pytest.raises(ShardError, match="record 'key': its picture cannot be decoded"):
            decode_picture(data, "key", "a shard")
        for read in (
            lambda: FilePictures(tmp_path, (str(file),)).read(0),
            lambda: read_file(file),
            lambda: thumbnail(file),
            lambda: Thumbnails(tmp_path / "kept", 1 << 20).get(file, 64),
        ):
            with pytest.raises(PcclipError, match=r"hostile\.jpg"):
                read()

    assert peak_mib(everywhere) < 300


def test_the_largest_picture_that_is_decoded_takes_as_much_memory_as_documented():
    side = int(MAX_PIXELS**0.5)
    data = encoded("PNG", Image.new("L", (side, side)), compress_level=1)
    assert peak_mib(lambda: decode_picture(data, "k", "s")) < 900
    over = png(side + 1, side + 2)
    with pytest.raises(ShardError, match=r"more than the 89,478,485 that are decoded"):
        decode_picture(over, "k", "s")


@pytest.mark.parametrize(
    ("data", "shade"),
    [
        (encoded("PNG", Image.fromarray(np.full((4, 4), 0x8000, np.uint16))), 128),
        (encoded("TIFF", Image.new("CMYK", (4, 4), (0, 0, 0, 127))), 128),
        (encoded("GIF", Image.new("P", (4, 4), 0)), 0),
        (encoded("PNG", Image.new("LA", (4, 4), (90, 10))), 90),
        (encoded("JPEG", Image.new("L", (4, 4), 60), exif=EXIF), 60),
        (encoded("PNG", Image.new("1", (4, 4), 1)), 255),
    ],
    ids=["16 bits", "CMYK", "palette", "alpha", "hostile EXIF", "1 bit"],
)
def test_unusual_pictures_are_read_for_what_they_show(data, shade, tmp_path):
    picture = decode_picture(data, "k", "s")
    assert picture.mode == "RGB"
    assert np.abs(np.asarray(picture).astype(int) - shade).max() <= 2
    (tmp_path / "a.jpg").write_bytes(data)
    assert thumbnail(tmp_path / "a.jpg")[1] == (4, 4)
    small = Thumbnails(tmp_path / "kept", 1 << 20).get(tmp_path / "a.jpg", 64)
    assert np.abs(np.asarray(Image.open(io.BytesIO(small)).convert("RGB")).astype(int) - shade).max() <= 2


def test_of_an_animation_the_first_frame_counts(tmp_path):
    frames = [Image.new("RGB", (4, 4), (shade, shade, shade)) for shade in (10, 200, 250)]
    for kind in ("GIF", "WEBP", "PNG"):
        data = encoded(kind, frames[0], save_all=True, append_images=frames[1:])
        assert np.abs(np.asarray(decode_picture(data, "k", "s")).astype(int) - 10).max() <= 3


@pytest.mark.slow
def test_a_folder_with_hostile_pictures_is_ranked_without_them(tiny, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(3):
        (photos / f"good{number}.jpg").write_bytes(encoded("JPEG"))
    names = ("PNG of 50,000 x 50,000", "error page", "SVG", "zTXt bomb", "truncated JPEG")
    for name in names:
        (photos / f"{name.replace(',', '')}.jpg").write_bytes(BROKEN[name])
    (photos / "<img src=x onerror=alert(1)>.jpg").write_bytes(encoded("JPEG"))
    page, table = tmp_path / "order.html", tmp_path / "order.csv"
    (photos / "=cmd|' ' calc.jpg").write_bytes(encoded("JPEG"))
    words = ["rank", str(photos), "<script>alert(1)</script>", "--model", f"local-dir:{tiny}"]
    assert (
        main([*words, "--html", str(page), "--csv", str(table), "--cache_dir", str(tmp_path / "cache")]) == 0
    )
    text = page.read_text()
    assert text.count("<img ") == 5
    assert "<script" not in text
    assert "<img src=x" not in text
    assert "default-src 'none'" in text
    lines = table.read_text().splitlines()
    assert len(lines) == 6
    assert any(",./=cmd" in line for line in lines), "no cell begins like a formula"
    assert not [line for line in lines if line.split(",")[1].strip('"').startswith(("=", "+", "-", "@"))]


def test_shards_with_a_bomb_are_refused_by_bank_and_inspection(tiny, tmp_path, capsys):
    with ShardSetWriter(tmp_path / "set", "pictures", 10) as writer:
        writer.write_picture(Picture("good", encoded("JPEG"), caption="a"))
        writer.write_picture(Picture("bomb", BROKEN["PNG of 50,000 x 50,000"], "png", "b"))
    assert main(["inspect", str(tmp_path / "set")]) == 1
    said = capsys.readouterr()
    assert "bomb" in said.out + said.err
    words = ["--pictures", str(tmp_path / "set"), "--out", str(tmp_path / "bank"), "--num_workers=0"]
    assert main(["bank", *words, "--name", f"local-dir:{tiny}"]) == 1
    assert "record 'bomb" in capsys.readouterr().err


class Bytes:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def read_bytes(self) -> bytes:
        return self.data


def test_a_vision_language_model_is_sent_pictures_only():
    prompt = PromptTemplate("p", 1, "{picture1}{picture2} differ how?")
    good = Bytes(encoded("JPEG"))
    assert prompt.render(Row(0, "k", "a", "b", (), (), {}, {}, good, good, {})).messages
    for case in ("error page", "SVG", "PNG of 50,000 x 50,000", "JPEG of 60,000 x 60,000"):
        with pytest.raises(RowRejected, match=r"neither JPEG, PNG nor WebP|cannot be decoded"):
            prompt.render(Row(0, "k", "a", "b", (), (), {}, {}, good, Bytes(BROKEN[case]), {}))


def test_the_page_for_people_shows_a_hostile_picture_as_missing(tmp_path, capsys):
    from pcclip.data.records import Triple

    with ShardSetWriter(tmp_path / "pictures", "pictures", 10) as writer:
        writer.write_picture(Picture("a", encoded("JPEG"), caption="</script><script>alert(1)</script>"))
        writer.write_picture(Picture("b", BROKEN["iCCP bomb"], "png", "=1+1"))
    with ShardSetWriter(tmp_path / "triples", "triples", 10) as writer:
        writer.write_triple(Triple("t", "a", "b", "=cmd|'/c calc'!A1 <img src=x onerror=alert(1)>"))
    words = ["--people", str(tmp_path / "triples"), "--pictures", str(tmp_path / "pictures")]
    assert main(["judge", *words, "--out", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out/rate.html").read_text()
    assert page.count("<script") == 2, "its own two"
    assert "<img src=x" not in page
    assert "1 of 2 pictures missing" in capsys.readouterr().out
    assert ",=cmd" not in (tmp_path / "out/rate.csv").read_text("utf-8-sig")


def test_no_picture_is_opened_but_through_the_closed_list():
    """Every other `Image.open` reads pictures that this program drew itself."""
    drawn = {"arithmetic", "demos", "docs", "export"}
    root = Path(__file__).parents[2] / "pcclip"
    found = {
        file.relative_to(root).as_posix() for file in root.rglob("*.py") if "Image.open(" in file.read_text()
    }
    assert {place for place in found if place.split("/")[0] not in drawn} == {"data/decoding.py"}
