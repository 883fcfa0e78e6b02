"""The same weights under open_clip's names and under those of transformers.

Two things differ besides names: open_clip keeps queries, keys and values in one matrix, and multiplies by its
projections from the right.
"""

from __future__ import annotations

import re

import torch
from torch import Tensor

from pcclip.model.errors import ModelError

State = dict[str, Tensor]

# open_clip's names of a `CLIP`; those of a `CustomTextCLIP` say `text.` before the text tower's.
_PLAIN = {
    "logit_scale": "logit_scale",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
}
_TRANSPOSED = {"text_projection": "text_projection.weight", "visual.proj": "visual_projection.weight"}
_IN_BLOCKS = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
_OURS = re.compile(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+?)[._](weight|bias)")
_THEIRS = re.compile(r"(text|vision)_model\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
_BACK = {theirs: ours for ours, theirs in {**_PLAIN, **_TRANSPOSED, **_IN_BLOCKS}.items()}


def to_transformers_names(state: State) -> State:
    """Rename the weights of an open_clip `CLIP` or `CustomTextCLIP` for a `CLIPModel`.

    Args:
        state: state dict without adapters; of a whole model, or of one tower.

    Returns:
        The same weights; projections and q, k, v are views of those given.

    Raises:
        ModelError: a weight has no place in a `CLIPModel`.
    """
    renamed: State = {}
    for full_name, tensor in state.items():
        name = full_name.removeprefix("text.")
        if name in _TRANSPOSED:
            renamed[_TRANSPOSED[name]] = tensor.T
        elif name in _PLAIN:
            renamed[_PLAIN[name]] = tensor
        else:
            renamed |= _block_to_transformers(full_name, name, tensor)
    return renamed


def _block_to_transformers(full_name: str, name: str, tensor: Tensor) -> State:
    match = _OURS.fullmatch(name)
    if match:
        tower, layer, module, kind = match.groups()
        prefix = f"{'vision' if tower else 'text'}_model.encoder.layers.{layer}"
        if module in _IN_BLOCKS:
            return {f"{prefix}.{_IN_BLOCKS[module]}.{kind}": tensor}
        if module == "attn.in_proj":
            parts = zip("qkv", tensor.chunk(3), strict=True)
            return {f"{prefix}.self_attn.{letter}_proj.{kind}": part for letter, part in parts}
    raise ModelError(f"the weight '{full_name}' has no place in transformers' CLIPModel")


def to_open_clip_names(state: State) -> State:
    """Rename the weights of a `CLIPModel` for an open_clip `CLIP`.

    Args:
        state: state dict of a `CLIPModel`, as its files hold it (older ones also hold `position_ids`).

    Raises:
        ModelError: a weight has no place in an open_clip `CLIP`, or one of a block's three projections of the
            attention is missing.
    """
    renamed: State = {}
    attention: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        if name.endswith(".position_ids"):
            continue  # counts from 0; transformers stopped saving it
        match = _THEIRS.fullmatch(name)
        if name in _BACK:
            ours = _BACK[name]
            renamed[ours] = tensor.T.contiguous() if ours in _TRANSPOSED else tensor
        elif match and (projection := re.fullmatch(r"self_attn\.([qkv])_proj", match[3])):
            packed = f"{_block_prefix(match)}.attn.in_proj_{match[4]}"
            attention.setdefault(packed, {})[projection[1]] = tensor
        elif match and match[3] in _BACK:
            renamed[f"{_block_prefix(match)}.{_BACK[match[3]]}.{match[4]}"] = tensor
        else:
            raise ModelError(f"the weight '{name}' has no place in open_clip's CLIP")
    for packed, parts in attention.items():
        if parts.keys() != set("qkv"):
            raise ModelError(
                f"of the projections for '{packed}' only {', '.join(sorted(parts))} are there: the file is "
                "not whole; download or save the model again"
            )
        renamed[packed] = torch.cat([parts[letter] for letter in "qkv"])
    return renamed


def _block_prefix(match: re.Match[str]) -> str:
    return f"{'visual.' if match[1] == 'vision' else ''}transformer.resblocks.{match[2]}"
