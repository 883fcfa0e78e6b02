"""Runs to export, pictures to embed."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pcclip.model.sources import CONFIG, WEIGHTS
from pcclip.model.towers import Towers, load_towers
from tests.export.exporting import VIT, make_run


@pytest.fixture(scope="session")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Towers:
    import open_clip
    from safetensors.torch import save_file

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("vit")
    preprocess = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.25], "resize_mode": "shortest"}
    (folder / CONFIG).write_text(json.dumps({"model_cfg": VIT, "preprocess_cfg": preprocess}))
    clip = open_clip.CLIP(**VIT)
    with torch.no_grad():
        for parameter in clip.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    save_file(clip.state_dict(), folder / WEIGHTS)
    return load_towers(f"local-dir:{folder}")


@pytest.fixture(scope="session")
def run(vit: Towers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("made"), vit)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two photos where there are any, else noise; both libraries crop them at the same place."""
    folder = tmp_path_factory.mktemp("pictures")
    data = os.environ.get("PCCLIP_TEST_DATA")
    photos = sorted(Path(data, "coco").rglob("*.jpg"))[:40] if data else []
    chosen = []
    for photo in photos:
        with Image.open(photo) as picture:
            if picture.size == (640, 480):
                chosen.append(picture.convert("RGB"))
    for place in range(2 - min(len(chosen), 2)):
        noise = np.random.default_rng(place).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        chosen.append(Image.fromarray(noise))
    files = [folder / "a.png", folder / "b.png"]
    for picture, file in zip(chosen, files, strict=False):
        picture.save(file)
    return files
