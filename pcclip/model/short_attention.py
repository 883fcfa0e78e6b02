"""Causal attention within short texts laid end to end, on GPUs: a Triton kernel.

FlashAttention's kernels (PyTorch's `varlen_attn`; FlexAttention with a block mask too) work in tiles of 128
by 128, of which a text of 40 tokens fills a tenth. Here one program holds one head of one text whole, in the
smallest tile that takes it: nothing is summed over programs, and memory sees queries, keys, values and
gradients alone. `python -m tests.benchmarks.attention` measures them side by side.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

TILES = (16, 32, 64, 128)
"""Longest texts, in tokens, of the kernel's variants."""

Buckets = tuple[tuple[int, Tensor], ...]
"""Per variant: its tile, and the (N,) int32 numbers of the texts that it takes."""


def causal_attention(qkv_TW: Tensor, ends: Tensor, buckets: Buckets, heads: int) -> Tensor:
    """Attention of every token to those of its text up to itself.

    Args:
        qkv_TW: (T, 3 W) queries, keys and values of all heads; bfloat16, float16 or float32.
        ends: (B + 1,) int32; text b has the tokens from `ends[b]` up to `ends[b + 1]`.
        buckets: every text once, in a tile that it fits in.
        heads: H; W / H is a power of two, 16 at least.

    Returns:
        (T, W), with gradients.
    """
    return _Attention.apply(qkv_TW, ends, buckets, heads)  # type: ignore[no-any-return]


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, ends: Tensor, buckets: Buckets, heads: int) -> Tensor:
        qkv = qkv.contiguous()
        y = qkv.new_empty(len(qkv), qkv.shape[1] // 3)
        width = y.shape[1] // heads
        for tile, texts in buckets:
            grid, warps = (len(texts), heads), max(tile // 16, 1)
            _forward[grid](
                qkv, y, ends, texts, width**-0.5, heads, width, tile, num_warps=warps, num_stages=1
            )
        ctx.save_for_backward(qkv, ends)
        ctx.buckets, ctx.heads, ctx.width = buckets, heads, width
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None, None]:
        qkv, ends = ctx.saved_tensors
        dy, dqkv = dy.contiguous(), torch.empty_like(qkv)
        heads, width = ctx.heads, ctx.width
        for tile, texts in ctx.buckets:
            grid, warps = (len(texts), heads), max(tile // 16, 1)
            _backward[grid](
                qkv, dy, dqkv, ends, texts, width**-0.5, heads, width, tile, num_warps=warps, num_stages=1
            )
        return dqkv, None, None, None


@triton.jit
def _weights(q, k, row, scale):
    """Softmax over the keys that each row may see, in fp32."""
    s = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
    s = tl.where(row[:, None] >= row[None, :], s, -float("inf"))
    p = tl.exp(s - tl.max(s, 1)[:, None])
    return p / tl.sum(p, 1)[:, None]


@triton.jit
def _forward(
    qkv,
    y,
    ends,
    texts,
    scale,
    heads: tl.constexpr,
    width: tl.constexpr,
    tile: tl.constexpr,
):
    text, head = tl.load(texts + tl.program_id(0)), tl.program_id(1)
    start = tl.load(ends + text)
    row, column = tl.arange(0, tile), tl.arange(0, width)
    inside = (row < tl.load(ends + text + 1) - start)[:, None]
    token = (start + row).to(tl.int64)[:, None] * heads
    q_at = qkv + token * (3 * width) + head * width + column[None, :]
    q = tl.load(q_at, mask=inside, other=0.0)
    k = tl.load(q_at + heads * width, mask=inside, other=0.0)
    v = tl.load(q_at + 2 * heads * width, mask=inside, other=0.0)
    p = _weights(q, k, row, scale)
    out = tl.dot(p.to(v.dtype), v, input_precision="ieee")
    tl.store(y + token * width + head * width + column[None, :], out.to(v.dtype), mask=inside)


@triton.jit
def _backward(
    qkv,
    dy,
    dqkv,
    ends,
    texts,
    scale,
    heads: tl.constexpr,
    width: tl.constexpr,
    tile: tl.constexpr,
):
    text, head = tl.load(texts + tl.program_id(0)), tl.program_id(1)
    start = tl.load(ends + text)
    row, column = tl.arange(0, tile), tl.arange(0, width)
    inside = (row < tl.load(ends + text + 1) - start)[:, None]
    token = (start + row).to(tl.int64)[:, None] * heads
    place = token * (3 * width) + head * width + column[None, :]
    q = tl.load(qkv + place, mask=inside, other=0.0)
    k = tl.load(qkv + place + heads * width, mask=inside, other=0.0)
    v = tl.load(qkv + place + 2 * heads * width, mask=inside, other=0.0)
    do = tl.load(dy + token * width + head * width + column[None, :], mask=inside, other=0.0)
    p = _weights(q, k, row, scale)
    dv = tl.dot(tl.trans(p.to(do.dtype)), do, input_precision="ieee")
    dp = tl.dot(do, tl.trans(v), input_precision="ieee")
    ds = (p * (dp - tl.sum(p * dp, 1)[:, None]) * scale).to(q.dtype)
    dq = tl.dot(ds, k, input_precision="ieee")
    dk = tl.dot(tl.trans(ds), q, input_precision="ieee")
    tl.store(dqkv + place, dq.to(q.dtype), mask=inside)
    tl.store(dqkv + place + heads * width, dk.to(q.dtype), mask=inside)
    tl.store(dqkv + place + 2 * heads * width, dv.to(q.dtype), mask=inside)
