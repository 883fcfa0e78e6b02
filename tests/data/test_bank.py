"""The embedding bank: what it holds, what it refuses, kills, waiting processes, size."""

import hashlib
import json
import pickle
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from shard_making import jpeg, picture, start, write_pictures, write_triples

from pcclip.data.bank import Bank, BankError, BankWriter, build_bank
from pcclip.data.records import ShardError, decode_picture
from pcclip.data.shards import ShardIndex, ShardSetWriter, resolve_shards


def preprocess(picture):
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255


def encode(pixels):
    """A fixed random projection of the pixels to 16 numbers."""
    weights = torch.randn(3 * 24 * 24, 16, generator=torch.Generator().manual_seed(0))
    return pixels.flatten(1) @ weights


def build(folder, pictures, **changes):
    settings = {"fingerprint": "fp", "dim": 16, "batch_size": 4, "num_workers": 0, "progress": False}
    return build_bank(folder, resolve_shards(pictures), preprocess, encode, **(settings | changes))


def contents(folder):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rows_are_the_unit_embeddings_of_their_pictures(tmp_path, dtype):
    bank = build(tmp_path / "bank", write_pictures(tmp_path / "set"), dtype=dtype)
    assert (len(bank), bank.dim, bank.dtype, bank.fingerprint) == (26, 16, dtype, "fp")
    assert list(bank.keys()) == [f"p{i:04d}" for i in range(26)]
    asked = [25, 3, 3, 0, 17]
    read = bank.embeddings(bank.rows([f"p{i:04d}" for i in asked]))
    pixels = torch.stack([preprocess(decode_picture(jpeg(i), "", "")) for i in asked])
    expected = torch.nn.functional.normalize(encode(pixels)).numpy()
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, expected, atol=1e-6 if dtype == "float32" else 1e-3)
    np.testing.assert_allclose(np.linalg.norm(read, axis=1), 1, atol=1e-6)
    assert np.load(tmp_path / "bank/embeddings.npy").dtype == dtype


@pytest.mark.parametrize(("workers", "method"), [(1, "fork"), (2, "spawn"), (2, "forkserver")])
def test_workers_change_nothing(tmp_path, workers, method):
    pictures = write_pictures(tmp_path / "set")
    build(tmp_path / "alone", pictures)
    build(tmp_path / "workers", pictures, num_workers=workers, start_method=method)
    assert contents(tmp_path / "workers") == contents(tmp_path / "alone")


def test_a_finished_bank_is_opened_not_built(tmp_path):
    pictures = write_pictures(tmp_path / "set")
    build(tmp_path / "bank", pictures)
    built = (tmp_path / "bank/embeddings.npy").stat().st_mtime_ns
    assert len(build(tmp_path / "bank", pictures)) == 26
    assert (tmp_path / "bank/embeddings.npy").stat().st_mtime_ns == built


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"fingerprint": "other"}, "fingerprint fp, but the model's is other"),
        ({"dtype": "float16"}, r"made as float32 x 16 of 26 pictures in 000000\.tar.*float16 x 16 of 26"),
    ],
)
def test_a_bank_that_does_not_fit_is_refused(tmp_path, changes, says):
    pictures = write_pictures(tmp_path / "set")
    build(tmp_path / "bank", pictures)
    with pytest.raises(BankError, match=says) as caught:
        build(tmp_path / "bank", pictures, **changes)
    assert str(tmp_path / "bank") in str(caught.value)
    assert "Name another folder" in str(caught.value)


def test_a_bank_of_other_pictures_is_refused(tmp_path):
    build(tmp_path / "bank", write_pictures(tmp_path / "set"))
    with pytest.raises(BankError, match=r"of 26 pictures .* of 20 pictures"):
        build(tmp_path / "bank", write_pictures(tmp_path / "other", 20))


def test_opening_with_another_model_is_refused(tmp_path):
    build(tmp_path / "bank", write_pictures(tmp_path / "set"))
    assert len(Bank.open(tmp_path / "bank", None)) == len(Bank.open(tmp_path / "bank", "fp")) == 26
    with pytest.raises(BankError, match=r"bank: this bank was made with .* fp, but the model's is other"):
        Bank.open(tmp_path / "bank", "other")


def test_a_missing_picture_is_named(tmp_path):
    bank = build(tmp_path / "bank", write_pictures(tmp_path / "set"))
    with pytest.raises(BankError, match=r"has no picture 'x1' \(2 of 4 asked for are missing; it holds 26\)"):
        bank.rows(["p0000", "x1", "p0001", "x2"])
    assert bank.find(["p0000", "x1"]).tolist() == [0, -1]
    assert bank.rows([]).shape == (0,)
    assert bank.embeddings(bank.rows([])).shape == (0, 16)


