"""Towers as models of transformers."""

from __future__ import annotations

from typing import Any

import torch
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModelWithProjection, CLIPVisionConfig

from pcclip.model.conversion.limits import activation, check_image, check_text
from pcclip.model.conversion.names import State, to_transformers_names
from pcclip.model.lora import merged_state
from pcclip.model.towers import Towers, is_text_name


def text_model(towers: Towers) -> CLIPTextModelWithProjection:
    """The text tower as transformers has it, in fp32 and evaluation mode, with copies of the weights.

    `text_embeds` equals `towers.encode_texts`; with `output_hidden_states=True` there are the (B, L, width)
    token states before the first block and after each one, the last without the final norm that
    `last_hidden_state` has.

    Args:
        towers: any whose text tower is a plain CLIP's; adapters are merged into the copies.

    Raises:
        ModelError: transformers does not compute such a tower; says why.
    """
    check_text(towers.clip)
    state = {n: t for n, t in merged_state(towers.clip).items() if is_text_name(n)}
    return _filled(CLIPTextModelWithProjection, text_config(towers), state, towers)


def to_transformers(towers: Towers) -> CLIPModel:
    """Both towers as transformers has them, in fp32 and evaluation mode, with copies of the weights.

    Args:
        towers: vision transformer and text tower of a plain CLIP; adapters are merged into the copies.

    Raises:
        ModelError: transformers does not compute such towers; says why.
    """
    check_text(towers.clip)
    check_image(towers.clip)
    state = merged_state(towers.clip)
    state["logit_scale"] = state["logit_scale"].reshape(())
    config = CLIPConfig(
        text_config=text_config(towers).to_dict(),
        vision_config=vision_config(towers).to_dict(),
        projection_dim=towers.embed_dim,
    )
    return _filled(CLIPModel, config, state, towers)


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
    start = getattr(towers.tokenizer, "sot_token_id", None)
    pool = getattr(tower, "text_pool_type", None) or tower.pool_type
    if pool == "eos":
        end = getattr(tower, "text_eos_id", None) or tower.eos_id
    else:
        # open_clip reads the highest id: that of the end of text, where the tokenizer gives it the last one.
        end = getattr(towers.tokenizer, "eot_token_id", None)
        if end != vocabulary - 1:
            return {"bos_token_id": start, "eos_token_id": 2, "pad_token_id": 0}  # 2 asks for the highest id
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


def _filled(kind: Any, config: Any, state: State, towers: Towers) -> Any:
    with torch.random.fork_rng(devices=[]):  # the start values that are drawn are overwritten
        model = kind(config)
    model.load_state_dict(to_transformers_names(state), strict=True)
    return model.to(next(towers.parameters()).device, torch.float32).eval()
