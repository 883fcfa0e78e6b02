"""Folders that transformers saved (a `CLIPModel`) as open_clip models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.model import set_model_preprocess_cfg
from torch import nn
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

from pcclip.model.conversion.configs import open_clip_config
from pcclip.model.conversion.names import to_open_clip_names
from pcclip.model.conversion.preprocessing import preprocess_config
from pcclip.model.conversion.tokenizers import read_tokenizer
from pcclip.model.errors import ModelError


@dataclass(frozen=True)
class Incoming:
    """An open_clip model made from a transformers folder, with what belongs to it."""

    clip: nn.Module
    model_config: dict[str, Any]
    tokenizer: Any


def from_transformers(folder: Path, name: str) -> Incoming:
    """Read a folder with a `CLIPModel`: weights (safetensors, also in parts, or .bin), tokenizer.

    A folder without `preprocessor_config.json` gets CLIP's own preprocessing.

    Args:
        folder: with `config.json` and weights.
        name: of the model, for open_clip to look for its tokenizer by, where that is none of its own.

    Raises:
        ModelError: weights are missing, left over or of other sizes; or open_clip has no such model.
    """
    config = _read(CLIPConfig, folder, "config.json")
    model_config = open_clip_config(config)
    state = to_open_clip_names(_weights(folder))
    with torch.random.fork_rng(devices=[]):  # the start values that are drawn are overwritten
        clip = open_clip.CLIP(**model_config)
    clip.load_state_dict(state, strict=True)
    size = config.vision_config.image_size
    set_model_preprocess_cfg(clip, _preprocessing(folder, size))
    text = model_config["text_cfg"]
    tokenizer, own = read_tokenizer(folder, text["context_length"], text["vocab_size"])
    if not own:
        text["hf_tokenizer_name"] = name
    return Incoming(clip, model_config, tokenizer)


def _read(kind: Any, folder: Path, file: str) -> Any:
    try:
        return kind.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # the library raises many kinds for what it cannot read
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"{folder / file}: cannot be read ({reason}); save or download the model again"
        ) from error


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    try:
        model, loading = CLIPModel.from_pretrained(
            str(folder), dtype=torch.float32, output_loading_info=True, local_files_only=True
        )
    except Exception as error:  # the library raises many kinds for damaged or missing files
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"{folder}: cannot read the weights ({reason}); it needs model.safetensors, or all its parts and "
            "model.safetensors.index.json"
        ) from error
    wrong = {
        kind: sorted(map(str, loading[f"{kind}_keys"])) for kind in ("missing", "unexpected", "mismatched")
    }
    wrong["unexpected"] = [n for n in wrong["unexpected"] if not n.endswith("position_ids")]
    if any(wrong.values()):
        said = "; ".join(f"{len(names)} {kind} ({names[0]} ...)" for kind, names in wrong.items() if names)
        raise ModelError(f"{folder}: the weights are not those of config.json: {said}; save the model again")
    return model.state_dict()


def _preprocessing(folder: Path, size: int) -> dict[str, Any]:
    files = ("preprocessor_config.json", "processor_config.json")
    if any((folder / name).is_file() for name in files):
        processor = _read(CLIPImageProcessor, folder, "preprocessor_config.json")
    else:
        edge = {"height": size, "width": size}
        processor = CLIPImageProcessor(size={"shortest_edge": size}, crop_size=edge)
    return preprocess_config(processor, size)
