"""A finished run of a small vision transformer, written by hand in the real layout."""

import json
from pathlib import Path
from typing import Any

import torch
import yaml

from pcclip.data.sets import ShardSet
from pcclip.model.checkpoint import save_folder
from pcclip.model.towers import Towers, load_towers

VIT: dict[str, Any] = {
    "embed_dim": 48,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}
TWO = "difference/shapes-mean"
WORDING = "difference/shapes-wording-{}-unseen/two_alternative"


def estimate(value: float, spread: float = 0.02, n: int = 100) -> dict[str, float]:
    return {"value": value, "low": value - spread, "high": value + spread, "n": n}


def make_run(root: Path, towers: Towers, **summary: Any) -> Path:
    """A run folder: base weights beside it, tuned and interpolated weights in it."""
    base = save_folder(towers, root / "base")
    run = root / "runs" / "small" / "seed0"
    run.mkdir(parents=True)
    towers = load_towers(f"local-dir:{base}")
    meta = {"base": vars(towers.base), "trained": "text"}
    for folder, share in (("model", 1.0), ("interpolated", 0.5)):
        torch.manual_seed(7)
        with torch.no_grad():
            for name, parameter in load_towers(f"local-dir:{base}").named_parameters():
                if "visual" not in name:
                    move = torch.randn_like(parameter) * 0.02 * share
                    dict(towers.named_parameters())[name].copy_(parameter + move)
        alpha = {} if share == 1.0 else {"alpha": share}
        save_folder(towers, run / folder, {**meta, **alpha}, logit_scale=25.0)
    (run / "summary.json").write_text(json.dumps({**_summary(meta), **summary}))
    (run / "config.yaml").write_text(yaml.safe_dump(_config(root), sort_keys=False))
    triples = root / "data" / "triples" / "train"
    triples.mkdir(parents=True)
    card = {"writer": "rules", "split": "train", "pictures": 600, "rejected": {"nothing differs": 5}}
    (triples / "set.json").write_bytes(ShardSet("triples", "keys", 61234, (), card).to_json())
    pictures = root / "data" / "pictures"
    pictures.mkdir()
    card = {"source": "shapes", "licence": "made up (CC0)"}
    (pictures / "set.json").write_bytes(ShardSet("pictures", None, 8000, (), card).to_json())
    return run


def _summary(meta: dict[str, Any]) -> dict[str, Any]:
    base = {
        "zero_shot/shapes/top1": estimate(0.6),
        f"{TWO}/two_alternative": estimate(0.5),
        f"{TWO}/text_difference": estimate(0.93),
        f"{TWO}/absolute": estimate(0.7),
        WORDING.format("plain-1"): estimate(0.5),
        WORDING.format("odd-2"): estimate(0.5),
    }
    tuned = {
        **base,
        "zero_shot/shapes/top1": estimate(0.55),
        f"{TWO}/two_alternative": estimate(0.9),
        WORDING.format("odd-2"): estimate(0.031),
    }
    delta = {name: estimate(tuned[name]["value"] - base[name]["value"]) for name in base}
    return {
        "schema": 1,
        "experiment": "small",
        "version": "seed0",
        "seed": 0,
        "steps": 1500,
        "precision": "bf16-mixed",
        "trainable": {"part": "text", "parameters": 123456},
        "base_model": {"base": meta["base"]},
        "alpha": 0.5,
        "base": base,
        "tuned": tuned,
        "interpolated": base,
        "delta": delta,
        "versions": {"pcclip": "0.1.0", "torch": "2.14"},
    }


def _config(root: Path) -> dict[str, Any]:
    return {
        "model": {
            "class_path": "pcclip.training.DifferenceTraining",
            "init_args": {
                "objective": {
                    "class_path": "pcclip.objective.DifferenceInfoNCE",
                    "init_args": {"temperature": 0.07, "reversed_negative": True},
                },
                "caption_objective": None,
                "optimizer": {"class_path": "pcclip.optim.MuonAdamW", "init_args": {"lr": 0.002}},
                "lr_scheduler": None,
            },
        },
        "data": {
            "class_path": "pcclip.data.datamodule.DifferenceData",
            "init_args": {
                "triples": str(root / "data" / "triples" / "train"),
                "captions": str(root / "nowhere" / "captions"),
                "pictures": [str(root / "data" / "pictures")],
                "batch_size": 256,
                "caption_batch_size": 64,
            },
        },
    }
