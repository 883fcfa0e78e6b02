"""Rows of training steps: samples per second, share of the matmul peak, peak memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from pcclip.data.tokens import TextTokens
from pcclip.model.towers import Towers, load_towers
from pcclip.precision import machine_precision
from tests.benchmarks.memory import emptied, peak_memory
from tests.benchmarks.report import OUT_OF_MEMORY, Measured, Report
from tests.benchmarks.steps import Step, open_clip_step, our_step, published_step, texts, timed

Compiled = Literal["true", "false", "both"]


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
    """Rows of one text tower.

    Args:
        report: Takes the rows.
        model: Open_clip's name of an architecture; the weights are random.
        batches: Texts per step.
        repeats: Timed steps.
        device: `cpu` or `cuda`.
        compile: Whether our step is compiled, where it computes in bf16.
        images_up_to: The largest batch of which the pictures go through open_clip's image tower, too.
        each_s: Seconds that the timed steps of one way may take.
    """
    towers = load_towers(model, random_init=True).to(device)
    able = device != "cpu" or machine_precision() == "bf16-mixed"
    peaks = {kind: matmul_peak(device, kind == "bf16") for kind in (("bf16", "fp32") if able else ("fp32",))}
    for kind, peak in peaks.items():
        report.fact(f"matmul peak in {kind}, TFLOP/s", round(peak / 1e12, 3))
    for batch in batches:
        case, published = Case.make(towers, batch, device), Found()
        for kind, peak in peaks.items():
            contest = _Contest(report, case, kind, repeats, each_s)
            found = contest.ours(compile if kind == "bf16" else "false")
            found |= contest.open_clip(batch <= images_up_to)
            published = published or contest.published()  # fp32, whatever the others compute in
            _add_rows(report, f"{model}, batch {batch:,}, {kind}", found | published, batch, case, peak)


Found = dict[str, tuple[Measured, float]]
"""Seconds and peak bytes by way; ways that were not measured, because the time is over, are absent."""


@dataclass(frozen=True)
class Case:
    """What all steps of one batch have in common.

    Attributes:
        towers: Whose text tower trains.
        tokens: (B, context) of the texts.
        trimmed: (B, longest) of the same.
        lengths: Real tokens of each text, on the host, as the loader has them.
        d: (B, D) unit directions.
    """

    towers: Towers
    tokens: Tensor
    trimmed: Tensor
    lengths: list[int]
    d: Tensor

    @classmethod
    def make(cls, towers: Towers, batch: int, device: str) -> Case:
        """The same texts whoever asks."""
        written = texts(batch, np.random.default_rng(0))
        trimmed = TextTokens(towers.tokenizer)(written)
        lengths = towers.text_encoder.real_lengths(trimmed).tolist()
        d = normalize(torch.randn(batch, towers.embed_dim, device=device), dim=-1)
        return cls(towers, towers.tokenizer(written).to(device), trimmed.to(device), lengths, d)

    def needed_flops(self) -> float:
        """Of one step as the task defines it: the blocks, forward and backward, on real tokens.

        As model utilisation is mostly counted: work that a clever implementation spares (of the last block
        all but one token per text) counts, and attention's own products do not.
        """
        tower: Any = getattr(self.towers.clip, "text", self.towers.clip)
        return float(6 * sum(self.lengths) * sum(p.numel() for p in tower.transformer.parameters()))


@dataclass
class _Contest:
    report: Report
    case: Case
    kind: str
    repeats: int
    each_s: float

    def ours(self, compile: Compiled) -> Found:
        """As it is, compiled, or both."""
        case, bf16, found = self.case, self.kind == "bf16", {}
        if compile != "true":
            step = partial(our_step, case.towers, case.trimmed, case.d, bf16, lengths=case.lengths)
            found |= self._measure("ours", step)
        if compile != "false":
            step = partial(our_step, case.towers, case.trimmed, case.d, bf16, True, case.lengths)
            found |= self._measure("ours, compiled", step, warm=3)
        return found

    def open_clip(self, images: bool) -> Found:
        """Its step, with the pictures' embeddings given, and with its image tower in the loop."""
        step = partial(open_clip_step, self.case.towers, self.case.tokens, self.case.d, self.kind == "bf16")
        found = self._measure("open_clip", partial(step, False))
        return found | self._measure("open_clip_images", partial(step, True)) if images else found

    def published(self) -> Found:
        """The published loop, in fp32."""
        step = partial(published_step, self.case.towers, self.case.tokens, self.case.d)
        return self._measure("published", step)

    def _measure(self, way: str, make: Callable[[], Step], warm: int = 1) -> Found:
        if self.report.spent:
            return {}
        found = (OUT_OF_MEMORY, math.nan)
        with emptied(self.case.towers):
            try:
                with peak_memory(self.case.d.device) as peak:
                    took = timed(make(), self.repeats, warm, self.each_s)
                found = took, peak.bytes
            except torch.OutOfMemoryError:
                pass
        return {way: found}


def _add_rows(report: Report, name: str, found: Found, batch: int, case: Case, peak: float) -> None:
    baselines = {way: one for way, one in found.items() if not way.startswith("ours")}
    for way in [way for way in found if way not in baselines]:
        cells = {"ours": found[way], **baselines}
        title = name + way.removeprefix("ours")
        work = 100 * case.needed_flops() / peak
        took = {column: seconds for column, (seconds, _) in cells.items()}
        report.add(f"step, {title}", "samples/s", **{c: t.per(batch) for c, t in took.items()})
        report.add(f"share of the matmul peak, {title}", "%", **{c: t.per(work) for c, t in took.items()})
        memory = {column: Measured.of([used / 2**20]) for column, (_, used) in cells.items()}
        report.add(f"peak memory, {title}", "MiB", **memory)


def matmul_peak(device: str, bf16: bool) -> float:
    """Floating-point operations per second of a large matrix product, in bf16 or fp32."""
    size = 8192 if device != "cpu" else 3072
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16 if bf16 else None) for _ in "ab")
    return timed(lambda: a @ b, 5).per(2 * size**3).median
