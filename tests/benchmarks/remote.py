"""Loader samples per second from a folder, HTTP and S3, with cold and warm cache, and over a bad connection.

The servers are processes of this machine and take their share of its cores; moto, the S3-compatible one, is
made for tests and is slow.
"""

from __future__ import annotations

import io
import multiprocessing
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import auto_cli
from PIL import Image
from rich.console import Console
from rich.table import Table
from torchvision.transforms.functional import to_tensor

from pcclip.data.batches import TrainingBatches, TripleSource, make_stream
from pcclip.data.index import ShardIndex
from pcclip.data.records import Triple
from pcclip.data.remote.cache import ShardCache
from pcclip.data.remote.options import RemoteOptions
from pcclip.data.shards import ShardSetWriter, resolve_shards
from pcclip.data.stream import ResumableLoader
from pcclip.data.tokens import TextTokens
from tests.data.remote.serving_shards import Behaviour, s3_server, served, upload

_BATCH = 128
_WINDOW = 4


def photos(archive: Path | None, count: int) -> list[bytes]:
    """JPEG files: EuroSAT's, or drawn ones of the same size."""
    if archive is not None:
        with zipfile.ZipFile(archive) as zipped:
            names = sorted(name for name in zipped.namelist() if name.endswith(".jpg"))
            return [zipped.read(name) for name in names[:: max(len(names) // count, 1)][:count]]
    rng, drawn = np.random.default_rng(0), []
    for _ in range(count):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(buffer, "JPEG", quality=60)
        drawn.append(buffer.getvalue())
    return drawn


def write(folder: Path, files: list[bytes], triples: int, per_shard: int) -> None:
    """Triples of payload `pixels`."""
    rng = np.random.default_rng(1)
    with ShardSetWriter(folder, "triples", per_shard) as writer:
        for i in range(triples):
            a, b = rng.choice(len(files), 2, replace=False)
            text = f"the first picture has {i % 9} fields more than the second"
            one = Triple(f"t{i:06d}", f"p{a}", f"p{b}", text, {"writer": "bench"})
            writer.write_triple(one, files[a], files[b])


class Lengths:
    """A tokenizer that costs nothing."""

    def __call__(self, texts: list[str]) -> torch.Tensor:
        ids = torch.zeros(len(texts), 16, dtype=torch.long)
        ids[:, 0] = torch.tensor([len(text) for text in texts])
        return ids


@dataclass
class Measured:
    """One pass or more: samples per second, share of the time in which reads waited, bytes, repeats."""

    name: str
    rate: float
    waiting: float
    megabytes: float
    retries: int
    evictions: int


def measure(name: str, spec: str, options: RemoteOptions, workers: int, epochs: int = 1) -> Measured:
    """Runs the training loader."""
    cache = ShardCache(options.folder, options.limit)
    before = cache.counts()
    indexes = [ShardIndex.load(path) for path in resolve_shards(spec, options)]
    source = TripleSource(indexes, "pixels", TextTokens(Lengths()), preprocess=to_tensor)
    batches = TrainingBatches({"differences": make_stream(source, name, _BATCH, shuffle_shards=_WINDOW)})
    loader = ResumableLoader(batches, batches.steps, {}, num_workers=workers)
    start, seen = time.perf_counter(), 0
    for _ in range(epochs):
        for batch in loader:
            seen += len(batch["differences"]["keys"])
    took = time.perf_counter() - start
    loader.close()
    done = cache.counts() - before
    waiting = done.waited_ms / 1000 / took / max(workers, 1)
    return Measured(name, seen / took, waiting, done.bytes / 1e6, done.retries, done.evictions)


def _serve(folder: Path, every: tuple[int, str] | None, ready: Any, end: Any) -> None:
    with served(folder, Behaviour(every=every)) as url:
        ready.put(url)
        end.wait()


def _serve_s3(folder: Path, ready: Any, end: Any) -> None:
    with s3_server("bench") as (address, client):
        upload(client, folder, "bench", "set")
        ready.put(address)
        end.wait()


class Elsewhere:
    """A server in a process of its own."""

    def __init__(self, target: Any, *arguments: Any) -> None:
        context = multiprocessing.get_context("fork")  # at once: no packages to import
        self._ready, self._end = context.Queue(), context.Event()
        self._process = context.Process(target=target, args=(*arguments, self._ready, self._end))

    def __enter__(self) -> str:
        self._process.start()
        return self._ready.get(timeout=120)

    def __exit__(self, *_: Any) -> None:
        self._end.set()
        self._process.join()


def run(eurosat: Path | None = None, triples: int = 6000, per_shard: int = 500, workers: int = 1) -> None:
    """Measures and prints.

    Args:
        eurosat: EuroSAT.zip; drawn pictures if null.
        triples: In the set.
        per_shard: Records of a shard.
        workers: Of the loader.
    """
    import os

    os.environ.update(AWS_ACCESS_KEY_ID="testing", AWS_SECRET_ACCESS_KEY="testing", NO_PROXY="127.0.0.1")
    rows: list[Measured] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "set"
        write(folder, photos(eurosat, 2000), triples, per_shard)
        sizes = [path.stat().st_size for path in folder.glob("*.tar")]

        def cached(name: str, gb: float = 10.0) -> RemoteOptions:
            return RemoteOptions(cache_dir=f"{place}/{name}", cache_gb=gb, max_wait_s=1.0)

        rows.append(measure("folder, first pass", str(folder), cached("none"), workers))
        rows.append(measure("folder", str(folder), cached("none"), workers))
        with Elsewhere(_serve, folder, None) as url:
            rows.append(measure("HTTP, cold", url, cached("http"), workers))
            rows.append(measure("HTTP, warm", url, cached("http"), workers))
            small = 2 * _WINDOW * max(sizes) / 1e9
            rows.append(
                measure("HTTP, cache of two windows, two epochs", url, cached("two", small), workers, 2)
            )
        for every in (2, 5):
            with Elsewhere(_serve, folder, (every, f"drop:{max(sizes) // 2}")) as url:
                name = f"HTTP, cold, dropped at every {every} requests"
                rows.append(measure(name, url, cached(f"bad{every}"), workers))
        with Elsewhere(_serve_s3, folder) as address:
            options = cached("s3")
            options.storage_options = {"endpoint_url": address, "client_kwargs": {"region_name": "us-east-1"}}
            rows.append(measure("S3 (moto), cold", "s3://bench/set", options, workers))
            rows.append(measure("S3 (moto), warm", "s3://bench/set", options, workers))
    total = sum(sizes) / 1e6
    table = Table("from", "samples/s", "reads waited", "MB fetched", "of the set", "repeated", "evicted")
    for row in rows:
        share = f"{row.megabytes / total:.2f}"
        numbers = f"{row.rate:,.0f}", f"{row.waiting:.1%}", f"{row.megabytes:,.1f}", share
        table.add_row(row.name, *numbers, str(row.retries), str(row.evictions))
    Console(width=120).print(table)
    print(
        f"{triples:,} triples of payload pixels in {len(sizes)} shards, {total:,.1f} MB; {workers} worker(s)"
    )


if __name__ == "__main__":
    auto_cli(run, as_positional=False)
