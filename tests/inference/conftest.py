"""A folder as a user has it: pictures, a finished run with its base model, kept embeddings."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pcclip.model.checkpoint import describe, save_folder
from pcclip.model.towers import load_towers

RUN = "runs/pets-differences/seed0"


def save_picture(file: Path, seed: int, size: tuple[int, int] = (40, 32)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    blocks = np.random.default_rng(seed).integers(0, 255, (4, 5, 3), dtype=np.uint8)
    Image.fromarray(blocks).resize(size, Image.Resampling.BICUBIC).save(file)


def save_run(folder: Path, base: Path, seed: int) -> None:
    """A run that has finetuned `base`: its text projection moved a little, the image tower as it was."""
    towers = load_towers(f"local-dir:{base}")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        projection = towers.clip.text_projection
        projection.add_(0.1 * torch.randn(projection.shape, generator=generator))
    meta: dict[str, Any] = describe(towers)
    # As fits record it: the path as it was given, relative to where `pcclip fit` was called.
    meta["base"]["name"] = f"local-dir:{base.relative_to(folder.parents[2])}"
    save_folder(towers, folder / "model", meta)
    (folder / "config.yaml").write_text("experiment: pets-differences\n")
    summary = {
        "schema": 1,
        "experiment": folder.parent.name,
        "seed": 0,
        "base_model": meta,
        "base": {},
        "tuned": {},
    }
    (folder / "summary.json").write_text(json.dumps(summary))


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pets")
    torch.manual_seed(0)
    save_folder(load_towers("pcclip-tiny", random_init=True), root / "base")
    save_run(root / RUN, root / "base", seed=1)
    for number, letter in enumerate("abcdefgh"):
        save_picture(root / "photos" / f"{letter}.jpg", number)
    for number in range(8, 12):
        save_picture(root / "photos" / "more" / f"{number}.png", number)
    return root


@pytest.fixture
def pets(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a test: the run and the models are shared, photos and cache are its own."""
    for name in ("runs", "base"):
        (tmp_path / name).symlink_to(made / name)
    for file in (made / "photos").rglob("*.*"):
        copy = tmp_path / file.relative_to(made)
        copy.parent.mkdir(parents=True, exist_ok=True)
        os.link(file, copy)
    monkeypatch.chdir(tmp_path)
    return tmp_path
