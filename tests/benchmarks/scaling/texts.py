"""A training step of a text tower against the length of its texts: ours and the published loop's."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from pcclip.model.towers import load_towers
from tests.benchmarks.scaling.measuring import Curve, Peak, median_seconds
from tests.benchmarks.steps import our_step, published_step

MODEL = "ViT-B-32"


def curve(lengths: list[int], batch: int, device: str, repeats: int) -> Curve:
    """Lengths in tokens, start and end of text included."""
    settings = [
        {"tokens": length, "way": way, "batch": batch, "device": device, "repeats": repeats}
        for length in lengths
        for way in ("ours", "published loop")
    ]
    measures = {"seconds": "s per step, fp32", "peak": "MiB above the weights"}
    return Curve("texts", measure, "tokens", measures, settings, "way")


def measure(tokens: int, way: str, batch: int, device: str, repeats: int) -> dict[str, float]:

    towers = load_towers(MODEL, random_init=True).to(device)
    ids = torch.randint(1, 40_000, (batch, tokens))
    ids[:, 0], ids[:, -1] = 49406, 49407
    full = torch.zeros(batch, 77, dtype=torch.int64)
    full[:, :tokens] = ids
    d = normalize(torch.randn(batch, towers.embed_dim, device=device), dim=-1)
    if way == "ours":
        step = our_step(towers, ids.to(device), d, bf16=False)
    else:
        step = published_step(towers, full.to(device), d)

    def waited() -> None:
        step()
        if device != "cpu":
            torch.cuda.synchronize()

    waited()
    if device == "cpu":
        towers.zero_grad(set_to_none=True)
        peak = Peak()
        seconds = median_seconds(waited, repeats)
        return {"seconds": seconds, "peak": peak.grown()}
    towers.zero_grad(set_to_none=True)
    torch.cuda.reset_peak_memory_stats()
    start = torch.cuda.memory_allocated()
    seconds = median_seconds(waited, repeats)
    return {"seconds": seconds, "peak": (torch.cuda.max_memory_allocated() - start) / 2**20}
