"""Checkpoints out and in: folders that plain open_clip loads, and deltas that hold only what trained."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from pcclip.checksums import seal
from pcclip.errors import writing
from pcclip.folders import whole_folder
from pcclip.model.errors import ModelError
from pcclip.model.lora import merged_state
from pcclip.model.saved import META, read_meta
from pcclip.model.sources import CONFIG, WEIGHTS, differences
from pcclip.model.towers import Towers

__all__ = [
    "META",
    "check_compatible",
    "describe",
    "load_trainable_state",
    "read_meta",
    "save_folder",
    "trainable_state",
]


def describe(towers: Towers) -> dict[str, Any]:
    """Architecture and base weights, for checkpoints to carry."""
    return {
        "schema": 1,
        "architecture": towers.architecture(),
        "base": None if towers.base is None else asdict(towers.base),
        "tokenizer_fingerprint": towers.tokenizer_fingerprint(),
        "versions": {p: version(p) for p in ("torch", "open_clip_torch")},
    }


def save_folder(
    towers: Towers,
    folder: Path | str,
    meta: dict[str, Any] | None = None,
    *,
    logit_scale: float | None = None,
) -> Path:
    """Write the towers so that `open_clip.create_model_and_transforms("local-dir:FOLDER")` loads them.

    Adapters are merged into the weights written; the towers stay as they are. The folder appears whole or not
    at all.

    Args:
        towers: what to save.
        folder: must not exist yet.
        meta: what `pcclip.json` says besides `describe` (base weights, trained part, ...); wins over it.
        logit_scale: factor on similarities (1 / temperature) to store for open_clip; None keeps its own.

    Raises:
        ModelError: the folder exists, or the logit scale is not positive.
    """
    folder = Path(folder)
    if folder.exists():
        raise ModelError(
            f"{folder}: exists already, and nothing is overwritten; move it away or name another"
        )
    with whole_folder(folder) as partial:
        write_files(towers, partial, meta, logit_scale=logit_scale)
    return folder


def write_files(
    towers: Towers, folder: Path, meta: dict[str, Any] | None = None, *, logit_scale: float | None = None
) -> None:
    """Write the files of `save_folder` into a folder that exists, and is empty.

    Raises:
        ModelError: the logit scale is not positive.
    """
    if logit_scale is not None and not logit_scale > 0:
        raise ModelError(f"logit_scale is a factor on similarities and must be above 0, got {logit_scale}")
    state = {n: t.detach().cpu().contiguous().clone() for n, t in merged_state(towers.clip).items()}
    if logit_scale is not None:
        state["logit_scale"] = torch.full_like(state["logit_scale"], math.log(logit_scale))
    _save_weights(state, folder / WEIGHTS)
    config = {"model_cfg": towers.model_config, "preprocess_cfg": towers.preprocess_config()}
    _write_json(folder / CONFIG, config)
    fingerprints = {"image": towers.image_fingerprint(), "text": towers.text_fingerprint()}
    _write_json(folder / META, seal({**describe(towers), "fingerprints": fingerprints, **(meta or {})}))
    if hasattr(towers.tokenizer, "save_pretrained"):  # transformers' tokenizers are read from the folder
        with writing(folder):
            towers.tokenizer.save_pretrained(str(folder))


def check_compatible(meta: dict[str, Any], towers: Towers) -> None:
    """Refuse a checkpoint of another architecture, or one that continues from other base weights.

    Args:
        meta: from `describe` or `read_meta`.
        towers: what it should be loaded into.

    Raises:
        ModelError: names both, and where they differ.
    """
    ours, theirs = towers.architecture(), meta["architecture"]
    base = meta.get("base") or {}
    if differing := differences(theirs, ours):
        raise ModelError(
            f"the checkpoint is of '{base.get('name', 'an unnamed model')}' ({theirs['class']}, "
            f"{theirs['activation']}) but the model is '{towers.name}' ({ours['class']}, "
            f"{ours['activation']}); they differ in {'; '.join(differing)} (checkpoint, then model). "
            "Set model.name to the checkpoint's"
        )
    if towers.base is None or not base or base["random_init"] or towers.base.random_init:
        return  # a random start is no base that one could load again
    for tower in ("image", "text"):
        key = f"{tower}_fingerprint"
        if base[key] != getattr(towers.base, key):
            raise ModelError(
                f"the checkpoint continues from '{_weights_name(base)}' but the model was loaded from "
                f"'{_weights_name(asdict(towers.base))}': their {tower} weights differ. Load the base "
                "weights that the checkpoint names"
            )


def trainable_state(towers: Towers) -> dict[str, Tensor]:
    """Copies of the weights that train, by name relative to the towers; an image tower's statistics too."""
    state = {n: p.detach().clone() for n, p in towers.named_parameters() if p.requires_grad}
    if not towers.image_frozen:
        state |= {f"clip.visual.{n}": b.detach().clone() for n, b in towers.visual.named_buffers()}
    return state


@torch.no_grad()
def load_trainable_state(towers: Towers, state: dict[str, Tensor]) -> None:
    """Put back what `trainable_state` took, into towers with the same part selected.

    Raises:
        ModelError: names or shapes are not those of the part that trains.
    """
    expected = {n: tuple(t.shape) for n, t in trainable_state(towers).items()}
    found = {n: tuple(t.shape) for n, t in state.items()}
    if expected != found:
        wrong = sorted(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
        raise ModelError(
            f"the saved weights are not of the part that trains: {len(wrong)} names or shapes differ, the "
            f"first '{wrong[0]}' (saved: {found.get(wrong[0])}, model: {expected.get(wrong[0])}); select the "
            "same part"
        )
    live = dict(towers.named_parameters()) | dict(towers.named_buffers())
    for name, tensor in state.items():
        live[name].copy_(tensor)


def _weights_name(base: dict[str, Any]) -> str:
    return base["name"] if base["pretrained"] is None else f"{base['name']}/{base['pretrained']}"


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def _save_weights(state: dict[str, Tensor], path: Path) -> None:
    with writing(path):
        save_file(state, path, metadata={"format": "pt"})