def _write(folder, pictures):
    with ShardSetWriter(folder, "pictures", 10) as writer:
        for one in pictures:
            writer.write_picture(one)
    return folder


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_picture_stops_the_build_by_file_and_key(tmp_path, workers):
    damaged = [picture(i) if i != 17 else picture(i, image=jpeg(i)[:-300]) for i in range(26)]
    folder = _write(tmp_path / "set", damaged)
    with pytest.raises(
        ShardError, match=r"set/000001\.tar: record 'p0017': its picture cannot be decoded"
    ) as error:
        build(tmp_path / "bank", folder, num_workers=workers)
    assert "Traceback" not in str(error.value)
    assert not (tmp_path / "bank").exists()


def test_triples_with_pixels_give_the_bank_of_their_pictures(tmp_path):
    build(tmp_path / "pictures", write_pictures(tmp_path / "set"))
    build(tmp_path / "triples", write_triples(tmp_path / "own", pixels=True))
    of_pictures, of_triples = contents(tmp_path / "pictures"), contents(tmp_path / "triples")
    changed = {name for name in of_pictures if of_pictures[name] != of_triples[name]}
    assert changed == {"bank.json"}  # it names the shards


def test_pictures_of_triples_that_a_picture_set_holds_too_come_once(tmp_path):
    pictures, triples = write_pictures(tmp_path / "set"), write_triples(tmp_path / "own", pixels=True)
    build(tmp_path / "pictures", pictures)
    build(tmp_path / "both", [str(pictures), str(triples)])
    of_pictures, of_both = contents(tmp_path / "pictures"), contents(tmp_path / "both")
    assert {name for name in of_pictures if of_pictures[name] != of_both[name]} == {"bank.json"}


def test_triples_without_pixels_make_no_bank(tmp_path):
    with pytest.raises(ShardError, match="'t0000': has no picture"):
        build(tmp_path / "bank", write_triples(tmp_path / "set"))


def test_a_key_in_two_shards_is_refused(tmp_path):
    folders = [str(write_pictures(tmp_path / name, 3)) for name in ("a", "b")]
    with pytest.raises(BankError, match=r"'p0000' comes twice|'p000[12]' comes twice"):
        build(tmp_path / "bank", folders)


@pytest.mark.parametrize(("value", "width"), [(float("nan"), 16), (0.0, 16), (1.0, 15)])
def test_embeddings_that_are_none_are_refused(tmp_path, value, width):
    shards = resolve_shards(write_pictures(tmp_path / "set"))
    with pytest.raises(BankError, match=r"'p0000' is zero or not finite|do not fit"):
        build_bank(
            tmp_path / "bank",
            shards,
            preprocess,
            lambda pixels: torch.full((len(pixels), width), value),
            fingerprint="fp",
            dim=16,
            num_workers=0,
            progress=False,
        )


def test_damaged_banks_are_refused(tmp_path):
    build(tmp_path / "bank", write_pictures(tmp_path / "set"))
    about = json.loads((tmp_path / "bank/bank.json").read_bytes())
    del about["sha256"]
    for changed, says in (
        (about | {"count": 27}, "not what bank.json says"),
        (about | {"schema": 2}, "schema 2"),
        ({}, "cannot be read"),
    ):
        (tmp_path / "bank/bank.json").write_text(json.dumps(changed))
        with pytest.raises(BankError, match=says):
            Bank.open(tmp_path / "bank", "fp")
    (tmp_path / "bank/bank.json").write_text(json.dumps(about))
    (tmp_path / "bank/embeddings.npy").write_bytes((tmp_path / "bank/embeddings.npy").read_bytes()[:-8])
    with pytest.raises(BankError, match="cannot be read"):
        Bank.open(tmp_path / "bank", "fp")
    (tmp_path / "bank/embeddings.npy").unlink()
    with pytest.raises(BankError, match=r"embeddings\.npy is missing"):
        Bank.open(tmp_path / "bank", "fp")


def test_pickling_takes_the_path_only(tmp_path):
    bank = build(tmp_path / "bank", write_pictures(tmp_path / "set"))
    data = pickle.dumps(bank)
    assert len(data) < 1000
    copy = pickle.loads(data)
    np.testing.assert_array_equal(
        copy.embeddings(copy.rows(["p0007"])), bank.embeddings(bank.rows(["p0007"]))
    )


def test_keys_with_the_same_hash_table_place_are_told_apart(tmp_path):
    keys = [f"dir/{i}-ü" for i in range(5000)]
    rows = np.random.default_rng(0).standard_normal((5000, 4)).astype(np.float32)
    with BankWriter(tmp_path / "bank", keys, 4, "fp") as writer:
        writer.append(rows)
    bank = Bank.open(tmp_path / "bank", "fp")
    order = np.random.default_rng(1).permutation(5000)
    assert bank.rows([keys[i] for i in order]).tolist() == order.tolist()
    assert (bank.find([f"dir/{i}-u" for i in range(5000)]) == -1).all()


