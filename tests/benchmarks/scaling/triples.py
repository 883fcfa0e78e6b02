"""The way of triples (payload `keys`) from shards to batches against their number.

A million triples are written by the shard writer; ten millions are ten names (hard links) of each of those
shards, which the reader takes for different ones.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import open_clip

from pcclip.data.bank import Bank, BankWriter
from pcclip.data.batches import Stream, TrainingBatches, TripleSource, make_stream
from pcclip.data.datamodule import identity
from pcclip.data.index import ShardIndex
from pcclip.data.records import Triple
from pcclip.data.sets import resolve_shards
from pcclip.data.tokens import TextTokens
from pcclip.data.writer import ShardSetWriter
from tests.benchmarks.scaling.measuring import Curve, Peak, timed

PICTURES, TEXTS, WIDTH, PER_SHARD, WRITTEN = 2000, 200, 64, 10_000, 1_000_000
BATCH, BATCHES = 512, 30


def curve(sizes: list[int], work: Path) -> Curve:
    """Writes the shards of the largest size and links those of the others to them."""
    write_set(work / "written", min(max(sizes), WRITTEN))
    write_bank(work / "bank")
    settings = []
    for triples in sizes:
        folder = work / f"{triples}"
        if triples < PER_SHARD:
            write_set(folder, triples)
        else:
            _link(work / "written", folder, -(-triples // PER_SHARD))
        settings.append({"triples": triples, "of": "keys", "folder": str(folder), "bank": str(work / "bank")})
    measures = {
        "index": "s, first time",
        "open": "s, later times",
        "order": "s, whole epoch",
        "first batch": "s",
        "rate": "samples/s of one process",
        "peak": "MiB, opened and read",
    }
    return Curve("triples", measure, "triples", measures, settings, "of", flat=("first batch", "rate"))


def write_set(folder: Path, triples: int) -> None:
    with ShardSetWriter(folder, "triples", PER_SHARD) as writer:
        for i in range(triples):
            text = f"the first picture is darker and has {i % TEXTS} more trees"
            pair = f"p{i % PICTURES:05d}", f"p{(i * 7 + 1) % PICTURES:05d}"
            writer.write_triple(Triple(f"t{i:08d}", *pair, text, {"writer": "benchmark"}))


def write_bank(folder: Path) -> None:

    keys = [f"p{i:05d}" for i in range(PICTURES)]
    with BankWriter(folder, keys, WIDTH, "benchmark") as writer:
        writer.append(np.random.default_rng(0).standard_normal((PICTURES, WIDTH)))


def _link(written: Path, folder: Path, shards: int) -> None:
    folder.mkdir()
    files = sorted(written.glob("*.tar"))
    for number in range(shards):
        os.link(files[number % len(files)], folder / f"{number:06d}.tar")


def measure(triples: int, of: str, folder: str, bank: str) -> dict[str, float]:

    texts = TextTokens(open_clip.get_tokenizer("ViT-B-32"))
    cache = Path(f"{folder}-index")
    opened = Bank.open(bank, "benchmark")
    seconds: dict[str, float] = {}

    def open_stream() -> Stream:
        indexes = [ShardIndex.load(path, cache) for path in resolve_shards(f"{folder}/*.tar")]
        source = TripleSource(indexes, "keys", texts, opened)
        stream = make_stream(source, folder, BATCH)
        identity({"differences": stream}, 0, 16)
        return stream

    seconds["index"], first = timed(open_stream)
    del first
    peak = Peak()
    seconds["open"], stream = timed(open_stream)
    seconds["order"], _ = timed(
        lambda: [stream.order.locate(0, stream.cut.positions(batch)) for batch in range(len(stream.cut))]
    )
    batches = TrainingBatches({"differences": stream})
    seconds["first batch"], _ = timed(lambda: batches[0, 0])
    places = [divmod(1 + number, batches.steps) for number in range(BATCHES)]
    spent, _ = timed(lambda: [batches[place] for place in places])
    shutil.rmtree(cache)
    return seconds | {"rate": BATCHES * BATCH / spent, "peak": peak.grown()}
