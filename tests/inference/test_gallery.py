from __future__ import annotations

import io
import logging
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pcclip
from pcclip.errors import PcclipError
from pcclip.inference.gallery import Gallery
from pcclip.inference.model import DifferenceModel
from tests.inference.conftest import RUN, save_picture


@pytest.fixture
def model(pets: Path) -> DifferenceModel:
    return pcclip.load(RUN, device="cpu", cache="cache")


def change_unseen(file: Path, colour: str) -> None:
    """Other content in a file of the same size and time: embedded again, its embedding would change."""
    before = file.stat()
    data = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(data, "JPEG", quality=5)
    file.write_bytes(data.getvalue().ljust(before.st_size, b"\0"))
    assert file.stat().st_size == before.st_size
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def own(file: Path) -> None:
    """Makes a linked picture the test's own."""
    data, status = file.read_bytes(), file.stat()
    file.unlink()
    file.write_bytes(data)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_folder_is_searched_to_its_depth_and_embedded_once(model: DifferenceModel, pets: Path):
    save_picture(pets / "photos" / ".thumbs" / "x.jpg", 1)
    save_picture(pets / "photos" / "UPPER.JPG", 50)
    (pets / "photos" / "notes.txt").write_text("no picture")
    (pets / "photos" / "loop").symlink_to(pets / "photos")
    gallery = Gallery.open("photos", model)
    letters = [f"{letter}.jpg" for letter in "abcdefgh"]
    assert gallery.files == tuple(sorted(["UPPER.JPG", *letters, *(f"more/{n}.png" for n in range(8, 12))]))
    assert gallery.features.dtype == np.float32
    alone = model.encode_images([gallery.path(row) for row in range(len(gallery))])
    assert np.allclose(gallery.features, alone, atol=1e-6)
    assert np.allclose(np.linalg.norm(gallery.features, axis=1), 1, atol=1e-5)
    assert isinstance(gallery.features, np.memmap)
    in_memory = Gallery.open("photos", pcclip.load(RUN))
    assert in_memory.files == gallery.files
    assert np.allclose(in_memory.features, gallery.features, atol=1e-6)


def test_only_what_is_new_or_changed_is_embedded(model: DifferenceModel, pets: Path):
    before = Gallery.open("photos", model)
    own(pets / "photos" / "b.jpg")
    change_unseen(pets / "photos" / "b.jpg", "red")
    save_picture(pets / "photos" / "aa.jpg", 71)
    (pets / "photos" / "c.jpg").unlink()
    own(pets / "photos" / "d.jpg")
    save_picture(pets / "photos" / "d.jpg", 72)
    os.rename(pets / "photos" / "h.jpg", pets / "photos" / "z.jpg")
    after = Gallery.open("photos", model)
    assert after.files[:4] == ("a.jpg", "aa.jpg", "b.jpg", "d.jpg")
    row = {name: after.features[number] for number, name in enumerate(after.files)}
    was = {name: before.features[number] for number, name in enumerate(before.files)}
    fresh = model.encode_images(["photos/b.jpg"])[0]
    assert np.array_equal(row["b.jpg"], was["b.jpg"])
    assert not np.allclose(row["b.jpg"], fresh, atol=1e-3)  # kept, not made anew
    assert np.allclose(row["aa.jpg"], model.encode_images(["photos/aa.jpg"])[0], atol=1e-6)
    assert np.allclose(row["d.jpg"], model.encode_images(["photos/d.jpg"])[0], atol=1e-6)
    assert not np.allclose(row["d.jpg"], was["d.jpg"], atol=1e-3)
    assert np.allclose(row["z.jpg"], was["h.jpg"], atol=1e-6)
    assert len(list(Path("cache").glob("gallery-*"))) == 1
    assert len(list(Path("cache").glob("gallery-*/*"))) == 2  # nothing is left behind


