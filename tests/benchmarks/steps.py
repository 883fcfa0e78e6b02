"""Training steps of a text tower: ours, the published loop's and open_clip's with the image tower locked.

All three get the same weights, the same texts and the same direction in which each pair of pictures differs.
open_clip's is its own recipe for a locked image tower (LiT): the whole text tower trains, by AdamW, with its
own `encode_text` at full context and its own loss; once with the pictures' embeddings given, as we have them
from the bank, and once with its image tower running on both pictures at every step, as its loop does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import open_clip
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from pcclip.data.tokens import TextTokens
from pcclip.model.towers import Towers, load_towers
from pcclip.model.trainable import select_trainable
from pcclip.objective import DifferenceInfoNCE, DifferenceInputs, World
from pcclip.precision import machine_precision
from tests.benchmarks.memory import emptied, peak_memory
from tests.benchmarks.report import OUT_OF_MEMORY, Measured, Report

SPEECH = (
    "the first picture shows a larger darker object on left right of second image while other has more "
    "snow trees people sky brighter background smaller red green blue animal standing near water with"
)
WORDS = SPEECH.split()
Step = Callable[[], Any]
Compiled = Literal["true", "false", "both"]


def texts(count: int, rng: np.random.Generator) -> list[str]:
    """Texts of 15 to 60 words."""
    return [" ".join(rng.choice(WORDS, rng.integers(15, 61))) for _ in range(count)]


def seconds(step: Step, repeats: int, warm: int = 1, limit_s: float = 60.0) -> Measured:
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


@dataclass(frozen=True)
class Case:
    """What all steps of one batch have in common: towers, B texts, and (B, D) unit directions."""

    towers: Towers
    written: list[str]
    directions: Tensor

    @classmethod
    def make(cls, towers: Towers, batch: int, device: str) -> Case:
        d = normalize(torch.randn(batch, towers.embed_dim, device=device), dim=-1)
        return cls(towers, texts(batch, np.random.default_rng(0)), d)

    @property
    def device(self) -> torch.device:
        return self.directions.device


def published_step(case: Case) -> Step:
    """The published loop's cost: fp32, all 77 tokens, every weight of the text tower with a gradient."""
    clip: Any = case.towers.clip
    tokens, d = case.towers.tokenizer(case.written).to(case.device), case.directions
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


def open_clip_step(case: Case, bf16: bool, images: bool) -> Step:
    """open_clip's training step with the image tower locked, in the order of its own loop."""
    clip: Any = case.towers.clip
    tokens, d = case.towers.tokenizer(case.written).to(case.device), case.directions
    clip.requires_grad_(True)
    clip.lock_image_tower(unlocked_groups=0, freeze_bn_stats=True)
    named = [(n, p) for n, p in clip.named_parameters() if p.requires_grad]
    plain = [p for n, p in named if p.ndim < 2 or "ln" in n or "bias" in n]
    others = [p for n, p in named if not (p.ndim < 2 or "ln" in n or "bias" in n)]
    groups = [{"params": plain, "weight_decay": 0.0}, {"params": others, "weight_decay": 0.2}]
    optimizer = torch.optim.AdamW(groups, lr=1e-8, betas=(0.9, 0.98), eps=1e-6)
    loss_of = open_clip.loss.ClipLoss()
    side = case.towers.preprocess_config()["size"]
    pixels = torch.randn(2, len(d), 3, *side, device=case.device) if images else None

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(case.device.type, torch.bfloat16, enabled=bf16):
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


