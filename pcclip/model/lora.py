"""Low-rank adapters (by `peft`) in the text blocks: injection, projection, merged weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pcclip.model.errors import ModelError

LoraTarget = Literal["attn", "c_fc", "c_proj"]


@dataclass(frozen=True)
class LoraOptions:
    """Adapters of the text blocks.

    Attributes:
        rank: inner width of an adapter.
        alpha: the adapter's output is scaled by alpha / rank.
        targets: `attn` (query, key, value and output projections), `c_fc`, `c_proj` (the two of the MLP).
    """

    rank: int = 8
    alpha: float = 16.0
    targets: tuple[LoraTarget, ...] = ("attn", "c_fc", "c_proj")


def inject(clip: nn.Module, options: LoraOptions) -> None:
    """Wrap the targets in the text tower's blocks; changes `clip` in place, only adapters require gradients.

    Raises:
        ModelError: bad options, adapters already there, or a text tower without open_clip's blocks.
    """
    if options.rank < 1 or not options.targets:
        raise ModelError(f"lora needs rank >= 1 and at least one target, got {options}")
    if has_adapters(clip):
        raise ModelError("the towers have adapters already: load them again before selecting another part")
    from peft import LoraConfig, inject_adapter_in_model  # takes seconds: only those who use it pay

    prefix = r"text\." if hasattr(clip, "text") else ""
    names = "|".join("attn" if t == "attn" else rf"mlp\.{t}" for t in options.targets)
    config = LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,  # type: ignore[arg-type]  # peft only divides it by the rank
        target_modules=rf"{prefix}transformer\.resblocks\.\d+\.({names})",
    )
    try:
        inject_adapter_in_model(config, clip)
    except ValueError as error:
        raise ModelError(f"lora: this text tower has no blocks to adapt ({error})") from error


def has_adapters(clip: nn.Module) -> bool:
    """Whether `inject` was called."""
    return any(".lora_" in name for name, _ in clip.named_parameters())


def project_in(attention: Any, x: Tensor, start: int, stop: int) -> Tensor:
    """Rows `start:stop` of the attention's input projection, plus the adapter's low-rank part if any.

    `peft` merges the adapter into the weight at each forward pass; two thin products cost less.

    Args:
        attention: `nn.MultiheadAttention`, or peft's wrapper of one.
        x: (..., width).
        start: first output feature; queries, keys and values follow each other.
        stop: one past the last.
    """
    y = F.linear(x, attention.in_proj_weight[start:stop], attention.in_proj_bias[start:stop])
    for adapter in _active(attention):
        down, up = attention.lora_A[adapter].weight, attention.lora_B[adapter].weight[start:stop]
        y = y + attention.scaling[adapter] * F.linear(F.linear(x, down), up)
    return y


def output_projection(attention: Any) -> nn.Module:
    """The attention's output projection as a module to call, adapter included."""
    return attention.get_base_layer().out_proj if hasattr(attention, "lora_A") else attention.out_proj


def merged_state(clip: nn.Module) -> dict[str, Tensor]:
    """State dict under open_clip's names, adapters added to their weights; the live model stays as it is."""
    state = clip.state_dict()
    if not any(".lora_" in name for name in state):
        return dict(state)
    deltas = {}
    with torch.no_grad():
        for name, module in clip.named_modules():
            for adapter in _active(module):
                own = "in_proj_weight" if hasattr(module, "in_proj_weight") else "weight"
                deltas[f"{name}.{own}".replace(".base_layer", "")] = module.get_delta_weight(adapter)  # type: ignore[operator]
    plain = {n.replace(".base_layer", ""): t for n, t in state.items() if ".lora_" not in n}
    return {n: t + deltas[n] if n in deltas else t for n, t in plain.items()}


def _active(module: Any) -> list[str]:
    return [a for a in module.active_adapters if a in module.lora_A] if hasattr(module, "lora_A") else []
