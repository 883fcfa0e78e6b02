"""Sizes of the towers: open_clip's model config and transformers' CLIP configs."""

from __future__ import annotations

import math
from typing import Any

from transformers import CLIPConfig, CLIPTextConfig, CLIPVisionConfig

from pcclip.model.conversion.limits import activation
from pcclip.model.errors import ModelError
from pcclip.model.towers import Towers

HIGHEST_ID = 2  # as eos_token_id: CLIPTextModel then reads the highest id, as open_clip's 'argmax' does
_ACTIVATIONS: dict[str, dict[str, Any]] = {
    "gelu": {},
    "quick_gelu": {},
    "gelu_pytorch_tanh": {"act_kwargs": {"approximate": "tanh"}},
}


def clip_config(towers: Towers) -> CLIPConfig:
    """Both towers' sizes."""
    return CLIPConfig(
        text_config=text_config(towers).to_dict(),
        vision_config=vision_config(towers).to_dict(),
        projection_dim=towers.embed_dim,
    )


def text_config(towers: Towers) -> CLIPTextConfig:
    """The text tower's sizes, and the ids by which transformers finds the token that open_clip reads."""
    tower: Any = getattr(towers.clip, "text", towers.clip)
    first = tower.transformer.resblocks[0]
    vocabulary, width = tower.token_embedding.weight.shape
    return CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=first.mlp.c_fc.out_features,
        projection_dim=towers.embed_dim,
        num_hidden_layers=len(tower.transformer.resblocks),
        num_attention_heads=first.attn.num_heads,
        max_position_embeddings=tower.positional_embedding.shape[0],
        hidden_act=activation(tower.transformer),
        layer_norm_eps=tower.ln_final.eps,
        **_token_ids(towers, tower, vocabulary),
    )


def _token_ids(towers: Towers, tower: Any, vocabulary: int) -> dict[str, int | None]:
    tokenizer: Any = towers.tokenizer
    theirs = getattr(tokenizer, "tokenizer", None)  # that of transformers, under open_clip's
    start = getattr(tokenizer, "sot_token_id", getattr(theirs, "bos_token_id", None))
    end = getattr(tokenizer, "eot_token_id", getattr(theirs, "eos_token_id", None))
    if towers.text_encoder.pool == "eos":
        end = towers.text_encoder.eos
    elif end != vocabulary - 1:
        end = HIGHEST_ID
    return {"bos_token_id": start, "eos_token_id": end, "pad_token_id": end}


def vision_config(towers: Towers) -> CLIPVisionConfig:
    """The image tower's sizes."""
    visual: Any = towers.visual
    first = visual.transformer.resblocks[0]
    return CLIPVisionConfig(
        hidden_size=visual.conv1.out_channels,
        intermediate_size=first.mlp.c_fc.out_features,
        projection_dim=towers.embed_dim,
        num_hidden_layers=len(visual.transformer.resblocks),
        num_attention_heads=first.attn.num_heads,
        image_size=visual.image_size[0],
        patch_size=visual.patch_size[0],
        hidden_act=activation(visual.transformer),
        layer_norm_eps=visual.ln_post.eps,
    )


def open_clip_config(config: CLIPConfig) -> dict[str, Any]:
    """open_clip's `model_cfg` for a model of transformers.

    Raises:
        ModelError: open_clip has no such model.
    """
    text, vision = config.text_config, config.vision_config
    quick = {text.hidden_act == "quick_gelu", vision.hidden_act == "quick_gelu"}
    unknown = {text.hidden_act, vision.hidden_act} - _ACTIVATIONS.keys()
    if len(quick) > 1 or unknown:
        raise ModelError(
            f"the activations {text.hidden_act} (text) and {vision.hidden_act} (image) cannot be had in "
            f"open_clip, which knows one of {', '.join(_ACTIVATIONS)} for both towers; use the model in "
            "transformers"
        )
    if isinstance(text.eos_token_id, list):
        raise ModelError(f"several ends of text ({text.eos_token_id}) cannot be had in open_clip; give one")
    pooling = {}
    if text.eos_token_id not in (HIGHEST_ID, text.vocab_size - 1):
        pooling = {"pool_type": "eos", "eos_id": text.eos_token_id}
    return {
        "embed_dim": config.projection_dim,
        "quick_gelu": quick == {True},
        "vision_cfg": {
            "image_size": vision.image_size,
            "patch_size": vision.patch_size,
            "head_width": vision.hidden_size // vision.num_attention_heads,
            **_blocks(vision),
        },
        "text_cfg": {
            "context_length": text.max_position_embeddings,
            "vocab_size": text.vocab_size,
            "heads": text.num_attention_heads,
            **_blocks(text),
            **pooling,
        },
    }


def _blocks(config: Any) -> dict[str, Any]:
    width, inner = config.hidden_size, config.intermediate_size
    ratio = inner / width
    if int(width * ratio) != inner:  # open_clip rounds down
        ratio = math.nextafter(ratio, math.inf)
    eps = {} if config.layer_norm_eps == 1e-5 else {"norm_kwargs": {"eps": config.layer_norm_eps}}
    sizes = {"width": width, "layers": config.num_hidden_layers, "mlp_ratio": ratio}
    return {**sizes, **_ACTIVATIONS[config.hidden_act], **eps}