def our_step(case: Case, bf16: bool, compiled: bool = False) -> Step:
    """Ours: trimmed and packed text, gradients of the blocks alone."""
    towers, d = case.towers, case.directions
    tokens = TextTokens(towers.tokenizer)(case.written)
    lengths = towers.text_encoder.real_lengths(tokens).tolist()  # on the host, as the loader has them
    tokens = tokens.to(case.device)
    towers.text_encoder.compiled = compiled
    select_trainable(towers, "blocks")
    optimizer = torch.optim.Adam([p for p in towers.parameters() if p.requires_grad], lr=1e-8, fused=True)
    objective, ids = DifferenceInfoNCE(1.0), torch.arange(len(d), device=d.device)

    def step() -> None:
        with torch.autocast(case.device.type, torch.bfloat16, enabled=bf16):
            text = towers.encode_texts(tokens, lengths)
        loss = objective(DifferenceInputs(text, d, -d, ids, ids, ids + len(d)), World())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def bench_steps(
    report: Report,
    model: str,
    batches: list[int],
    repeats: int,
    device: str = "cpu",
    compile: Compiled = "false",
    images_up_to: int = 1024,
    each_s: float = 60.0,
) -> None:
    """Rows of training samples per second, peak memory and share of the matmul peak of one text tower.

    Args:
        report: Takes the rows.
        model: Open_clip's name of an architecture; the weights are random.
        batches: Texts per step.
        repeats: Timed steps.
        device: `cpu` or `cuda`.
        compile: Whether our step is compiled, where it computes in bf16 on a GPU.
        images_up_to: The largest batch of which the pictures go through the image tower, too.
        each_s: Seconds that the timed steps of one way may take.
    """
    towers = load_towers(model, random_init=True).to(device)
    able = device != "cpu" or machine_precision() == "bf16-mixed"
    peaks = {bf16: matmul_peak(device, bf16) for bf16 in ((True, False) if able else (False,))}
    report.fact(
        "matmul peak, TFLOP/s", {_kind(b): round(p.median / 1e12, 2) for b, p in sorted(peaks.items())}
    )
    for bf16 in peaks:
        for batch in batches:
            case = Case.make(towers, batch, device)
            images = batch <= images_up_to
            contest = _Contest(report, case, bf16, repeats, each_s, peaks[bf16].median)
            ways = {"true": (True,), "false": (False,), "both": (False, True)}[compile if bf16 else "false"]
            contest.run(f"{model}, batch {batch:,}, {_kind(bf16)}", ways, images)


@dataclass
class _Contest:
    report: Report
    case: Case
    bf16: bool
    repeats: int
    each_s: float
    peak: float

    def run(self, name: str, ways: tuple[bool, ...], images: bool) -> None:
        """Rows of our way or ways beside the baselines'."""
        case, bf16 = self.case, self.bf16
        found = {f"ours {way}": self._measure(lambda way=way: our_step(case, bf16, way), way) for way in ways}  # type: ignore[misc]
        found["open_clip"] = self._measure(lambda: open_clip_step(case, bf16, False))
        found["published"] = self._measure(lambda: published_step(case))
        if images:
            found["open_clip_images"] = self._measure(lambda: open_clip_step(case, bf16, True))
        batch = len(case.written)
        for way in ways:
            cells = {"ours": found[f"ours {way}"]} | {n: m for n, m in found.items() if " " not in n}
            measured = {n: m for n, m in cells.items() if m is not None}
            if "ours" not in measured:
                continue
            title = f"{name}, compiled" if way else name
            took = {n: m[0] for n, m in measured.items()}
            share = 100 * needed_flops(case) / self.peak
            memory = {n: Measured.of([m[1] / 2**20]) for n, m in measured.items()}
            self.report.add(f"step, {title}", "samples/s", **{n: t.per(batch) for n, t in took.items()})
            self.report.add(
                f"share of the matmul peak, {title}", "%", **{n: t.per(share) for n, t in took.items()}
            )
            self.report.add(f"peak memory, {title}", "MiB", **memory)

    def _measure(self, make: Callable[[], Step], compiled: bool = False) -> tuple[Measured, float] | None:
        """Seconds and peak bytes; None where the time is over."""
        if self.report.spent:
            return None
        found = (OUT_OF_MEMORY, OUT_OF_MEMORY.median)
        with emptied(self.case.towers):
            try:
                with peak_memory(self.case.device) as peak:
                    took = seconds(make(), self.repeats, 3 if compiled else 1, self.each_s)
                found = took, peak.bytes
            except torch.OutOfMemoryError:
                pass
        return found


def matmul_peak(device: str, bf16: bool) -> Measured:
    """Floating-point operations per second of a large matrix product, in bf16 or fp32."""
    size = 8192 if device != "cpu" else 3072
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16 if bf16 else None) for _ in "ab")
    return seconds(lambda: a @ b, 5).per(2 * size**3)


def needed_flops(case: Case) -> float:
    """Of one step as the task defines it: the blocks, forward and backward, on real tokens.

    As model utilisation is mostly counted: work that a clever implementation spares (of the last block all
    but one token per text) counts, and attention's own products do not.
    """
    towers: Any = case.towers
    tokens = int(towers.text_encoder.real_lengths(towers.tokenizer(case.written)).sum())
    tower = getattr(towers.clip, "text", towers.clip)
    return float(6 * tokens * sum(p.numel() for p in tower.transformer.parameters()))


def _kind(bf16: bool) -> str:
    return "bf16" if bf16 else "fp32"


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
