"""Attention within packed texts on a GPU: the kernel for short texts beside what PyTorch has."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from pcclip.model.packing import Packed, grid, pack
from tests.benchmarks.steps import seconds

Way = Callable[[Tensor], Tensor]


def varlen(packed: Packed, heads: int) -> Way:
    """FlashAttention over texts of unequal length."""
    from torch.nn.attention.varlen import varlen_attn

    longest = int(packed.ends.diff().max())

    def attend(qkv: Tensor) -> Tensor:
        q, k, v = qkv.view(len(qkv), 3, heads, -1).unbind(1)
        y = varlen_attn(q, k, v, packed.ends, packed.ends, longest, longest, window_size=(-1, 0))
        return y.reshape(len(qkv), -1)

    return attend


def flex(packed: Packed, heads: int) -> Way:
    """FlexAttention, its block mask made of the texts' ends directly."""
    from torch.nn.attention.flex_attention import BlockMask, flex_attention

    tokens = len(packed.texts)
    text, blocks = packed.texts, torch.arange(tokens // 128, device=packed.texts.device)
    first = packed.ends[text[blocks * 128]] // 128
    counts = (blocks - first + 1).int()[None, None]
    columns = (first[:, None] + blocks[None, :]).clamp(max=len(blocks) - 1).int()[None, None]

    def visible(_batch: Tensor, _head: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return (text[q] == text[k]) & (q >= k)

    mask = BlockMask.from_kv_blocks(
        counts, columns, BLOCK_SIZE=128, mask_mod=visible, seq_lengths=(tokens, tokens)
    )
    kernel = torch.compile(flex_attention)

    def attend(qkv: Tensor) -> Tensor:
        q, k, v = qkv.view(1, tokens, 3, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        return kernel(q, k, v, block_mask=mask).transpose(1, 2).reshape(tokens, -1)

    return attend


def nested(packed: Packed, heads: int) -> Way:
    """Scaled dot product attention over jagged nested tensors."""
    ends = packed.ends.long()

    def attend(qkv: Tensor) -> Tensor:
        parts = (part.reshape(len(qkv), heads, -1) for part in qkv.chunk(3, dim=1))
        q, k, v = (torch.nested.nested_tensor_from_jagged(p, ends).transpose(1, 2) for p in parts)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return y.transpose(1, 2).values().reshape(len(qkv), -1)

    return attend


def run(batch: int = 2048, heads: int = 12, width: int = 64, repeats: int = 20, device: str = "cuda") -> None:
    """Times every way, forward alone and with its backward, for texts of 20 to 77 tokens.

    Args:
        batch: Texts.
        heads: Of the attention.
        width: Of a head.
        repeats: Timed calls, whose median counts.
        device: Of the tensors.
    """
    rng = np.random.default_rng(0)
    lengths = rng.integers(20, 78, batch).tolist()
    lengths.append(20 + (-sum(lengths) - 20) % 128)  # FlexAttention takes whole blocks alone
    read = torch.tensor(lengths, device=device) - 1
    packed, cells = pack(lengths, read), grid(lengths, read, True, None)
    options = {"device": device, "dtype": torch.bfloat16}
    qkv = torch.randn(sum(lengths), 3 * heads * width, requires_grad=True, **options)
    dy = torch.randn(sum(lengths), heads * width, **options)
    ways: dict[str, Callable[[], Way]] = {
        "kernel for short texts": lambda: lambda x: packed.attend(x, heads),
        "padded grid, scaled dot product": lambda: lambda x: cells.attend(x, heads),
        "varlen_attn (FlashAttention)": lambda: varlen(packed, heads),
        "FlexAttention, block mask": lambda: flex(packed, heads),
        "nested tensors, scaled dot product": lambda: nested(packed, heads),
    }
    table = Table("attention", "forward ms", "with backward ms", "largest difference")
    reference: Tensor | None = None
    for name, make in ways.items():
        try:
            way = make()
            y = way(qkv).detach()
            reference = y if reference is None else reference
            alone = seconds(lambda way=way: way(qkv), repeats)
            both = seconds(lambda way=way: torch.autograd.grad(way(qkv), qkv, dy), repeats)
            off = (y - reference).abs().max().item()
            table.add_row(name, f"{1000 * alone:.3f}", f"{1000 * both:.3f}", f"{off:.4f}")
        except (RuntimeError, ValueError, NotImplementedError) as error:
            table.add_row(name, "-", "-", str(error).splitlines()[0][:60])
    Console(width=120).print(table)


if __name__ == "__main__":
    auto_cli(run, as_positional=False)
