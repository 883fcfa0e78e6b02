"""`make bench`: ours beside the baselines, in one run; prints a table and writes `OUT/latest.json`."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import webdataset
from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table

from pcclip.data.bank import Bank, BankWriter
from pcclip.data.batches import TrainingBatches, TripleSource, make_stream
from pcclip.data.records import Triple
from pcclip.data.shards import ShardIndex, ShardSetWriter, resolve_shards
from pcclip.data.stream import ResumableLoader
from pcclip.data.tokens import TextTokens, token_tables, tokenize_shards
from tests.benchmarks.bank import bench_bank
from tests.benchmarks.steps import bench_steps, row, seconds, texts


def bench_loader(folder: Path, triples: int, width: int = 512) -> dict[str, dict[str, Any]]:
    """Triples per second of one worker, payload `keys`, beside a bare tokenizer and webdataset loop."""
    rng, pictures = np.random.default_rng(0), 2000
    names = [f"p{i:06d}" for i in range(pictures)]
    with BankWriter(folder / "bank", names, width, "bench", "float32", []) as writer:
        writer.append(rng.standard_normal((pictures, width)).astype(np.float32))
    with ShardSetWriter(folder / "triples", "triples", records_per_shard=5000) as shards:
        for i, text in enumerate(texts(triples, rng)):
            a, b = rng.choice(pictures, 2, replace=False)
            shards.write_triple(
                Triple(f"t{i:07d}", names[a], names[b], text, {"writer": "bench"}), None, None
            )
    paths = resolve_shards(folder / "triples")
    start = time.perf_counter()
    for _ in webdataset.WebDataset([str(p) for p in paths], shardshuffle=False):
        pass
    bare = triples / (time.perf_counter() - start)
    indexes = [ShardIndex.load(p) for p in paths]
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    sample = texts(2000, rng)
    raw = 2000 / seconds(lambda: tokenizer(sample), 3)
    maker = TextTokens(tokenizer)
    tokenize_shards(indexes, maker, "bench", progress=False)
    rows = {}
    for name, tables, beside in (
        ("tokenizing", None, raw),
        ("precomputed", token_tables(indexes, "bench"), bare),
    ):
        source = TripleSource(indexes, "keys", maker, Bank.open(folder / "bank", "bench"), tables=tables)
        batches = TrainingBatches({"differences": make_stream(source, "bench", 512)})
        loader = ResumableLoader(batches, batches.steps, {}, num_workers=1)
        iterator = iter(loader)
        next(iterator)  # the worker's start is no throughput
        start, seen = time.perf_counter(), 0
        for batch in iterator:
            seen += len(batch["differences"]["keys"])
        rows[f"loader/{name}"] = row(seen / (time.perf_counter() - start), beside)
    return rows


def run(
    out: str = "runs/bench",
    models: list[str] | None = None,
    batch: int = 64,
    repeats: int = 3,
    triples: int = 50_000,
    pictures: Path | None = None,
) -> None:
    """Runs all benchmarks.

    Args:
        out: Folder of `latest.json`.
        models: Text towers to train.
        batch: Texts per step.
        repeats: Timed steps.
        triples: Records of the loader's shards.
        pictures: Folder of JPEG files for the bank; drawn ones if null.
    """
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        results |= bench_loader(Path(folder), triples)
    results |= bench_bank(pictures, "ViT-B-32", repeats)
    for model in models or ["ViT-B-32", "ViT-L-14"]:
        results |= bench_steps(model, batch, repeats)
    table = Table("what", "ours", "baseline", "ratio", "unit")
    for name, one in results.items():
        table.add_row(name, *(str(one[column]) for column in ("ours", "baseline", "ratio", "unit")))
    Console().print(table)
    Path(out).mkdir(parents=True, exist_ok=True)
    (Path(out) / "latest.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    auto_cli(run, as_positional=False)
