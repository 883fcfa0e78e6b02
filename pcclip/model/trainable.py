"""Which part of the towers trains, by name and counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import nn

from pcclip.model.errors import ModelError
from pcclip.model.lora import LoraOptions, has_adapters, inject
from pcclip.model.towers import Towers, is_text_name

__all__ = ["LoraOptions", "TrainablePart", "TrainableReport", "select_trainable"]

TrainablePart = Literal["blocks", "text", "text_no_embeddings", "projection_norms", "lora", "both"]

TOKEN_EMBEDDINGS = "token_embedding."


@dataclass(frozen=True)
class TrainableReport:
    """What trains.

    Attributes:
        part: the option.
        names: of the parameters, relative to the towers.
        counts: numbers by group: `text blocks`, `token embeddings`, `text norms`, ..., `image tower`.
        total: numbers that train.
        of: numbers of both towers.
    """

    part: str
    names: tuple[str, ...]
    counts: dict[str, int]
    total: int
    of: int

    def __str__(self) -> str:
        """One line for the log."""
        groups = ", ".join(f"{name} {count:,}" for name, count in self.counts.items())
        return f"training {self.total:,} of {self.of:,} parameters (part '{self.part}': {groups})"


def select_trainable(towers: Towers, part: TrainablePart, lora: LoraOptions | None = None) -> TrainableReport:
    """Let one part of the towers train and freeze all else.

    A frozen image tower stays in evaluation mode, whatever mode the towers are put into. The logit scale
    never trains: objectives have temperatures of their own.

    Args:
        towers: changed in place.
        part: `blocks` (the text tower's transformer blocks, as in the paper), `text` (the whole text tower),
            `text_no_embeddings` (the same without its token embeddings), `projection_norms` (the text tower's
            LayerNorms and its projection), `lora` (low-rank adapters in the text blocks), `both` (both
            towers whole).
        lora: options of the adapters; only with `lora`.

    Raises:
        ModelError: unknown part, options that do not go together, or nothing in the towers matches.
    """
    if part not in get_args(TrainablePart):
        raise ModelError(
            f"trainable part '{part}' is unknown: choose one of {', '.join(get_args(TrainablePart))}"
        )
    if lora is not None and part != "lora":
        raise ModelError(
            f"lora options are given but the trainable part is '{part}': set it to 'lora', or drop them"
        )
    if part != "lora" and has_adapters(towers.clip):
        raise ModelError("the towers have adapters: load them again before selecting another part")
    total = sum(p.numel() for p in towers.clip.parameters())
    if part == "lora":
        inject(towers.clip, lora or LoraOptions())
    norms = _norm_names(towers.clip)
    counts: dict[str, int] = {}
    names = []
    for name, parameter in towers.clip.named_parameters():
        group = _group(name, norms)
        parameter.requires_grad_(_trains(part, name, group))
        if parameter.requires_grad:
            names.append(f"clip.{name}")
            counts[group] = counts.get(group, 0) + parameter.numel()
    if not names:
        raise ModelError(f"no parameter of '{towers.name}' belongs to the part '{part}': choose 'text'")
    towers.train(towers.training)
    return TrainableReport(part, tuple(names), counts, sum(counts.values()), total)


def _norm_names(clip: nn.Module) -> set[str]:
    return {
        f"{name}.{own}"
        for name, module in clip.named_modules()
        if isinstance(module, nn.LayerNorm) or type(module).__name__.endswith("RMSNorm")
        for own, _ in module.named_parameters(recurse=False)
    }


def _group(name: str, norms: set[str]) -> str:
    if name.startswith("visual."):
        return "image tower"
    if not is_text_name(name):
        return "scale"
    name_in_tower = name.removeprefix("text.")
    if ".lora_" in name:
        return "adapters"
    if name_in_tower.startswith("transformer.resblocks."):
        return "norms in text blocks" if name in norms else "text blocks"
    if TOKEN_EMBEDDINGS in name or "word_embeddings" in name:
        return "token embeddings"
    if name in norms:
        return "text norms"
    if name_in_tower.startswith(("text_projection", "proj.")):
        return "text projection"
    return "other text weights"


def _trains(part: str, name: str, group: str) -> bool:
    chosen: dict[str, Any] = {
        "blocks": {"text blocks", "norms in text blocks"},
        "projection_norms": {"norms in text blocks", "text norms", "text projection"},
        "lora": {"adapters"},
    }
    if part in chosen:
        return group in chosen[part]
    if group == "scale" or (group == "image tower" and part != "both"):
        return False
    return not (part == "text_no_embeddings" and group == "token embeddings")
