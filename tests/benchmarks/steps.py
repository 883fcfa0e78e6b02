"""Training steps of a text tower: ours beside the published loop's."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy, normalize

from pcclip.data.tokens import TextTokens
from pcclip.model.towers import Towers, load_towers
from pcclip.model.trainable import select_trainable
from pcclip.objective import DifferenceInfoNCE, DifferenceInputs, World

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
        _wait()
        start = time.perf_counter()
        step()
        _wait()
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
        logits, labels = t @ d.T, torch.arange(len(d), device=d.device)
        loss = (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2
        towers.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def our_step(towers: Towers, tokens: torch.Tensor, d: torch.Tensor, bf16: bool) -> Callable[[], None]:
    """Ours: trimmed and packed text, gradients of the blocks alone."""
    select_trainable(towers, "blocks")
    optimizer = torch.optim.Adam([p for p in towers.parameters() if p.requires_grad], lr=1e-8, fused=True)
    objective, ids = DifferenceInfoNCE(1.0), torch.arange(len(d), device=d.device)

    def step() -> None:
        with torch.autocast(d.device.type, torch.bfloat16, enabled=bf16):
            text = towers.encode_texts(tokens)
        loss = objective(DifferenceInputs(text, d, -d, ids, ids, ids + len(d)), World())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def bench_steps(model: str, batch: int, repeats: int, device: str = "cpu") -> dict[str, dict[str, Any]]:
    """Rows of training samples per second of one text tower, in fp32 and bf16; on a GPU of memory too."""
    towers = load_towers(model, random_init=True).to(device)
    written = texts(batch, np.random.default_rng(0))
    tokens = towers.tokenizer(written).to(device)
    trimmed = TextTokens(towers.tokenizer)(written).to(device)
    d = normalize(torch.randn(batch, towers.embed_dim, device=device), dim=-1)
    theirs, their_memory = _measured(published_step(towers, tokens, d), repeats)
    towers.zero_grad()
    rows = {}
    for kind, bf16 in (("fp32", False), ("bf16", True)):
        ours, memory = _measured(our_step(towers, trimmed, d, bf16), repeats)
        name = f"step/{model}/{batch}/{kind}"
        rows[name] = row(batch / ours, batch / theirs)
        if device != "cpu":
            rows[f"{name} peak memory"] = row(memory / 2**20, their_memory / 2**20, "MiB")
            real = int(towers.text_encoder.real_lengths(trimmed).sum())
            share = 100 * _flops(towers, real) / matmul_peak(device, bf16)  # work that the task needs
            rows[f"{name} of the matmul peak"] = row(share / ours, share / theirs, "%")
    return rows


def row(ours: float, baseline: float, unit: str = "1/s") -> dict[str, Any]:
    """One line of the table; NaN where the baseline ran out of memory."""
    return {
        "ours": round(ours, 1),
        "baseline": round(baseline, 1),
        "ratio": round(ours / baseline, 2),
        "unit": unit,
    }


def matmul_peak(device: str, bf16: bool, size: int = 8192) -> float:
    """Floating-point operations per second of a large matrix product, in bf16 or fp32."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16 if bf16 else None) for _ in "ab")
    return 2 * size**3 / seconds(lambda: a @ b, 5)


def _flops(towers: Towers, tokens: int) -> float:
    """Of one training step of the blocks, forward and backward, attention's own products left out."""
    tower = getattr(towers.clip, "text", towers.clip)
    return 6 * tokens * sum(p.numel() for p in tower.transformer.parameters())  # type: ignore[union-attr]


def _measured(step: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Seconds, and peak bytes on the GPU (0 without one); NaN where memory does not suffice."""
    if not torch.cuda.is_available():
        return seconds(step, repeats), 0.0
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    try:
        return seconds(step, repeats), torch.cuda.max_memory_allocated()
    except torch.OutOfMemoryError:
        return math.nan, math.nan


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
