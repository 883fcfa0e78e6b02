"""Which weights train: an explicit, counted choice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torch import nn

from pcclip.model.towers import ModelError, Towers

TrainablePart = Literal["blocks", "text", "text_no_embeddings", "projection_norms", "lora", "both"]
LORA_TARGETS = ("c_fc", "c_proj")


@dataclass
class LoraOptions:
    """Low-rank adapters on the MLPs of the text blocks.

    Attributes:
        rank: rank of each adapter.
        alpha: scale; the adapter's output counts alpha / rank.
        targets: which linear layers of the MLP: c_fc, c_proj.
    """

    rank: int = 8
    alpha: float = 16.0
    targets: list[str] = field(default_factory=lambda: list(LORA_TARGETS))


@dataclass(frozen=True)
class TrainableReport:
    """What trains.

    Attributes:
        part: the choice.
        names: parameters that train, as in `Towers.named_parameters()`.
        total: number of trainable values.
        frozen: number of frozen values.
    """

    part: str
    names: tuple[str, ...]
    total: int
    frozen: int

    def __str__(self) -> str:
        """One line for the log."""
        tensors = len(self.names)
        return f"trainable: {self.part}, {self.total:,} parameters in {tensors} tensors; {self.frozen:,} frozen"


def select_trainable(towers: Towers, part: TrainablePart, lora: LoraOptions | None = None) -> TrainableReport:
    """Freeze everything but `part`.

    Args:
        towers: changed in place; `logit_scale` and `logit_bias` never train, objectives bring their own.
        part: `blocks` (the transformer's residual blocks, as published), `text` (the whole text tower),
            `text_no_embeddings` (less its token embeddings), `projection_norms` (LayerNorms and final
            projection), `lora` (adapters), `both` (text and image tower).
        lora: options of `lora`.

    Raises:
        ModelError: for options that do not belong together, or a tower without such a part.
    """
    if (lora is not None) and part != "lora":
        raise ModelError(f"model.lora is set but model.trainable is '{part}': set trainable to 'lora' or drop lora")
    for parameter in towers.parameters():
        parameter.requires_grad_(False)
    towers.image_frozen = part != "both"
    towers.train(towers.training)
    if part == "lora":
        _inject(towers, lora or LoraOptions())
    norms = {id(p) for m in towers.modules() if isinstance(m, nn.LayerNorm) for p in m.parameters()}
    for name, parameter in towers.named_parameters():
        parameter.requires_grad_(_trains(name, parameter, part, norms))
    names = tuple(n for n, p in towers.named_parameters() if p.requires_grad)
    if not names:
        raise ModelError(f"the text tower of '{towers.name}' has no part '{part}'")
    total = sum(p.numel() for p in towers.parameters() if p.requires_grad)
    return TrainableReport(part, names, total, sum(p.numel() for p in towers.parameters()) - total)


def _trains(name: str, parameter: nn.Parameter, part: TrainablePart, norms: set[int]) -> bool:
    if name in ("clip.logit_scale", "clip.logit_bias"):
        return False
    if name.startswith("clip.visual."):
        return part == "both"
    if part == "lora":
        return ".lora_" in name
    if part == "blocks":
        return ".transformer.resblocks." in f".{name}"
    if part == "projection_norms":
        return "text_projection" in name or id(parameter) in norms
    if part == "text_no_embeddings":
        return "token_embedding" not in name
    return True


def _inject(towers: Towers, options: LoraOptions) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    odd = sorted(set(options.targets) - set(LORA_TARGETS))
    if odd or not options.targets:
        raise ModelError(f"model.lora.targets {odd or '[]'}: choose from {list(LORA_TARGETS)}")
    config = LoraConfig(r=options.rank, lora_alpha=options.alpha, target_modules=options.targets, lora_dropout=0.0)
    inject_adapter_in_model(config, towers.text_tower.transformer)
