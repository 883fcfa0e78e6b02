"""The loss, forward and backward, against the number of pairs: in chunks of rows and at once."""

from __future__ import annotations

import torch
import torch._dynamo  # the first checkpoint imports it: not in every fork, nor in what is measured

from pcclip.contrastive import CHUNK_ROWS
from pcclip.objective import DifferenceInfoNCE, DifferenceInputs, World
from tests.benchmarks.scaling.measuring import Curve, Figures, Peak, median_seconds

WIDTH = 768


def curve(sizes: list[int], device: str, repeats: int) -> Curve:
    """Sizes are pairs on one process; the whole matrix stops at 8,192 on a CPU and 32,768 on a GPU."""
    limit = 8192 if device == "cpu" else 32768
    settings = [
        {"pairs": pairs, "way": way, "device": device, "repeats": repeats}
        for pairs in sizes
        for way in ("in chunks", "at once")
        if way == "in chunks" or pairs <= limit
    ]
    measures = {"peak": "MiB above the embeddings", "seconds": "s, forward and backward"}
    return Curve("loss", measure, "pairs", measures, settings, "way", exact_memory=device == "cpu")


def measure(pairs: int, way: str, device: str, repeats: int) -> Figures:
    text, image1, image2 = (torch.randn(pairs, WIDTH, device=device) for _ in range(3))
    text.requires_grad_()
    ids = torch.arange(pairs, device=device)
    inputs = DifferenceInputs(text, image1, image2, ids // 4, ids, ids + pairs)
    chunk_rows = {"in chunks": CHUNK_ROWS, "at once": 1 << 30}[way]

    def step(rows: int = pairs, chunk_rows: int = chunk_rows) -> None:
        text.grad = None
        part = DifferenceInputs(*(getattr(inputs, name)[:rows] for name in inputs.__dataclass_fields__))
        objective = DifferenceInfoNCE(learn_temperature=True, reversed_negative=True, chunk_rows=chunk_rows)
        objective.to(device)(part, World()).backward()
        if device != "cpu":
            torch.cuda.synchronize()

    step(64, 32)  # libraries load, threads start
    text.grad = None
    if device == "cpu":
        peak = Peak()
        seconds = median_seconds(step, repeats)
        return {"peak": peak.grown(), "seconds": seconds}
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    start = torch.cuda.memory_allocated()
    seconds = median_seconds(step, repeats)
    return {"peak": (torch.cuda.max_memory_allocated() - start) / 2**20, "seconds": seconds}
