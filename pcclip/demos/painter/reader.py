"""Reads the attributes off pictures of the shapes world: a small network trained on pictures whose are known.

    python -m pcclip.demos.painter.reader --out runs/shapes-reader

OUT/reader.safetensors is the network; OUT/reader.json says how well it reads pictures of another seed.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from pcclip.data.progress import progress_bar
from pcclip.data.sources.shapes import Shapes
from pcclip.data.sources.shapes_drawing import BACKGROUNDS, COLOURS, KINDS
from pcclip.demos.painter.pictures import SIDE, shrink
from pcclip.errors import PcclipError
from pcclip.precision import machine_precision

WEIGHTS, ABOUT = "reader.safetensors", "reader.json"
CHOICES: dict[str, tuple[str, ...]] = {
    "kind": KINDS,
    "colour": tuple(COLOURS),
    "background": BACKGROUNDS,
    "number": ("1", "2", "3", "4"),
}
DEGREES = ("size", "brightness", "horizontal", "vertical")
_TRAINING_SEED, _TEST_SEED = 4000, 5000
_BATCH = 128


@dataclass(frozen=True)
class Reading:
    """What a picture shows.

    Attributes:
        choices: Value by attribute: kind, colour, background.
        degrees: Value by attribute, as the world has them: size, number, brightness, horizontal, vertical.
    """

    choices: dict[str, str]
    degrees: dict[str, float]


class Reader(nn.Module):
    """A convolutional network from (B, 3, 32, 32) pixels in -1 to 1 to scores and degrees."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 32, 64, 128, 128)
        self.body = nn.Sequential(
            *(
                layer
                for at, (before, after) in enumerate(itertools.pairwise(widths))
                for layer in (
                    nn.Conv2d(before, after, 3, stride=1 if at == 0 else 2, padding=1, bias=False),
                    nn.BatchNorm2d(after),
                    nn.ReLU(),
                    nn.Conv2d(after, after, 3, padding=1, bias=False),
                    nn.BatchNorm2d(after),
                    nn.ReLU(),
                )[: 3 if at == 0 else 6]
            ),
            nn.Flatten(),
            nn.Linear(widths[-1] * (SIDE // 8) ** 2, 256),
            nn.ReLU(),
        )
        self.heads = nn.ModuleDict({name: nn.Linear(256, len(values)) for name, values in CHOICES.items()})
        self.degrees = nn.Linear(256, len(DEGREES))

    def forward(self, pixels: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Scores of each choice, and (B, 4) degrees."""
        seen = self.body(pixels)
        return {name: head(seen) for name, head in self.heads.items()}, self.degrees(seen)

    @torch.inference_mode()
    def read(self, pictures: Sequence[Image.Image]) -> list[Reading]:
        """Reads pictures of any size."""
        found: list[Reading] = []
        for start in range(0, len(pictures), _BATCH):
            arrays = [shrink_if_larger(picture) for picture in pictures[start : start + _BATCH]]
            scores, degrees = self(to_pixels(torch.from_numpy(np.stack(arrays))))
            chosen = {name: rows.argmax(1).tolist() for name, rows in scores.items()}
            for at, row in enumerate(degrees.tolist()):
                said = {name: CHOICES[name][numbers[at]] for name, numbers in chosen.items()}
                number = float(said.pop("number"))
                found.append(Reading(said, dict(zip(DEGREES, row, strict=True)) | {"number": number}))
        return found

    @classmethod
    def load(cls, folder: Path) -> Reader:
        """Loads a trained one.

        Raises:
            PcclipError: There is none.
        """
        from safetensors.torch import load_file

        if not (folder / WEIGHTS).exists():
            raise PcclipError(
                f"{folder}: holds no reader. Make it: python -m pcclip.demos.painter.reader --out {folder}"
            )
        reader = cls()
        reader.load_state_dict(load_file(folder / WEIGHTS))
        return reader.eval()


def shrink_if_larger(picture: Image.Image) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(32, 32, 3); what was painted at this size stays as it is."""
    return np.array(picture.convert("RGB")) if picture.size == (SIDE, SIDE) else shrink(picture)


def to_pixels(pictures: Tensor) -> Tensor:
    """(B, 32, 32, 3) uint8 to (B, 3, 32, 32) in -1 to 1."""
    return pictures.permute(0, 3, 1, 2).float().div(127.5).sub(1)


def train(
    out: str = "runs/shapes-reader",
    seed: int = 0,
    pictures: int = 20_000,
    steps: int = 1200,
    test_pictures: int = 1500,
    progress: bool = True,
) -> None:
    """Trains the reader; stopped, it begins anew (it takes minutes), and a finished one is left alone.

    Args:
        out: Folder to make.
        seed: Of weights and pictures.
        pictures: How many it learns from.
        steps: Optimiser steps.
        test_pictures: Of another seed, that it is measured on.
        progress: Show progress.
    """
    folder = Path(out)
    if (folder / ABOUT).exists():
        print(f"{out}: already made; delete the folder to make it again")
        return
    torch.manual_seed(seed)
    reader = Reader()
    _fit(reader, *_drawn(_TRAINING_SEED + seed, pictures, progress), steps, progress)
    reader.eval()
    accuracy = measure(reader, _TEST_SEED + seed, test_pictures)
    _save(folder, reader, {"seed": seed, "pictures": pictures, "steps": steps, "accuracy": accuracy})
    print(f"{out}: " + ", ".join(f"{name} {value:.3f}" for name, value in accuracy.items()))


def measure(reader: Reader, seed: int, pictures: int) -> dict[str, float]:
    """Share of choices and numbers that are right, correlation of degrees, on the world's test pictures."""
    known = list(Shapes(seed, test=pictures).pictures("test"))
    read = reader.read([Image.open(io.BytesIO(picture.image)) for picture in known])
    found: dict[str, float] = {}
    for name in CHOICES:
        right = [
            (r.choices[name] if name in r.choices else r.degrees[name]) == picture.attributes[name]
            for r, picture in zip(read, known, strict=True)
        ]
        found[name] = float(np.mean(right))
    for name in DEGREES:
        values = [r.degrees[name] for r in read], [float(picture.attributes[name]) for picture in known]
        found[name] = float(np.corrcoef(*values)[0, 1])
    return found


def _fit(
    reader: Reader, pixels: Tensor, choices: dict[str, Tensor], degrees: Tensor, steps: int, progress: bool
) -> None:
    reader.train()
    reader.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(reader.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.2)
    scale = degrees.std(0)
    with progress_bar(progress) as bar:
        task = bar.add_task("reader: steps", total=steps)
        order = torch.cat([torch.randperm(len(pixels)) for _ in range(-(-steps * _BATCH // len(pixels)))])
        for step in range(steps):
            rows = order[step * _BATCH : (step + 1) * _BATCH]
            x = to_pixels(pixels[rows])
            # Painted pictures have less grain, or another: what is read must not hang on it.
            x = x + torch.rand(len(x), 1, 1, 1) * 0.06 * torch.randn_like(x)
            with torch.autocast("cpu", torch.bfloat16, enabled=machine_precision() == "bf16-mixed"):
                scores, said = reader(x.contiguous(memory_format=torch.channels_last))
            loss = F.smooth_l1_loss(said.float() / scale, degrees[rows] / scale)
            for name, values in choices.items():
                loss = loss + F.cross_entropy(scores[name].float(), values[rows])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            bar.update(task, advance=1, description=f"reader: loss {loss.item():.2f}, steps")


def _drawn(seed: int, pictures: int, progress: bool) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """Pixels, numbers of the choices, degrees. Of the test split, which has all combinations."""
    pixels: list[Tensor] = []
    choices: dict[str, list[int]] = {name: [] for name in CHOICES}
    degrees: list[list[float]] = []
    with progress_bar(progress) as bar:
        task = bar.add_task("reader: pictures", total=pictures)
        for picture in Shapes(seed, test=pictures).pictures("test"):
            pixels.append(torch.from_numpy(shrink(Image.open(io.BytesIO(picture.image))).copy()))
            for name, values in CHOICES.items():
                choices[name].append(values.index(str(picture.attributes[name])))
            degrees.append([float(picture.attributes[name]) for name in DEGREES])
            bar.update(task, advance=1)
    numbers = {name: torch.tensor(values) for name, values in choices.items()}
    return torch.stack(pixels), numbers, torch.tensor(degrees)


def _save(out: Path, reader: Reader, about: dict[str, Any]) -> None:
    from safetensors.torch import save_file

    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    state = {name: tensor.contiguous() for name, tensor in reader.state_dict().items()}
    save_file(state, partial / WEIGHTS)
    (partial / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, out)


if __name__ == "__main__":
    from pcclip.demos import command

    command(train)
