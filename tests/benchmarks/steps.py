"""Training steps of a text tower: ours, the published loop's and open_clip's with the image tower locked.

All three get the same weights, the same texts and the same direction in which each pair of pictures differs.
open_clip's is its own recipe for a locked image tower (LiT): the whole text tower trains, by AdamW, with its
own `encode_text` at full context and its own loss; once with the pictures' embeddings given, as we have them
from the bank, and once with its image tower running on both pictures at every step, as its loop does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import open_clip
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from pcclip.model.towers import Towers
from pcclip.model.trainable import select_trainable
from pcclip.objective import DifferenceInfoNCE, DifferenceInputs, World
from tests.benchmarks.report import Measured

SPEECH = (
    "the first picture shows a larger darker object on left right of second image while other has more "
    "snow trees people sky brighter background smaller red green blue animal standing near water with"
)
WORDS = SPEECH.split()
Step = Callable[[], Any]


def texts(count: int, rng: np.random.Generator) -> list[str]:
    """Texts of 15 to 60 words."""
    return [" ".join(rng.choice(WORDS, rng.integers(15, 61))) for _ in range(count)]


def seconds(step: Step, repeats: int) -> float:
    """Median of `repeats` timed calls, after one that warms up."""
    return timed(step, repeats).median


def timed(step: Step, repeats: int, warm: int = 1, limit_s: float = 60.0) -> Measured:
    """Of `repeats` timed calls (one at least, no more once they took `limit_s`), after some that warm up."""
    for _ in range(warm):
        step()
    spent: list[float] = []
    while len(spent) < repeats and (not spent or sum(spent) + spent[-1] < limit_s):
        _wait()
        start = time.perf_counter()
        step()
        _wait()
        spent.append(time.perf_counter() - start)
    return Measured.of(spent)


def published_step(towers: Towers, tokens: Tensor, d: Tensor) -> Step:
    """The published loop's cost: fp32, all 77 tokens, every weight of the text tower with a gradient."""
    clip: Any = towers.clip
    for name, parameter in clip.named_parameters():
        parameter.requires_grad_(not name.startswith("visual."))
    optimizer = torch.optim.Adam(clip.transformer.parameters(), lr=1e-8)

    def step() -> None:
        t = normalize(clip.encode_text(tokens), dim=-1)
        logits, labels = t @ d.T, torch.arange(len(d), device=d.device)
        loss = (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2
        clip.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def open_clip_step(towers: Towers, tokens: Tensor, d: Tensor, bf16: bool, images: bool) -> Step:
    """open_clip's training step with the image tower locked, in the order of its own loop."""
    clip: Any = towers.clip
    clip.requires_grad_(True)
    clip.lock_image_tower(unlocked_groups=0, freeze_bn_stats=True)
    named = [(n, p) for n, p in clip.named_parameters() if p.requires_grad]
    plain = [p for n, p in named if p.ndim < 2 or "ln" in n or "bias" in n]
    others = [p for n, p in named if not (p.ndim < 2 or "ln" in n or "bias" in n)]
    groups = [{"params": plain, "weight_decay": 0.0}, {"params": others, "weight_decay": 0.2}]
    optimizer = torch.optim.AdamW(groups, lr=1e-8, betas=(0.9, 0.98), eps=1e-6)
    loss_of = open_clip.loss.ClipLoss()
    side = towers.preprocess_config()["size"]
    pixels = torch.randn(2, len(d), 3, *side, device=d.device) if images else None

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(d.device.type, torch.bfloat16, enabled=bf16):
            shown = d
            if pixels is not None:
                with torch.no_grad():
                    first, second = (clip.encode_image(one, normalize=True) for one in pixels)
                    shown = normalize(first - second, dim=-1)
            written = clip.encode_text(tokens, normalize=True)
            loss = loss_of(shown.to(written.dtype), written, clip.logit_scale.exp())
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            clip.logit_scale.clamp_(0, np.log(100))

    return step


def our_step(
    towers: Towers,
    tokens: Tensor,
    d: Tensor,
    bf16: bool,
    compiled: bool = False,
    lengths: Sequence[int] | None = None,
) -> Step:
    """Ours: trimmed and packed text, gradients of the blocks alone."""
    towers.text_encoder.compiled = compiled
    select_trainable(towers, "blocks")
    optimizer = torch.optim.Adam([p for p in towers.parameters() if p.requires_grad], lr=1e-8, fused=True)
    objective, ids = DifferenceInfoNCE(1.0), torch.arange(len(d), device=d.device)

    def step() -> None:
        with torch.autocast(d.device.type, torch.bfloat16, enabled=bf16):
            text = towers.encode_texts(tokens, lengths)
        loss = objective(DifferenceInputs(text, d, -d, ids, ids, ids + len(d)), World())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
