"""What transformers' CLIP classes can compute, read off the modules, and why the rest is refused."""

from __future__ import annotations

from typing import Any

from open_clip.hf_model import HFTextEncoder
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.timm_model import TimmModel
from open_clip.transformer import QuickGELU, ResidualAttentionBlock, VisionTransformer
from torch import nn

from pcclip.model.errors import ModelError

OPEN_CLIP_INSTEAD = "export it --to open_clip, which computes it as it is"
READ = ("argmax", "eos")
TEXT_INSTEAD = "export its text tower alone (--part text), or the whole model --to open_clip"


def check_text(clip: nn.Module) -> None:
    """Refuse a text tower that `CLIPTextModelWithProjection` does not compute.

    Raises:
        ModelError: says what the tower does otherwise, and what can be done instead.
    """
    if type(clip) not in (CLIP, CustomTextCLIP):
        _refuse(f"the model is a {type(clip).__name__}, not a plain CLIP", OPEN_CLIP_INSTEAD)
    tower: Any = getattr(clip, "text", clip)
    if isinstance(tower, HFTextEncoder):
        _refuse(
            "its text tower is a transformers language model under open_clip's pooling", OPEN_CLIP_INSTEAD
        )
    pool = getattr(tower, "text_pool_type", None) or tower.pool_type
    eos = getattr(tower, "text_eos_id", getattr(tower, "eos_id", None))
    end = "its end of text is token 2, which CLIPTextModel takes for 'the highest id'"
    reasons = [
        (getattr(tower, "cls_emb", None) is not None, "its text tower has a class token of its own"),
        (tower.attn_mask is None, "its text tower has no causal mask"),
        (
            pool not in READ,
            f"its text tower reads the token '{pool}', CLIPTextModel the end of the text only",
        ),
        (pool == "eos" and eos == 2, end),
        (tower.text_projection is None, "its text tower has no projection"),
        (isinstance(tower.text_projection, nn.Linear), "its text projection has a bias"),
    ]
    _refuse_first(reasons, OPEN_CLIP_INSTEAD)
    _check_blocks(tower.transformer, "text", OPEN_CLIP_INSTEAD)


def check_image(clip: nn.Module) -> None:
    """Refuse an image tower that `CLIPVisionModelWithProjection` does not compute.

    Raises:
        ModelError: says what the tower does otherwise, and what can be done instead.
    """
    visual: Any = clip.visual
    if isinstance(visual, TimmModel):
        _refuse("its image tower is timm's", TEXT_INSTEAD)
    if type(visual) is not VisionTransformer:
        _refuse(f"its image tower is a {type(visual).__name__}, no vision transformer", TEXT_INSTEAD)
    pool = f"its image tower pools by '{visual.pool_type}', CLIPVisionModel reads the class token"
    reasons = [
        (visual.attn_pool is not None, "its image tower pools by attention"),
        (visual.pool_type != "tok", pool),
        (isinstance(visual.ln_pre, nn.Identity), "its image tower has no layer norm before the blocks"),
        (len({*visual.image_size}) > 1, "its pictures are not square"),
        (len({*visual.patch_size}) > 1, "its patches are not square"),
        (getattr(clip, "logit_bias", None) is not None, "its similarities have a bias (SigLIP)"),
    ]
    _refuse_first(reasons, TEXT_INSTEAD)
    _check_blocks(visual.transformer, "image", TEXT_INSTEAD)


def activation(transformer: Any) -> str | None:
    """Name in transformers of the activation of a tower's blocks; None if it has none."""
    module = transformer.resblocks[0].mlp.gelu
    if isinstance(module, QuickGELU):
        return "quick_gelu"
    if isinstance(module, nn.GELU):
        return "gelu" if module.approximate == "none" else "gelu_pytorch_tanh"
    return None


def _check_blocks(transformer: Any, tower: str, instead: str) -> None:
    blocks = list(getattr(transformer, "resblocks", ()))
    plain = bool(blocks) and all(type(b) is ResidualAttentionBlock for b in blocks)
    scaled = plain and not all(isinstance(b.ls_1, nn.Identity) for b in blocks)
    reasons = [
        (not plain, f"its {tower} tower has other blocks than CLIP's"),
        (scaled, f"its {tower} tower scales its layers' outputs (layer scale)"),
    ]
    _refuse_first(reasons, instead)
    if activation(transformer) is None:
        kind = type(blocks[0].mlp.gelu).__name__
        _refuse(f"its {tower} tower's activation {kind} is none that CLIP has in transformers", instead)


def _refuse_first(reasons: list[tuple[bool, str]], instead: str) -> None:
    for holds, reason in reasons:
        if holds:
            _refuse(reason, instead)


def _refuse(reason: str, instead: str) -> None:
    raise ModelError(f"this model cannot be converted for transformers: {reason}; {instead}")
