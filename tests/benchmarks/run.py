"""`make bench`: ours beside the baselines, in one run; prints a table and writes `OUT/latest.json`."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import webdataset
from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table
from torch.nn.functional import cross_entropy, normalize

from pcclip.data.bank import Bank, BankWriter
from pcclip.data.batches import TrainingBatches, TripleSource, make_stream
from pcclip.data.records import Triple
from pcclip.data.shards import ShardIndex, ShardSetWriter, resolve_shards
from pcclip.data.stream import ResumableLoader
from pcclip.data.tokens import TextTokens, token_tables, tokenize_shards
from pcclip.model.towers import Towers, load_towers
from pcclip.model.trainable import select_trainable
from pcclip.objective import DifferenceInfoNCE, DifferenceInputs, World
from tests.benchmarks.bank import bench_bank

SPEECH = (
    "the first picture shows a larger darker object on left right of second image while other has more "
    "snow trees people sky brighter background smaller red green blue animal standing near water with"
)
WORDS = SPEECH.split()


def texts(count: int, rng: np.random.Generator) -> list[str]:
    """Texts of 15 to 60 words."""
    return [" ".join(rng.choice(WORDS, rng.integers(15, 61))) for _ in range(count)]


def seconds(step: Callable[[], Any], repeats: int) -> float:
    """Median of `repeats` timed calls, after one that warms up."""
    step()
    spent = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        spent.append(time.perf_counter() - start)
    return statistics.median(spent)


def published_step(towers: Towers, tokens: torch.Tensor, d: torch.Tensor) -> Callable[[], None]:
    """The published loop's cost: fp32, all 77 tokens, every weight of the text tower with a gradient."""
    names = [p for n, p in towers.clip.named_parameters() if not n.startswith("visual.")]
    for parameter in names:
        parameter.requires_grad_(True)
    optimizer = torch.optim.Adam(towers.clip.transformer.parameters(), lr=1e-8)  # type: ignore[union-attr]

    def step() -> None:
        t = normalize(towers.clip.encode_text(tokens), dim=-1)  # type: ignore[operator]
        logits, labels = t @ d.T, torch.arange(len(d))
        loss = (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2
        towers.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def our_step(towers: Towers, tokens: torch.Tensor, d: torch.Tensor, bf16: bool) -> Callable[[], None]:
    """Ours: trimmed and packed text, gradients of the blocks alone."""
    select_trainable(towers, "blocks")
    optimizer = torch.optim.Adam([p for p in towers.parameters() if p.requires_grad], lr=1e-8, fused=True)
    objective, ids = DifferenceInfoNCE(1.0), torch.arange(len(d))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            text = towers.encode_texts(tokens)
        loss = objective(DifferenceInputs(text, d, -d, ids, ids, ids + len(d)), World())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def bench_steps(model: str, batch: int, repeats: int) -> dict[str, dict[str, Any]]:
    """Training samples per second of one text tower."""
    towers = load_towers(model, random_init=True)
    tokens = towers.tokenizer(texts(batch, np.random.default_rng(0)))
    d = normalize(torch.randn(batch, towers.embed_dim), dim=-1)
    trimmed = TextTokens(towers.tokenizer)(texts(batch, np.random.default_rng(0)))
    theirs = seconds(published_step(towers, tokens, d), repeats)
    return {
        f"step/{model}/{kind}": _row(
            batch / seconds(our_step(towers, trimmed, d, bf16), repeats), batch / theirs
        )
        for kind, bf16 in (("fp32", False), ("bf16", True))
    }


def _row(ours: float, baseline: float) -> dict[str, Any]:
    return {
        "ours": round(ours, 1),
        "baseline": round(baseline, 1),
        "ratio": round(ours / baseline, 2),
        "unit": "1/s",
    }


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
        rows[f"loader/{name}"] = _row(seen / (time.perf_counter() - start), beside)
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
    for name, row in results.items():
        table.add_row(name, *(str(row[column]) for column in ("ours", "baseline", "ratio", "unit")))
    Console().print(table)
    Path(out).mkdir(parents=True, exist_ok=True)
    (Path(out) / "latest.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    auto_cli(run, as_positional=False)
