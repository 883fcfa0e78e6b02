"""Text encoding whose cost grows with real tokens, equal to open_clip's `encode_text`.

Under a causal mask a token sees only what comes before it, and open_clip reads one token per text (the end of
text): whatever follows that token cannot change the embedding. So the real tokens of a batch are laid end to
end for embeddings, norms, projections and MLPs, which work token by token; only queries, keys and values are
put into a (texts, longest) grid for the attention kernel. The last block computes one token per text after
its keys and values.

Towers without a causal mask (SigLIP) attend to the padding, which therefore belongs to the computation:
nothing can be cut off, and tokens must come with the full context. The saving in the last block holds there
too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from open_clip.hf_model import HFTextEncoder
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn
from torch.nn import functional as F

from pcclip.model.errors import ModelError
from pcclip.model.lora import output_projection, project_in

READ_ONE_TOKEN = ("argmax", "eos", "first")


@dataclass(frozen=True)
class Layout:
    """Where the real tokens of a (B, L) grid are.

    Attributes:
        grid: B and L, L cut to the longest text.
        rows: (T,) positions of the real tokens in the flattened grid; None if all are.
        read: (B,) index among the real tokens of the one that the tower reads.
        keys: (B, 1, 1, L) whether a token may be attended to; None if all may.
    """

    grid: tuple[int, int]
    rows: Tensor | None
    read: Tensor
    keys: Tensor | None


class TextEncoder:
    """Encode texts with the text tower of an open_clip model.

    Attributes:
        trim: whether padding columns may be cut off the tokens without changing the result.
        path: `ragged` (this module's own), or `open_clip` (its `encode_text`).
        why: reason, for the log.
    """

    def __init__(self, clip: nn.Module) -> None:
        """Look at the text tower of `clip`."""
        self.clip: Any = clip
        self.tower: Any = getattr(clip, "text", clip)
        self.pool = getattr(self.tower, "text_pool_type", getattr(self.tower, "pool_type", None))
        self.eos: Any = getattr(self.tower, "text_eos_id", getattr(self.tower, "eos_id", None))
        self.causal = getattr(self.tower, "attn_mask", None) is not None
        self.pad_mask = bool(getattr(self.tower, "use_pad_mask", False))
        self.path, self.trim, self.why = self._plan()

    def _plan(self) -> tuple[str, bool, str]:
        if isinstance(self.tower, HFTextEncoder):
            return "open_clip", True, "a transformers text tower masks its padding"
        if getattr(self.tower, "cls_emb", None) is not None:
            return "open_clip", False, "the class token stands behind the padding"
        blocks = getattr(getattr(self.tower, "transformer", None), "resblocks", ())
        if not blocks or not all(type(b) is ResidualAttentionBlock for b in blocks) or self.pool == "none":
            return "open_clip", False, "the text tower is none of open_clip's plain ones"
        if self.pad_mask and self.pool == "last":
            return "open_clip", False, "the token read may be padding, which is masked as a key only"
        if self.pool in READ_ONE_TOKEN and (self.causal or self.pad_mask):
            return "ragged", True, "no real token sees the padding"
        return "ragged", False, "padding takes part: it is attended to, or read"

    def __call__(self, tokens: Tensor, lengths: Sequence[int] | None = None) -> Tensor:
        """Encode texts.

        Args:
            tokens: (B, L) token ids; L is the context length, or, if `trim`, any that holds the longest text.
            lengths: `real_lengths` of the tokens, if known on the host: spares a wait for the device.

        Returns:
            (B, embed_dim), not normalised.

        Raises:
            ModelError: the tokens are longer than the context, or trimmed where they must not be.
        """
        context = self.tower.context_length
        if tokens.shape[1] > context or (tokens.shape[1] < context and not self.trim):
            must = "at most" if self.trim else "exactly"
            raise ModelError(
                f"tokens have {tokens.shape[1]} columns, this text tower takes {must} {context} ({self.why})"
            )
        if self.path == "open_clip":
            return self.clip.encode_text(tokens, normalize=False)
        return self._encode(tokens, lengths)

    def real_lengths(self, tokens: Tensor) -> Tensor:
        """(B,) number of leading columns that take part in each text's embedding."""
        if not self.trim:
            return torch.full((len(tokens),), tokens.shape[1], device=tokens.device)
        if isinstance(self.tower, HFTextEncoder):
            return _last(tokens != self.tower.config.pad_token_id) + 1
        read = self._read(tokens)
        return read + 1 if self.causal else torch.maximum(_last(tokens != self.tower.pad_id), read) + 1

    def trim_tokens(self, tokens: Tensor) -> Tensor:
        """Cut columns that take no part in any text's embedding."""
        return tokens[:, : int(self.real_lengths(tokens).max())] if self.trim and len(tokens) else tokens

    def _read(self, tokens: Tensor) -> Tensor:
        if self.pool == "argmax":
            return tokens.argmax(dim=-1)
        if self.pool == "eos":
            return tokens.eq(self.eos).int().argmax(dim=-1)
        column = 0 if self.pool == "first" else tokens.shape[1] - 1
        return torch.full((len(tokens),), column, device=tokens.device)

    def _layout(self, tokens: Tensor, lengths: Sequence[int] | None) -> Layout:
        counts = self.real_lengths(tokens) if lengths is None else torch.tensor(lengths)
        columns = torch.arange(int(counts.max()), device=counts.device)
        read = counts - 1 if self.causal else self._read(tokens).to(counts.device)
        keys = columns < counts[:, None]
        if self.pad_mask:
            keys = tokens[:, : len(columns)].to(counts.device) != self.tower.pad_id
        kept = (keys | (columns == read[:, None])).flatten()
        cells = torch.arange(len(tokens), device=counts.device) * len(columns) + read
        rows = kept.nonzero().squeeze(1)
        dense = len(rows) == len(kept)
        if dense and not self.pad_mask:
            return Layout((len(tokens), len(columns)), None, cells.to(tokens.device), None)
        read = cells if dense else (kept.cumsum(0) - 1)[cells]
        rows, read, keys = (t.to(tokens.device, non_blocking=True) for t in (rows, read, keys))
        return Layout((len(tokens), len(columns)), None if dense else rows, read, keys[:, None, None, :])

    def _encode(self, tokens: Tensor, lengths: Sequence[int] | None) -> Tensor:
        tower = self.tower
        layout = self._layout(tokens, lengths)
        ids = tokens[:, : layout.grid[1]].reshape(-1)
        places = torch.arange(layout.grid[1], device=ids.device).repeat(layout.grid[0])
        if layout.rows is not None:
            ids, places = ids[layout.rows], places[layout.rows]
        x_TW = tower.token_embedding(ids) + tower.positional_embedding[places]
        *blocks, last = tower.transformer.resblocks
        for block in blocks:
            x_TW = x_TW + block.ls_1(self._attend(block, block.ln_1(x_TW), layout))
            x_TW = x_TW + block.ls_2(block.mlp(block.ln_2(x_TW)))
        x_BW = x_TW[layout.read] + last.ls_1(_attend_once(last, last.ln_1(x_TW), layout))
        x_BW = x_BW + last.ls_2(last.mlp(last.ln_2(x_BW)))
        return _project(tower.text_projection, tower.ln_final(x_BW))

    def _attend(self, block: Any, x_TW: Tensor, layout: Layout) -> Tensor:
        width, heads = x_TW.shape[1], block.attn.num_heads
        packed = _to_grid(project_in(block.attn, x_TW, 0, 3 * width), layout)
        q, k, v = packed.view(*layout.grid, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        # Under the causal mask real tokens never see the zeros that fill the grid.
        mask = None if self.causal else layout.keys
        y = _attention(q, k, v, attn_mask=mask, is_causal=self.causal)
        y = y.transpose(1, 2).reshape(-1, width)
        return output_projection(block.attn)(y if layout.rows is None else _Pick.apply(y, layout.rows))


def _attend_once(block: Any, x_TW: Tensor, layout: Layout) -> Tensor:
    """Attention of the read token of each text to all its tokens that it may see: (B, width)."""
    width, heads = x_TW.shape[1], block.attn.num_heads
    q = project_in(block.attn, x_TW[layout.read], 0, width).view(-1, 1, heads, width // heads).transpose(1, 2)
    packed = _to_grid(project_in(block.attn, x_TW, width, 3 * width), layout)
    k, v = packed.view(*layout.grid, 2, heads, width // heads).permute(2, 0, 3, 1, 4)
    y = _attention(q, k, v, attn_mask=layout.keys)
    return output_projection(block.attn)(y.reshape(-1, width))


def _attention(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
    if q.device.type != "cpu" or q.dtype == torch.float32:
        return F.scaled_dot_product_attention(q, k, v, **options)
    # The CPU's bf16 kernel takes 3 times as long backward as fp32's (torch 2.14), more than bf16 saves here.
    with torch.autocast("cpu", enabled=False):
        y = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), **options)
    return y.to(q.dtype)


def _project(projection: nn.Module | Tensor | None, x: Tensor) -> Tensor:
    if projection is None:
        return x
    return projection(x) if isinstance(projection, nn.Module) else x @ projection


def _to_grid(x: Tensor, layout: Layout) -> Tensor:
    if layout.rows is None:
        return x
    empty = x.new_zeros(layout.grid[0] * layout.grid[1], x.shape[1])
    return empty.index_copy_(0, layout.rows, x)


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


def _last(real: Tensor) -> Tensor:
    """Index of the last True in each row of (B, L); 0 if there is none."""
    places = torch.arange(real.shape[1], device=real.device)
    return torch.where(real, places, 0).amax(dim=1)
