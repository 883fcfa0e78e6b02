"""Text encoding that costs by real tokens and equals open_clip's `encode_text`.

A causal tower that pools at the end-of-text token never looks at padding. So norms, projections
and MLPs run on the real tokens of the whole batch laid end to end, and only attention sees a
padded batch, trimmed to its longest text. The last block computes the pooled token alone.

Shape letters: B texts, L longest text in tokens, T real tokens of the batch, W width, H heads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn


def is_ragged(clip: nn.Module) -> bool:
    """Whether padding plays no part in this text tower, so that it may be left out.

    False for bidirectional towers whose padding is attended (SigLIP pools the last of always 64
    positions), for towers with an appended class token (CoCa) and for Hugging Face towers: those
    go through open_clip's own `encode_text` at full context.
    """
    tower: Any = getattr(clip, "text", clip)
    if getattr(tower, "attn_mask", None) is None or getattr(tower, "cls_emb", None) is not None:
        return False
    if getattr(tower, "use_pad_mask", False) or _pool_type(tower) not in ("argmax", "eos"):
        return False
    blocks = getattr(getattr(tower, "transformer", None), "resblocks", [])
    return len(blocks) > 0 and all(type(b) is ResidualAttentionBlock for b in blocks)


def _pool_type(tower: Any) -> str:
    return str(getattr(tower, "text_pool_type", getattr(tower, "pool_type", "")))


def encode_ragged(clip: nn.Module, tokens_BL: Tensor) -> Tensor:
    """Encode texts at the cost of their real tokens.

    Args:
        clip: open_clip model for which `is_ragged` holds.
        tokens_BL: (B, L) token ids, padded on the right to any length.

    Returns:
        (B, D) embeddings, not normalised.
    """
    tower: Any = getattr(clip, "text", clip)
    layout = _Layout.of(tokens_BL, tower)
    tokens_T = tokens_BL[layout.text_T, layout.position_T]
    x_TW = tower.token_embedding(tokens_T) + tower.positional_embedding[layout.position_T]
    *body, last = tower.transformer.resblocks
    for block in body:
        x_TW = _block(block, x_TW, layout)
    pooled_BW = tower.ln_final(_last_block(last, x_TW, layout))
    projection = tower.text_projection
    if projection is None:
        return pooled_BW
    return projection(pooled_BW) if isinstance(projection, nn.Linear) else pooled_BW @ projection


@dataclass(frozen=True)
class _Layout:
    """Where each real token stands: its text, its position, its slot in the padded batch."""

    text_T: Tensor
    position_T: Tensor
    slot_T: Tensor
    end_B: Tensor
    texts: int
    longest: int

    @staticmethod
    def of(tokens_BL: Tensor, tower: Any) -> _Layout:
        if _pool_type(tower) == "eos":
            eos = getattr(tower, "text_eos_id", getattr(tower, "eos_id", None))
            last_B = (tokens_BL == eos).int().argmax(dim=-1)
        else:
            last_B = tokens_BL.argmax(dim=-1)
        positions_L = torch.arange(tokens_BL.shape[1], device=tokens_BL.device)
        text_T, position_T = (positions_L[None, :] <= last_B[:, None]).nonzero(as_tuple=True)
        longest = int(last_B.max()) + 1
        end_B = (last_B + 1).cumsum(0) - 1
        return _Layout(text_T, position_T, text_T * longest + position_T, end_B, len(tokens_BL), longest)

    def pad(self, x_TW: Tensor) -> Tensor:
        """(T, W) -> (B, L, W), zeros at the padding."""
        blank = x_TW.new_zeros(self.texts * self.longest, x_TW.shape[1])
        return blank.index_copy(0, self.slot_T, x_TW).view(self.texts, self.longest, -1)


def _heads(x_BLW: Tensor, heads: int) -> Tensor:
    return x_BLW.unflatten(-1, (heads, -1)).transpose(1, 2)


def _mlp(block: Any, x_TW: Tensor) -> Tensor:
    return x_TW + block.ls_2(block.mlp(block.ln_2(x_TW)))


def _block(block: Any, x_TW: Tensor, layout: _Layout) -> Tensor:
    attn = block.attn
    qkv_BLX = layout.pad(F.linear(block.ln_1(x_TW), attn.in_proj_weight, attn.in_proj_bias))
    q, k, v = (_heads(part, attn.num_heads) for part in qkv_BLX.chunk(3, dim=-1))
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    mixed_TW = mixed.transpose(1, 2).flatten(2).flatten(0, 1)[layout.slot_T]
    return _mlp(block, x_TW + block.ls_1(attn.out_proj(mixed_TW)))


def _last_block(block: Any, x_TW: Tensor, layout: _Layout) -> Tensor:
    """(T, W) -> (B, W): only the pooled token asks, all tokens answer."""
    attn, width = block.attn, x_TW.shape[1]
    normed_TW = block.ln_1(x_TW)
    w_q, w_kv = attn.in_proj_weight.split([width, 2 * width])
    b_q, b_kv = attn.in_proj_bias.split([width, 2 * width])
    q = _heads(F.linear(normed_TW[layout.end_B], w_q, b_q)[:, None], attn.num_heads)
    kv_BLX = layout.pad(F.linear(normed_TW, w_kv, b_kv))
    k, v = (_heads(part, attn.num_heads) for part in kv_BLX.chunk(2, dim=-1))
    length_B = layout.position_T[layout.end_B] + 1
    real_BL = torch.arange(layout.longest, device=x_TW.device)[None, :] < length_B[:, None]
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=real_BL[:, None, None, :])
    mixed_BW = mixed.transpose(1, 2).flatten(1)
    return _mlp(block, x_TW[layout.end_B] + block.ls_1(attn.out_proj(mixed_BW)))
