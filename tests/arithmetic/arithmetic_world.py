"""A run-like folder with tiny towers, a tiny SDXL that they fit, a tiny CLIP that scores, in real formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

from tests.arithmetic.tiny_sdxl import save_pipeline, save_towers, tokenizer

CASES = {
    "schema": 1,
    "name": "few",
    "source": "made for a test",
    "prompt": "a photo of {a}",
    "attributes": {
        "arctic": {
            "change": "snowier",
            "opposite": "with less snow",
            "target": "a photo of {a} in the snow",
            "against": "a photo of {a} in summer",
            "groups": ["place"],
            "subjects": ["leopard", "wolf", "house"],
        },
        "red": {
            "change": "redder",
            "opposite": "greener",
            "target": "a photo of a red {}",
            "against": None,
            "groups": ["colour"],
            "subjects": ["apple", "wolf"],
        },
    },
}


def save_scorer(folder: Path, seed: int = 20) -> Path:
    """A CLIP with random weights as transformers saves one."""
    common = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 49407}
    config = CLIPConfig(
        text_config={**common, **ends, "vocab_size": 49408, "max_position_embeddings": 77},
        vision_config={**common, "image_size": 32, "patch_size": 8},
        projection_dim=24,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        CLIPModel(config).save_pretrained(folder)
    save_processor(folder)
    return folder


def save_processor(folder: Path) -> None:
    """What turns texts and pictures of 32 x 32 into tensors."""
    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(images, tokenizer("<|endoftext|>")).save_pretrained(folder)


def make_world(place: Path) -> Path:
    """`runs/small/seed0` (base and tuned towers), `pipeline`, `scorer`, `cases.yaml`, `arithmetic.yaml`."""
    base, tuned = save_towers(place / "towers")
    run = place / "runs" / "small" / "seed0"
    run.mkdir(parents=True)
    tuned.rename(run / "model")
    summary = {
        "schema": 1,
        "experiment": "small",
        "seed": 0,
        "base": {},
        "tuned": {},
        "base_model": {"base": {"name": f"local-dir:{base}", "pretrained": None, "random_init": False}},
    }
    (run / "summary.json").write_text(json.dumps(summary))
    save_pipeline(place / "pipeline", base)
    save_scorer(place / "scorer")
    (place / "cases.yaml").write_text(yaml.safe_dump(CASES))
    (place / "arithmetic.yaml").write_text(yaml.safe_dump(settings(place)))
    return place


def settings(place: Path, **pictures: Any) -> dict[str, Any]:
    """A configuration of `pcclip arithmetic`."""
    return {
        "suite": "small-pictures",
        "device": "cpu",
        "pictures": {
            "generator": {
                "class_path": "pcclip.arithmetic.sdxl.StableDiffusionXL",
                "init_args": {"model": str(place / "pipeline"), "steps": 2, "device": "cpu", "guidance": 3.0},
            },
            "scorers": [
                {
                    "class_path": "pcclip.arithmetic.clip_scorer.ClipScorer",
                    "init_args": {"model": str(place / "scorer"), "device": "cpu"},
                }
            ],
            "arithmetic": {"relative_to": "opposite", "kind": "direction"},
            "cases": str(place / "cases.yaml"),
            "weights": [0.5, 1.0],
            "seeds": [3, 4],
            "batch_size": 3,
            **pictures,
        },
    }


def words(place: Path, run: Path, *more: str) -> list[str]:
    """A command line."""
    return ["arithmetic", f"--config={place / 'arithmetic.yaml'}", f"--runs=[{run}]", *more]
