"""A set from a source through the bench: pictures to a score."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from set_making import colour, save
from torch import Tensor
from torch.nn.functional import normalize

from pcclip.evaluation.bench import Bench, Evaluation, Model
from pcclip.evaluation.encoders import CachedEncoders
from pcclip.evaluation.features import FeatureCache
from pcclip.evaluation.sources.folders import Folders
from pcclip.evaluation.zero_shot import ZeroShot

SHADES = {"navy": 1, "green": 16, "red": 512}


class ByColour:
    """Knows pictures and classes by their colour, but takes navy for red."""

    def encode_images(self, pixels: Tensor) -> Tensor:
        return normalize(pixels.mean(dim=(2, 3)), dim=1)

    def encode_texts(self, texts: list[str]) -> Tensor:
        swapped = {"navy": "red", "red": "navy"}
        shades = [next(swapped.get(name, name) for name in SHADES if name in text) for text in texts]
        return normalize(torch.tensor([colour(SHADES[name]) for name in shades], dtype=torch.float32), dim=1)


def preprocess(picture: Image.Image) -> Tensor:
    return torch.tensor(picture.getpixel((0, 0)), dtype=torch.float32).view(3, 1, 1).expand(3, 2, 2)


def test_a_set_without_attributes_is_classified(tmp_path: Path):
    for name, shade in SHADES.items():
        for copy in range(2 if name == "green" else 1):
            save(tmp_path / name / f"{copy}.png", shade)
    model = Model(CachedEncoders(ByColour()), preprocess, "by colour")
    evaluation = Evaluation(Folders(str(tmp_path), name="shades"), [ZeroShot()], split="all")
    found = Bench(FeatureCache(progress=False)).measure(evaluation, "all", model).values()
    assert found["zero_shot/shades/top1"] == 0.5
    assert abs(found["zero_shot/shades/mean_per_class"] - 1 / 3) < 1e-6
