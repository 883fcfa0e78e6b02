"""Text encoding whose cost grows with real tokens, equal to open_clip's `encode_text`.

Under a causal mask a token sees only what comes before it, and open_clip reads one token per text (the end of
text): whatever follows that token cannot change the embedding. So the real tokens of a batch are laid end to
end for embeddings, norms, projections and MLPs, which work token by token; for attention see
`pcclip.model.packing`. The last block computes one token per text after its keys and values.

Towers without a causal mask (SigLIP) attend to the padding, which therefore belongs to the computation:
nothing can be cut off, and tokens must come with the full context. The saving in the last block holds there
too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from open_clip.hf_model import HFTextEncoder
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn

from pcclip.model.errors import ModelError
from pcclip.model.lora import output_projection, project_in
from pcclip.model.packing import Grid, Packed, can_pack, grid, pack

READ_ONE_TOKEN = ("argmax", "eos", "first")


class TextEncoder:
    """Encode texts with the text tower of an open_clip model.

    Attributes:
        trim: whether padding columns may be cut off the tokens without changing the result.
        path: `ragged` (this module's own), or `open_clip` (its `encode_text`).
        why: reason, for the log.
        compiled: whether training steps run what surrounds the attention through `torch.compile`. It starts
            slower, by a minute or so, and pays on GPUs; evaluations stay as they are.
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
        self.compiled = False

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
            lengths: how many leading tokens of each text hold all its real ones (`real_lengths`, or more),
                where that is known on the host: spares a wait for the device.

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

    def _layout(self, tokens: Tensor, lengths: Sequence[int] | None) -> Grid | Packed:
        if lengths is None or not self.trim:
            lengths = self.real_lengths(tokens).tolist()
        read = self._read(tokens)
        if self.causal and can_pack(tokens.device, self._dtype(), self._head_width(), max(lengths)):
            return pack(lengths, read)
        visible = tokens != self.tower.pad_id if self.pad_mask else None
        return grid(lengths, read, self.causal, visible)

    def _dtype(self) -> torch.dtype:
        weight: Tensor = self.tower.positional_embedding
        kind = weight.device.type
        return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype

    def _head_width(self) -> int:
        attention = self.tower.transformer.resblocks[0].attn
        return attention.embed_dim // attention.num_heads

    def _encode(self, tokens: Tensor, lengths: Sequence[int] | None) -> Tensor:
        tower = self.tower
        layout = self._layout(tokens, lengths)
        ids, columns = layout.pick(tokens)
        x_TW = tower.token_embedding(ids) + tower.positional_embedding[columns]
        blocks = list(tower.transformer.resblocks)
        heads = blocks[0].attn.num_heads
        enter, through, leave = _EAGER
        if self.compiled and torch.is_grad_enabled():
            enter, through, leave = _compiled(x_TW.device.type)
        qkv_TW = enter(blocks[0], x_TW)
        for block, following in pairwise(blocks):
            x_TW, qkv_TW = through(block, following, x_TW, layout.attend(qkv_TW, heads))
        x_BW = leave(blocks[-1], x_TW[layout.read], layout.attend_once(qkv_TW, heads))
        return _project(tower.text_projection, tower.ln_final(x_BW))


def _enter(block: Any, x_TW: Tensor) -> Tensor:
    """Queries, keys and values of a block's attention: (T, width) to (T, 3 width)."""
    return project_in(block.attn, block.ln_1(x_TW), 0, 3 * x_TW.shape[1])


def _leave(block: Any, x_TW: Tensor, y_TW: Tensor) -> Tensor:
    """What a block makes of its input and its attention's result."""
    x_TW = x_TW + block.ls_1(output_projection(block.attn)(y_TW))
    return x_TW + block.ls_2(block.mlp(block.ln_2(x_TW)))


def _through(block: Any, following: Any, x_TW: Tensor, y_TW: Tensor) -> tuple[Tensor, Tensor]:
    """Out of a block and into the next: all between two attentions."""
    x_TW = _leave(block, x_TW, y_TW)
    return x_TW, _enter(following, x_TW)


_EAGER = (_enter, _through, _leave)


@cache
def _compiled(device: str) -> tuple[Any, Any, Any]:
    # Small graphs that all blocks share: between them stands the attention, whose texts differ at every step.
    # Launched from C++, because a GPU is done with a batch of 512 sooner than Python has launched it.
    options: Any = {"cpp_wrapper": True} if device == "cuda" else None
    enter, through, leave = (torch.compile(step, dynamic=True, options=options) for step in _EAGER)
    return enter, through, leave


def _project(projection: nn.Module | Tensor | None, x: Tensor) -> Tensor:
    if projection is None:
        return x
    return projection(x) if isinstance(projection, nn.Module) else x @ projection


def _last(real: Tensor) -> Tensor:
    """Index of the last True in each row of (B, L); 0 if there is none."""
    places = torch.arange(real.shape[1], device=real.device)
    return torch.where(real, places, 0).amax(dim=1)
