"""Triples that name more pictures than there are."""

import logging

import numpy as np
import pytest
import torch
from shard_making import picture, triple, write_triples

from pcclip.data.bank import Bank, build_bank
from pcclip.data.batches import TripleSource, make_stream
from pcclip.data.present import keep_present
from pcclip.data.shards import ShardIndex, ShardSetWriter, resolve_shards
from pcclip.data.tokens import TextTokens
from pcclip.errors import PcclipError


def bank_of(folder, numbers) -> Bank:
    with ShardSetWriter(folder / "pictures", "pictures") as writer:
        for i in numbers:
            writer.write_picture(picture(i))

    def preprocess(image):
        return torch.from_numpy(np.array(image)).flatten()[:16].float() + 1

    shards = resolve_shards(folder / "pictures")
    return build_bank(
        folder / "bank",
        shards,
        preprocess,
        lambda pixels: pixels,
        fingerprint="fp",
        dim=16,
        num_workers=0,
        progress=False,
    )


def tokenizer(texts):
    return torch.tensor([[1, 2, 0]] * len(texts))


tokens = TextTokens(tokenizer)


def keys_of(source, epochs=1, training=True):
    stream = make_stream(source, "x", 4, training=training, seed=2, shuffle_shards=2)
    batches = [stream.part(e, b) for e in range(epochs) for b in range(len(stream.cut))]
    return [key for batch in batches for key in batch["keys"].tolist()]


def test_triples_without_their_pictures_are_counted_and_left_out(tmp_path, caplog):
    # Triple i compares the pictures i and i + 1: shard 0 keeps some, shard 1 none, shard 2 all.
    bank = bank_of(tmp_path, [0, 1, 2, 3, 6, 7, 9, *range(20, 26)])
    folder = write_triples(tmp_path / "triples", 25, 10)
    indexes = [ShardIndex.load(path) for path in resolve_shards(folder)]
    with caplog.at_level(logging.WARNING):
        kept = keep_present(indexes, bank, "data.triples=x")
    assert [k.tolist() for k in kept] == [[0, 1, 2, 6], [], [0, 1, 2, 3, 4]]
    (line,) = [r.message for r in caplog.records]
    assert line == "data.triples=x: 9 of 25 triples are used; left out: 16 whose pictures are not in the bank"
    there = [f"t{i:04d}" for i in (0, 1, 2, 6, 20, 21, 22, 23, 24)]
    source = TripleSource(indexes, "keys", tokens, bank=bank, kept=kept)
    assert keys_of(source, training=False) == there
    drawn = keys_of(source, epochs=6)
    assert len(drawn) == 6 * 8
    assert set(drawn) == set(there)
    stream = make_stream(source, "x", 9, training=False)
    part = stream.part(0, 0)
    for at, key in enumerate(part["keys"]):
        one, two = (int(getattr(triple(int(key[1:])), name)[1:]) for name in ("image1", "image2"))
        rows = bank.embeddings(bank.rows([f"p{one:04d}", f"p{two:04d}"]))
        np.testing.assert_array_equal(part["features1"][at].numpy(), rows[0])
        np.testing.assert_array_equal(part["features2"][at].numpy(), rows[1])


def test_nothing_left_is_an_error_that_names_the_bank(tmp_path):
    bank = bank_of(tmp_path, [0, 9, 17])
    indexes = [ShardIndex.load(p) for p in resolve_shards(write_triples(tmp_path / "triples", 25, 10))]
    with pytest.raises(PcclipError, match=r"x: the bank .*bank has both pictures of none of its 25 triples"):
        keep_present(indexes, bank, "x")


def test_with_all_pictures_the_order_is_the_usual_one(tmp_path):
    bank = bank_of(tmp_path, range(26))
    indexes = [ShardIndex.load(p) for p in resolve_shards(write_triples(tmp_path / "triples", 25, 10))]
    every = TripleSource(indexes, "keys", tokens, bank=bank)
    present = TripleSource(indexes, "keys", tokens, bank=bank, kept=keep_present(indexes, bank, "x"))
    assert keys_of(every, 3) == keys_of(present, 3)
