"""Checkpoint files: read without running code in them, and refused where they are of another architecture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from pcclip.model.errors import ModelError
from pcclip.model.sources import Source

Shapes = dict[str, tuple[int, ...]]


def resized_weights(found: Shapes, clip: nn.Module) -> str:
    """What open_clip stretched without a word to fit the model (position embeddings); empty if nothing."""
    wanted = {n: tuple(t.shape) for n, t in clip.state_dict().items()}
    # The scalars of the loss are stored as numbers or as vectors of one.
    names = sorted(n for n in found.keys() & wanted.keys() if not n.startswith("logit_"))
    return "; ".join(f"{n} is {found[n]}, not {wanted[n]}" for n in names if found[n] != wanted[n])


def mismatch(source: Source, found: Shapes, error: Exception) -> str:
    """Message for weights that do not fit: what the file holds, what was asked for, and what would fit."""
    fits = ", ".join(architectures_of(found)) or "none that open_clip lists by that name"
    return (
        f"{source.weights} holds weights of another architecture than '{source.name}'. The file: "
        f"{describe_shapes(found)}. Asked for: {describe_config(source.model_config)}. "
        f"Architectures that fit the file: {fits}. First trouble: {_first_trouble(error)}"
    )


def weight_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a checkpoint's tensors, without loading them.

    Raises:
        ModelError: not a plain file of tensors (a pickle with code in it is refused).
    """
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        state = torch.load(path, map_location="meta", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError) as error:
        raise ModelError(f"{path}: damaged, or not a checkpoint ({_first_line(error)})") from error
    except Exception as error:  # pickle.UnpicklingError and its kin
        raise ModelError(
            f"{path}: holds pickled code, which is never run ({_first_line(error)}); save its weights as "
            "safetensors"
        ) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else {}
    shapes = {str(n).removeprefix("module."): tuple(t.shape) for n, t in state.items() if hasattr(t, "shape")}
    if not shapes:
        raise ModelError(f"{path}: no weights in it; an open_clip checkpoint is a dict of tensors by name")
    return shapes


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def describe_shapes(shapes: Shapes) -> str:
    """One line on the towers behind a state dict."""
    return _line(tower_facts(shapes)) or f"{len(shapes)} tensors, none of a CLIP"


def describe_config(config: dict[str, Any]) -> str:
    """One line on the towers behind a model config."""
    return _line(config_facts(config))


def tower_facts(shapes: Shapes) -> dict[str, int]:
    """Sizes of both towers that can be read off a state dict in open_clip's format."""
    text = {n.removeprefix("text."): s for n, s in shapes.items() if not n.startswith("visual.")}
    projection = text.get("text_projection") or text.get("text_projection.weight", (0,))[::-1]
    facts = {
        "text layers": _count(text, "transformer.resblocks."),
        "text width": text.get("token_embedding.weight", (0,))[-1],
        "context": text.get("positional_embedding", (0,))[0],
        "embedding": projection[-1],
        "image layers": _count(shapes, "visual.transformer.resblocks."),
        "image width": shapes.get("visual.class_embedding", (0,))[0],
    }
    return {key: value for key, value in facts.items() if value}


def config_facts(config: dict[str, Any]) -> dict[str, int]:
    """The same as `tower_facts`, of an open_clip model config."""
    text, vision = config["text_cfg"], config["vision_cfg"]
    vit = "timm_model_name" not in vision and isinstance(vision.get("layers", 12), int)
    facts = {
        "text layers": text.get("layers", 12) if "hf_model_name" not in text else 0,
        "text width": text.get("width", 512) if "hf_model_name" not in text else 0,
        "context": text.get("context_length", 77),
        "embedding": config["embed_dim"],
        "image layers": vision.get("layers", 12) if vit else 0,
        "image width": vision.get("width", 768) if vit else 0,
    }
    return {key: value for key, value in facts.items() if value}


def architectures_of(shapes: Shapes, at_most: int = 5) -> list[str]:
    """Architectures known to open_clip whose towers have the sizes found in a state dict."""
    facts = tower_facts(shapes)
    names = open_clip.list_models() if facts else []
    return [n for n in names if config_facts(open_clip.get_model_config(n)) == facts][:at_most]


def _line(facts: dict[str, int]) -> str:
    return ", ".join(f"{key} {value}" for key, value in facts.items())


def _count(shapes: Shapes, prefix: str) -> int:
    return len({n.removeprefix(prefix).split(".")[0] for n in shapes if n.startswith(prefix)})


def _first_trouble(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[1] if len(lines) > 1 else str(error))[:200]
