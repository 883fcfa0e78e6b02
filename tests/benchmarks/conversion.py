"""Embeddings by open_clip and by transformers from the same weights: the largest difference.

python -m tests.benchmarks.conversion FOLDER_OF_JPEG_FILES
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from jsonargparse import auto_cli
from PIL import Image
from transformers import AutoImageProcessor

from pcclip.cli import main
from pcclip.model.checkpoint import save_folder
from pcclip.model.conversion import to_transformers
from pcclip.model.towers import load_towers

TEXTS = ["a cat", "the first picture shows a larger, redder circle than the second one", "", "snow " * 100]


def run(pictures: Path, models: list[str] | None = None, count: int = 12) -> None:
    """Prints the differences, random weights and real pictures.

    Args:
        pictures: Folder of JPEG files.
        models: Architectures.
        count: Of the pictures.
    """
    opened = [Image.open(file).convert("RGB") for file in sorted(pictures.rglob("*.jpg"))[:count]]
    for name in models or ["ViT-B-32", "ViT-L-14-quickgelu"]:
        torch.manual_seed(0)
        towers = load_towers(name, random_init=True)
        pixels, tokens = torch.stack([towers.preprocess(one) for one in opened]), towers.tokenizer(TEXTS)
        theirs = to_transformers(towers)
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            save_folder(towers, Path(folder) / "model")
            if main(["export", f"{folder}/model", "--to", "transformers", "--out", f"{folder}/out"]) != 0:
                raise SystemExit(1)
            processor = AutoImageProcessor.from_pretrained(f"{folder}/out", backend="pil")
            images = towers.encode_images(pixels)
            own = theirs.get_image_features(processor(opened, return_tensors="pt")["pixel_values"])
            alike = torch.cosine_similarity(images, own.pooler_output)
            image = (images - theirs.get_image_features(pixels).pooler_output).abs().max()
            text = (towers.encode_texts(tokens) - theirs.get_text_features(tokens).pooler_output).abs().max()
        cropped = int((alike < 0.9999).sum())
        print(
            f"{name}: same pixels and tokens, images {image:.1e}, texts {text:.1e}; from the same files "
            f"{cropped} of {len(opened)} pictures differ (cosine {alike.min():.4f} and up)"
        )


if __name__ == "__main__":
    auto_cli(run, as_positional=True)
