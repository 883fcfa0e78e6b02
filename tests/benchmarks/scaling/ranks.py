"""The loader and the loss on several gloo processes of one machine: the same work, cut among more.

Efficiency is against the speed of one process times the ranks, or times the cores where those are fewer.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import open_clip
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from pcclip.data.bank import Bank
from pcclip.data.batches import TrainingBatches, TripleSource, make_stream
from pcclip.data.index import ShardIndex
from pcclip.data.sets import resolve_shards
from pcclip.data.tokens import TextTokens
from pcclip.objective import DifferenceInfoNCE, DifferenceInputs, World
from tests.benchmarks.scaling.measuring import CLOCK, Curve, Peak, Point, timed
from tests.benchmarks.scaling.triples import write_bank, write_set

PAIRS, WIDTH, BATCHES, GLOBAL_BATCH = 2048, 768, 40, 512


def curve(ranks: list[int], work: Path, triples: int, repeats: int) -> Curve:
    """One thread per process, no loader workers."""
    write_set(work / "set", triples)
    write_bank(work / "bank")
    settings = [
        {"ranks": number, "of": of, "work": str(work), "repeats": repeats}
        for of in ("loader", "loss")
        for number in ranks
    ]
    measures = {
        "rate": "samples/s over all ranks",
        "efficiency": "% of ideal",
        "peak": "MiB, one rank at most",
    }
    return Curve(
        "ranks", measure, "ranks", measures, settings, "of", flat=("efficiency", "peak"), derive=_efficiency
    )


def _efficiency(points: list[Point]) -> None:
    cores = len(os.sched_getaffinity(0))
    for point in points:
        one = next(p["rate"] for p in points if p["of"] == point["of"])
        point["efficiency"] = 100 * point["rate"] / (one * min(point["ranks"], cores))


def measure(ranks: int, of: str, work: str, repeats: int) -> dict[str, float]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    queue = mp.get_context("fork").SimpleQueue()
    arguments = (ranks, of, work, repeats, port, queue)
    mp.start_processes(_rank, args=arguments, nprocs=ranks, start_method="fork")
    rate, peak = queue.get()
    return {"rate": rate, "peak": peak}


def _rank(rank: int, ranks: int, of: str, work: str, repeats: int, port: int, queue) -> None:

    torch.set_num_threads(1)
    where = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=where, rank=rank, world_size=ranks)
    samples, call = (_loader if of == "loader" else _loss)(rank, ranks, work)
    call()
    peak = Peak()
    dist.barrier()
    seconds, _ = timed(lambda: ([call() for _ in range(repeats)], dist.barrier()))
    if os.environ.get(CLOCK) == "cpu":  # the work of all ranks, as if spread evenly over the cores
        total = torch.tensor(seconds)
        dist.all_reduce(total)
        seconds = total.item() / min(ranks, len(os.sched_getaffinity(0)))
    memory = torch.tensor(peak.grown())
    dist.all_reduce(memory, dist.ReduceOp.MAX)
    if rank == 0:
        queue.put((samples * repeats / seconds, memory.item()))
    dist.barrier()
    os._exit(0)  # gloo's threads sometimes abort the process where the interpreter tears them down


def _loader(rank: int, ranks: int, work: str):

    indexes = [ShardIndex.load(path) for path in resolve_shards(f"{work}/set")]
    texts = TextTokens(open_clip.get_tokenizer("ViT-B-32"))
    source = TripleSource(indexes, "keys", texts, Bank.open(f"{work}/bank", "benchmark"))
    stream = make_stream(source, work, GLOBAL_BATCH // ranks, rank=rank, world=ranks)
    batches = TrainingBatches({"differences": stream})
    count = min(BATCHES, batches.steps)
    return count * GLOBAL_BATCH, lambda: [batches[0, batch] for batch in range(count)]


def _loss(rank: int, ranks: int, work: str):

    torch.manual_seed(rank)
    rows = PAIRS // ranks
    text, image1, image2 = (torch.randn(rows, WIDTH) for _ in range(3))
    text.requires_grad_()
    ids = torch.arange(rows) + rank * rows
    inputs = DifferenceInputs(text, image1, image2, ids, ids, ids + PAIRS)
    objective = DifferenceInfoNCE()
    return PAIRS, lambda: objective(inputs, World(rank, ranks)).backward()
