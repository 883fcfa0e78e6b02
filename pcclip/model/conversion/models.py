"""Towers as models of transformers."""

from __future__ import annotations

from typing import Any

import torch
from transformers import CLIPModel, CLIPTextModelWithProjection

from pcclip.model.conversion.configs import clip_config, text_config
from pcclip.model.conversion.limits import check_image, check_text
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
    return _filled(CLIPModel, clip_config(towers), state, towers)


def _filled(kind: Any, config: Any, state: State, towers: Towers) -> Any:
    with torch.random.fork_rng(devices=[]):  # the start values that are drawn are overwritten
        model = kind(config)
    model.load_state_dict(to_transformers_names(state), strict=True)
    return model.to(next(towers.parameters()).device, torch.float32).eval()
