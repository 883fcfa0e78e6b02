"""Where the real tokens of a batch of texts are, and attention among those of each text.

Shape letters: B texts, L columns of tokens, T real tokens of all texts laid end to end, W width, H heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

_ROUND = 64
"""Packed tokens are filled up to a multiple of this: matrix products are slower at odd sizes."""


@dataclass(frozen=True)
class Grid:
    """Attention in a (B, L) grid of cells, by PyTorch's scaled dot product; for any tower and device.

    Attributes:
        size: B and L, L cut to the longest text.
        cells: (T,) cells of the real tokens in the flattened grid; None if they fill it.
        read: (B,) index among the real tokens of the one that the tower reads.
        keys: (B, 1, 1, L) whether a token may be attended to; None if all may.
        causal: whether a token sees only what comes before it.
    """

    size: tuple[int, int]
    cells: Tensor | None
    read: Tensor
    keys: Tensor | None
    causal: bool

    def pick(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Ids and columns of the real tokens of (B, L or more) tokens: (T,) each."""
        ids = tokens[:, : self.size[1]].reshape(-1)
        columns = torch.arange(self.size[1], device=ids.device).repeat(self.size[0])
        return (ids, columns) if self.cells is None else (ids[self.cells], columns[self.cells])

    def attend(self, qkv_TW: Tensor, heads: int) -> Tensor:
        """Attention of every real token to those of its text: (T, 3 W) to (T, W)."""
        width = qkv_TW.shape[1] // 3
        packed = self._spread(qkv_TW)
        q, k, v = packed.view(*self.size, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        # Under the causal mask real tokens never see the zeros that fill the grid.
        mask = None if self.causal else self.keys
        y = _scaled_dot_product(q, k, v, attn_mask=mask, is_causal=self.causal).transpose(1, 2)
        y = y.reshape(-1, width)
        return y if self.cells is None else _Pick.apply(y, self.cells)  # type: ignore[no-any-return]

    def attend_once(self, qkv_TW: Tensor, heads: int) -> Tensor:
        """Attention of the token read of each text to those that it may see: (T, 3 W) to (B, W)."""
        width = qkv_TW.shape[1] // 3
        q = qkv_TW[self.read, :width].view(-1, 1, heads, width // heads).transpose(1, 2)
        packed = self._spread(qkv_TW[:, width:])
        k, v = packed.view(*self.size, 2, heads, width // heads).permute(2, 0, 3, 1, 4)
        return _scaled_dot_product(q, k, v, attn_mask=self.keys).reshape(-1, width)

    def _spread(self, x: Tensor) -> Tensor:
        if self.cells is None:
            return x
        empty = x.new_zeros(self.size[0] * self.size[1], x.shape[1])
        return empty.index_copy_(0, self.cells, x)


@dataclass(frozen=True)
class Packed:
    """Attention among tokens laid end to end, by a kernel for short texts: no grid is filled or read back.

    For causal towers in half precision on a GPU.

    Attributes:
        texts: (T,) text of each token; the last few tokens, of none, fill T up and are never read.
        columns: (T,) column of each token.
        ends: (B + 2,) int32 where each text ends, 0 first.
        buckets: the texts by the tile that they fit in.
        read: (B,) index among the tokens of the one that the tower reads.
    """

    texts: Tensor
    columns: Tensor
    ends: Tensor
    buckets: tuple[tuple[int, Tensor], ...]
    read: Tensor

    def pick(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Ids and columns of the tokens: (T,) each."""
        return tokens[self.texts.clamp(max=len(tokens) - 1), self.columns], self.columns

    def attend(self, qkv_TW: Tensor, heads: int) -> Tensor:
        """As `Grid.attend`."""
        from pcclip.model.short_attention import (
            causal_attention,
        )  # Triton comes with PyTorch's GPU builds only

        return causal_attention(qkv_TW, self.ends, self.buckets, heads)

    def attend_once(self, qkv_TW: Tensor, heads: int) -> Tensor:
        """As `Grid.attend_once`; the other tokens' results cost next to nothing."""
        return self.attend(qkv_TW, heads)[self.read]


@cache
def _tiles() -> tuple[int, ...]:
    try:
        from pcclip.model.short_attention import TILES
    except ImportError:
        return ()
    return TILES


def can_pack(device: torch.device, dtype: torch.dtype, head_width: int, longest: int) -> bool:
    """Whether `Packed` works: Triton and a GPU with bf16, half precision, a head and texts that fit."""
    return (
        device.type == "cuda"
        and dtype in (torch.bfloat16, torch.float16)
        and torch.cuda.get_device_capability(device) >= (8, 0)
        and head_width in (16, 32, 64, 128)
        and longest <= max(_tiles(), default=0)
    )


def pack(lengths: Sequence[int], read: Tensor) -> Packed:
    """Lay the leading `lengths` tokens of each text end to end; waits for no device.

    Args:
        lengths: B numbers of tokens.
        read: (B,) columns of the tokens that the tower reads.
    """
    device, texts = read.device, len(lengths)
    counts = np.array([*lengths, -sum(lengths) % _ROUND], np.int32)
    ends = np.append(0, counts.cumsum())
    tile = np.searchsorted(_tiles(), counts)  # 0 for the shortest
    order = np.argsort(tile, kind="stable")
    uploaded = _upload([*counts.tolist(), *ends.tolist(), *order.tolist()], device)
    counts_B, ends_B, order_B = torch.split(uploaded, [texts + 1, texts + 2, texts + 1])
    text_T = torch.repeat_interleave(counts_B, output_size=int(ends[-1]))
    column_T = (torch.arange(len(text_T), device=device) - ends_B[text_T]) * (text_T < texts)
    sizes = np.bincount(tile, minlength=len(_tiles())).tolist()
    parts = zip(_tiles(), torch.split(order_B.int(), sizes), strict=True)
    buckets = tuple((size, part) for size, part in parts if len(part))
    return Packed(text_T, column_T, ends_B.int(), buckets, ends_B[:texts] + read)


def grid(lengths: Sequence[int], read: Tensor, causal: bool, visible: Tensor | None) -> Grid:
    """A grid that holds the leading `lengths` tokens of each text; waits for no device.

    Args:
        lengths: B numbers of tokens.
        read: (B,) columns of the tokens that the tower reads.
        causal: whether a token sees only what comes before it.
        visible: (B, L or more) what may be attended to; None for all real tokens.
    """
    device, size = read.device, (len(lengths), max(lengths))
    dense = min(lengths) == size[1]
    columns = torch.arange(size[1], device=device)
    counts = _upload(lengths, device)
    ends = counts.cumsum(0)
    cells = None
    if not dense:
        texts = torch.repeat_interleave(counts, output_size=sum(lengths))
        cells = torch.arange(len(texts), device=device) + texts * size[1] - (ends - counts)[texts]
    if visible is not None:
        keys: Tensor | None = visible[:, : size[1]]
    elif causal:
        keys = columns <= read[:, None]
    else:
        keys = None if dense else columns < counts[:, None]
    keys = None if keys is None else keys[:, None, None, :]
    return Grid(size, cells, ends - counts + read, keys, causal)


def _upload(numbers: Sequence[int], device: torch.device) -> Tensor:
    host = torch.tensor(numbers, pin_memory=device.type == "cuda")  # else the copy waits for the device
    return host.to(device, non_blocking=True)


def _scaled_dot_product(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
    if q.device.type != "cpu" or q.dtype == torch.float32:
        return F.scaled_dot_product_attention(q, k, v, **options)
    # The CPU's bf16 kernel takes 3 times as long backward as fp32's (torch 2.14), more than bf16 saves here.
    with torch.autocast("cpu", enabled=False):
        y = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), **options)
    return y.to(q.dtype)


class _Pick(torch.autograd.Function):
    """Rows of a matrix, none twice, so that the gradient is a copy and not a sum."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.size = len(x)
        return x.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (rows,) = ctx.saved_tensors
        return grad.new_zeros(ctx.size, grad.shape[1]).index_copy_(0, rows, grad), None
