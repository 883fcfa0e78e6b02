"""What the painter learns from: shapes pictures of 32 x 32 pixels and their embeddings by the base model."""

from __future__ import annotations

import io
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from pcclip.data.progress import progress_bar
from pcclip.data.records import Picture
from pcclip.data.sources.base import Split
from pcclip.data.sources.shapes import Shapes
from pcclip.data.sources.shapes_captions import caption
from pcclip.data.sources.shapes_drawing import BACKGROUNDS, Scene, draw, layout
from pcclip.data.sources.shapes_drawing import SIDE as WORLD_SIDE
from pcclip.geometry import unit
from pcclip.model.towers import Towers

SIDE = 32
_RADII = (5.5, 11.5)  # as in the world
_BATCH = 256


@dataclass(frozen=True)
class Lessons:
    """Pictures and their embeddings by the base model.

    Attributes:
        pixels: (N, 32, 32, 3) uint8.
        images: (N, D) fp32 unit embeddings of the pictures.
        texts: (T, D) fp32 unit embeddings of all different captions.
        captions: (N, K) rows of `texts`: the captions of each picture.
    """

    pixels: Tensor
    images: Tensor
    texts: Tensor
    captions: Tensor

    def save(self, path: Path) -> None:
        """Writes one file."""
        from safetensors.torch import save_file

        partial = path.with_suffix(".partial")
        save_file({name: tensor.contiguous() for name, tensor in vars(self).items()}, partial)
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> Lessons:
        """Reads what `save` wrote."""
        from safetensors.torch import load_file

        return cls(**load_file(path))


@dataclass
class FewShapes(Shapes):
    """The shapes world, or a part of it that is painted sooner.

    Args:
        numbers: How many shapes a picture may have.
        backgrounds: What may be behind them.
    """

    numbers: tuple[int, ...] = (1, 2, 3, 4)
    backgrounds: tuple[str, ...] = BACKGROUNDS

    def picture(self, split: Split, key: str) -> Picture:
        """Draws one picture."""
        chance = random.Random(f"{self.seed}/{key}")
        colour, kind = chance.choice(self.seen() if split == "train" else self.classes()).split()
        number, radius = chance.choice(self.numbers), chance.uniform(*_RADII)
        turn, gap = chance.uniform(0, 2 * math.pi), chance.uniform(2.25, 2.5)
        centres = layout(number, radius, (chance.random(), chance.random()), turn, gap)
        background, brightness = chance.choice(self.backgrounds), chance.uniform(0.4, 1.0)
        rotation = chance.uniform(-0.26, 0.26)
        scene = Scene(kind, colour, background, radius, centres, brightness, rotation)
        attributes: dict[str, float | str] = {
            "kind": kind,
            "colour": colour,
            "background": background,
            "size": 2 * radius / WORLD_SIDE,
            "number": number,
            "brightness": brightness,
            "horizontal": sum(x for x, _ in centres) / number / WORLD_SIDE,
            "vertical": 1 - sum(y for _, y in centres) / number / WORLD_SIDE,
        }
        captions = tuple(caption(attributes, chance) for _ in range(self.captions))
        image = draw(scene, np.random.default_rng(chance.getrandbits(64)))
        return Picture(key, image, "jpg", captions[0], f"{colour} {kind}", attributes, captions)

    def seen(self) -> list[str]:
        """Combinations of colour and kind that the base model has seen."""
        held_out = {name for names in self.notes()["held_out_classes"].values() for name in names}
        return [name for name in self.classes() if name not in held_out]


def shrink(image: Image.Image) -> npt.NDArray[np.uint8]:
    """A picture of the world as the painter paints: (32, 32, 3)."""
    return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def draw_lessons(towers: Towers, world: FewShapes, progress: bool = True) -> Lessons:
    """Draws the pictures of the train split and embeds them and their captions.

    Args:
        towers: The base model.
        world: Whose pictures.
        progress: Show progress.
    """
    pixels, images, captions = [], [], []
    numbers: dict[str, int] = {}
    with progress_bar(progress) as bar:
        task = bar.add_task("painter: pictures", total=world.train)
        for batch in _batches(world, "train"):
            opened = [Image.open(io.BytesIO(picture.image)).convert("RGB") for picture in batch]
            pixels += [torch.from_numpy(shrink(image).copy()) for image in opened]
            with torch.inference_mode():
                images.append(
                    unit(towers.encode_images(torch.stack([towers.preprocess(image) for image in opened])))
                )
            for picture in batch:
                captions.append([numbers.setdefault(text, len(numbers)) for text in picture.captions])
            bar.update(task, advance=len(batch))
        texts = list(numbers)
        task = bar.add_task("painter: captions", total=len(texts))
        embedded = []
        for start in range(0, len(texts), _BATCH):
            embedded.append(embed_texts(towers, texts[start : start + _BATCH]))
            bar.update(task, advance=len(embedded[-1]))
    return Lessons(torch.stack(pixels), torch.cat(images), torch.cat(embedded), torch.tensor(captions))


def embed_texts(towers: Towers, texts: list[str]) -> Tensor:
    """(B, D) unit embeddings in the joint space, fp32, on the CPU wherever the towers are."""
    tokens = towers.text_encoder.trim_tokens(towers.tokenizer(texts))
    with torch.inference_mode():
        return unit(towers.encode_texts(tokens.to(next(towers.parameters()).device))).cpu()


def _batches(world: Shapes, split: Split) -> Iterator[list[Picture]]:
    batch: list[Picture] = []
    for picture in world.pictures(split):
        batch.append(picture)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
