"""The training loader by itself, beside the pipeline that open_clip's trainer builds."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import webdataset

from pcclip.data.bank import Bank, BankWriter
from pcclip.data.batches import TrainingBatches, TripleSource, make_stream
from pcclip.data.records import Triple
from pcclip.data.shards import ShardIndex, ShardSetWriter, resolve_shards
from pcclip.data.stream import ResumableLoader
from pcclip.data.tokens import TextTokens, token_tables, tokenize_shards
from tests.benchmarks.report import Measured, Report
from tests.benchmarks.steps import texts

BATCH, PICTURES = 512, 2000


def write_triples(folder: Path, triples: int, width: int, fingerprint: str) -> None:
    """Triples of payload `keys` in `folder/triples`, and the bank of their pictures in `folder/bank`."""
    rng = np.random.default_rng(0)
    names = [f"p{i:06d}" for i in range(PICTURES)]
    with BankWriter(folder / "bank", names, width, fingerprint, "float32", []) as writer:
        writer.append(rng.standard_normal((PICTURES, width)).astype(np.float32))
    with ShardSetWriter(folder / "triples", "triples", records_per_shard=5000) as shards:
        for i, text in enumerate(texts(triples, rng)):
            a, b = rng.choice(PICTURES, 2, replace=False)
            shards.write_triple(
                Triple(f"t{i:07d}", names[a], names[b], text, {"writer": "bench"}), None, None
            )


def bench_loader(report: Report, triples: int, repeats: int) -> None:
    """Triples per second of one worker.

    Ours joins both pictures' embeddings and tells equal texts and pictures; open_clip's pipeline (webdataset
    into its tokenizer, text by text, as its trainer reads captions) makes the tokens alone.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_triples(folder, triples, 512, "bench")
        paths = resolve_shards(folder / "triples")
        indexes = [ShardIndex.load(path) for path in paths]
        tokenizer = open_clip.get_tokenizer("ViT-B-32")
        maker = TextTokens(tokenizer)
        tokenize_shards(indexes, maker, "bench", progress=False)
        theirs = Measured.of([_rate(_pipeline(paths, tokenizer)) for _ in range(repeats)])
        for title, tables in (("tokenizing", None), ("tokens kept", token_tables(indexes, "bench"))):
            source = TripleSource(indexes, "keys", maker, Bank.open(folder / "bank", "bench"), tables=tables)
            rates = []
            for _ in range(repeats):
                batches = TrainingBatches({"differences": make_stream(source, "bench", BATCH)})
                rates.append(_rate(ResumableLoader(batches, batches.steps, {}, num_workers=1)))
            report.add(f"loader, one worker, {title}", "samples/s", ours=Measured.of(rates), open_clip=theirs)


def _rate(loader: Iterable[Any]) -> float:
    """Samples per second after the first batch: the worker's start is no throughput."""
    iterator = iter(loader)
    next(iterator)
    start = time.perf_counter()
    count = sum(1 for _ in iterator)
    return BATCH * count / (time.perf_counter() - start)


def _pipeline(paths: list[Path], tokenizer: Any) -> Iterable[Any]:
    data = webdataset.WebDataset([str(path) for path in paths], shardshuffle=False)
    data = data.map(partial(_tokens, tokenizer)).batched(BATCH, partial=False)
    return torch.utils.data.DataLoader(data, batch_size=None, num_workers=1)


def _tokens(tokenizer: Any, sample: dict[str, Any]) -> tuple[torch.Tensor]:
    return (tokenizer(json.loads(sample["json"])["difference"])[0],)