def test_base_and_tuned_share_what_one_image_tower_made(model: DifferenceModel, pets: Path):
    Gallery.open("photos", model)
    own(pets / "photos" / "b.jpg")
    change_unseen(pets / "photos" / "b.jpg", "red")
    base = pcclip.load(RUN, stage="base", cache="cache")
    kept = Gallery.open("photos", base).features[1]
    assert not np.allclose(kept, base.encode_images("photos/b.jpg"), atol=1e-3)


def test_unreadable_pictures_are_told_of_and_left_out(
    model: DifferenceModel, pets: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.WARNING, "pcclip")
    (pets / "photos" / "bad.jpg").write_bytes(b"no picture")
    data = (pets / "photos" / "a.jpg").read_bytes()
    (pets / "photos" / "cut.jpg").write_bytes(data[: len(data) // 2])
    for _ in range(2):  # when they are embedded, and when their embeddings are read
        caplog.clear()
        gallery = Gallery.open("photos", model)
        assert len(gallery) == 12
        assert gallery.unreadable == ("bad.jpg", "cut.jpg")
        assert "2 unreadable pictures left out" in caplog.text
    alone = model.encode_images([gallery.path(row) for row in range(len(gallery))])
    assert np.allclose(gallery.features, alone, atol=1e-6)
    save_picture(pets / "photos" / "bad.jpg", 5)
    assert Gallery.open("photos", model).unreadable == ("cut.jpg",)
    for number in range(10):
        (pets / "photos" / f"bad{number}.jpg").write_bytes(b"")
    with pytest.raises(PcclipError, match="more than 10 pictures cannot be read"):
        Gallery.open("photos", model)
    only = pets / "only"
    only.mkdir()
    (only / "bad.jpg").write_bytes(b"no picture")
    with pytest.raises(PcclipError, match=r"no picture in it can be read \(1 were tried\)"):
        Gallery.open(only, model)


def test_a_stopped_process_loses_no_more_than_its_last_part(model: DifferenceModel, pets: Path):
    many = pets / "many"
    for number in range(1024):
        save_picture(many / f"{number:04d}.jpg", number, size=(8, 8))
    for number in range(200):
        (many / f"bad{number:03d}.jpg").write_bytes(b"no picture")
    with pytest.raises(PcclipError, match="more than 122 pictures"):  # a tenth; in the second part
        Gallery.open(many, model, progress=False)
    for number in range(200):
        (many / f"bad{number:03d}.jpg").unlink()
    change_unseen(many / "0003.jpg", "red")
    save_picture(many / "1024.jpg", 1024)
    gallery = Gallery.open(many, model, progress=False)
    assert len(gallery) == 1025
    fresh = model.encode_images([many / "0002.jpg", many / "0003.jpg", many / "1024.jpg"])
    assert np.allclose(gallery.features[[2, 1024]], fresh[[0, 2]], atol=1e-3)
    assert not np.allclose(gallery.features[3], fresh[1], atol=1e-3)


def test_damage_is_an_error_that_says_what_to_delete(model: DifferenceModel, pets: Path):
    Gallery.open("photos", model)
    (kept,) = Path("cache").glob("gallery-*")
    next(kept.glob("features-*.npy")).write_bytes(b"half")
    with pytest.raises(PcclipError, match=r"gallery-.*damaged.*Delete it"):
        Gallery.open("photos", model)


def test_folders_that_are_none_or_empty(model: DifferenceModel, pets: Path):
    with pytest.raises(PcclipError, match="there is no such folder"):
        Gallery.open("absent", model)
    (pets / "empty").mkdir()
    (pets / "empty" / "a.txt").write_text("no picture")
    with pytest.raises(PcclipError, match="no pictures in it"):
        Gallery.open("empty", model)


def test_rows_of_paths(model: DifferenceModel, pets: Path):
    gallery = Gallery.open("photos", model)
    assert gallery.row("photos/more/9.png") == gallery.row("more/9.png") == gallery.files.index("more/9.png")
    assert gallery.row(pets / "photos" / ".." / "photos" / "a.jpg") == 0
    assert gallery.row("base") is None
    assert gallery.row("absent.jpg") is None
