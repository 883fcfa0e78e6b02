"""Model folders in open_clip's layout, and what a checkpoint says of itself."""

from __future__ import annotations

import copy
import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from pcclip.model.towers import ModelError, Towers

SCHEMA = 1


def describe(towers: Towers) -> dict[str, Any]:
    """Architecture (activation included), source and fingerprints of the towers as they are now."""
    return {
        "schema": SCHEMA,
        "name": towers.name,
        "pretrained": towers.pretrained,
        "architecture": towers.architecture(),
        "image_fingerprint": towers.image_fingerprint(),
        "text_fingerprint": towers.text_fingerprint(),
    }


def check_compatible(meta: dict[str, Any], towers: Towers) -> None:
    """Refuse weights of another architecture, or trained from other base weights.

    Args:
        meta: as from `describe`, of the checkpoint.
        towers: the base model as it was loaded.

    Raises:
        ModelError: naming both sides.
    """
    ours = describe(towers)
    if meta["architecture"] != ours["architecture"]:
        differing = _differing(meta["architecture"], ours["architecture"])
        raise ModelError(
            f"the checkpoint is of '{meta['name']}', the model is '{ours['name']}': another architecture ({differing})"
        )
    if (meta["image_fingerprint"], meta["text_fingerprint"]) != (
        ours["image_fingerprint"],
        ours["text_fingerprint"],
    ):
        raise ModelError(
            f"the checkpoint was trained from other base weights ('{meta['name']}', pretrained "
            f"{meta['pretrained']}) than those of '{ours['name']}', pretrained {ours['pretrained']}"
        )


def _differing(theirs: dict[str, Any], ours: dict[str, Any], prefix: str = "") -> str:
    found = []
    for key in sorted(theirs.keys() | ours.keys()):
        a, b = theirs.get(key), ours.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            if inner := _differing(a, b, f"{prefix}{key}."):
                found.append(inner)
        elif a != b:
            found.append(f"{prefix}{key}: {a} and {b}")
    return "; ".join(found)


def merged_state(towers: Towers) -> dict[str, Tensor]:
    """State of the open_clip model with any low-rank adapters merged; the towers stay as they are."""
    state = {n: t.detach() for n, t in towers.clip.state_dict().items()}
    if not any(".lora_" in n for n in state):
        return state
    clip = copy.deepcopy(towers.clip)
    for parent in list(clip.modules()):
        for name, child in list(parent.named_children()):
            if hasattr(child, "lora_A") and hasattr(child, "get_base_layer"):
                child.merge(safe_merge=True)
                setattr(parent, name, child.get_base_layer())
    return {n: t.detach() for n, t in clip.state_dict().items()}


def save_folder(
    towers: Towers, folder: Path, meta: dict[str, Any], logit_scale: float | None = None
) -> None:
    """Write a model folder that plain open_clip loads by `local-dir:FOLDER`.

    Args:
        towers: adapters are merged in the copy that is written.
        folder: replaced as a whole, atomically.
        meta: what trained, from which base; kept in `pcclip.json` with the new fingerprints.
        logit_scale: factor on the similarities to store as the model's own.
    """
    partial = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    state = {n: t.cpu().contiguous().clone() for n, t in merged_state(towers).items()}
    if logit_scale is not None:
        state["logit_scale"] = torch.full_like(state["logit_scale"], math.log(logit_scale))
    save_file(state, partial / "open_clip_model.safetensors", metadata={"format": "pt"})
    config = {"model_cfg": towers.architecture(), "preprocess_cfg": dict(towers.clip.visual.preprocess_cfg)}
    (partial / "open_clip_config.json").write_text(json.dumps(config, indent=2, default=list))
    record = {"base": meta, "image_fingerprint": towers.image_fingerprint()}
    (partial / "pcclip.json").write_text(json.dumps(record, indent=2, default=list))
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)