_BUILD = """
import sys, time
from pathlib import Path
from pcclip.data import bank
import test_bank

def encode(pixels):
    time.sleep(0.02)
    with open(sys.argv[3], "a") as log:
        log.write("batch\\n")
    return test_bank.encode(pixels)

print("ready", flush=True)
shards = test_bank.resolve_shards(sys.argv[2])
built = bank.build_bank(Path(sys.argv[1]), shards, test_bank.preprocess, encode, "fp", 16, 4, 0,
                        progress=False, checkpoint_seconds=0)
print(len(built), flush=True)
"""


def test_a_killed_build_goes_on_and_ends_with_the_same_bytes(tmp_path):
    pictures = write_pictures(tmp_path / "set", 200, 30)
    build(tmp_path / "whole", pictures)
    log = tmp_path / "log"
    log.touch()
    for kill in range(2):
        with start(_BUILD, tmp_path / "bank", pictures, log) as process:
            while len(log.read_text().split()) < 8 * (kill + 1):
                time.sleep(0.005)
            process.kill()
        assert not (tmp_path / "bank").exists()
        with pytest.raises(BankError, match="no finished embedding bank"):
            Bank.open(tmp_path / "bank", "fp")
    with start(_BUILD, tmp_path / "bank", pictures, log) as process:
        assert process.stdout.read().split() == ["ready", "200"]
    assert contents(tmp_path / "bank") == contents(tmp_path / "whole")
    batches = len(log.read_text().split())
    assert 50 <= batches <= 52  # each kill cost at most the batch under way


def test_rows_of_another_model_are_not_continued(tmp_path):
    keys = [f"k{i}" for i in range(10)]
    for fingerprint in ("old", "new"):
        writer = BankWriter(tmp_path / "bank", keys, 4, fingerprint)
        assert writer.done == 0
        writer.append(np.ones((3, 4)))
        writer.checkpoint()
        writer.stop()
    assert BankWriter(tmp_path / "bank", keys, 4, "new").done == 3


def test_of_two_processes_one_builds_and_the_other_waits(tmp_path):
    pictures, log = write_pictures(tmp_path / "set", 80), tmp_path / "log"
    with (
        start(_BUILD, tmp_path / "bank", pictures, log) as first,
        start(_BUILD, tmp_path / "bank", pictures, log) as two,
    ):
        assert [process.stdout.read().split() for process in (first, two)] == [["ready", "80"]] * 2
    assert len(log.read_text().split()) == 20


_MILLION = """
import os, random, sys
from pathlib import Path
import numpy as np
from pcclip.data.bank import Bank

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6

before, draw = resident(), random.Random(0)
bank = Bank.open(sys.argv[1], "fp")
opened = resident()
numbers = [draw.randrange(1_000_000) for _ in range(2000)]
rows = bank.rows([f"{i:012d}" for i in numbers])
assert rows.tolist() == numbers
read = bank.embeddings(rows)
assert abs(np.linalg.norm(read, axis=1) - 1).max() < 1e-5
assert (np.argmax(read, axis=1) == rows % 64).all()
print(len(bank), opened - before, resident() - before)
"""


def test_a_million_pictures_are_looked_up_without_loading_them(tmp_path):
    keys = [f"{i:012d}" for i in range(1_000_000)]
    with BankWriter(tmp_path / "bank", keys, 64, "fp", "float16") as writer:
        noise = np.random.default_rng(0).random((50_000, 64), np.float32)
        for first in range(0, 1_000_000, 50_000):
            noise[np.arange(50_000), np.arange(first, first + 50_000) % 64] = 2
            writer.append(noise)
            noise[noise == 2] = 0.5
    with start(_MILLION, tmp_path / "bank") as process:
        count, opened, read = map(float, process.stdout.read().split())
    assert count == 1_000_000
    assert opened < 5
    assert read < 50  # MB; the bank's rows alone are 128


def test_real_pictures_give_what_a_plain_open_clip_loop_gives(tmp_path, real_data):
    files = sorted((real_data / "coco/val2017").glob("*.jpg"))[:10]
    folder = _write(
        tmp_path / "set", [replace(picture(i), key=f.stem, image=f.read_bytes()) for i, f in enumerate(files)]
    )
    import open_clip

    vision = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 8}
    text = {"context_length": 16, "vocab_size": 64, "layers": 1, "width": 64, "heads": 1}
    model = open_clip.CLIP(16, vision, text).eval()
    transform = open_clip.image_transform(32, is_train=False)
    bank = build_bank(
        tmp_path / "bank",
        resolve_shards(folder),
        transform,
        model.encode_image,
        "fp",
        16,
        4,
        1,
        progress=False,
    )
    index = ShardIndex.load(folder / "000000.tar")
    for record in range(len(index)):
        pixels = transform(decode_picture(index.read(record, "jpg"), "", ""))
        with torch.no_grad():
            expected = torch.nn.functional.normalize(model.encode_image(pixels[None]))[0].numpy()
        np.testing.assert_allclose(bank.embeddings(bank.rows([index.key(record)]))[0], expected, atol=1e-5)
