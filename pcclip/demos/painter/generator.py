"""The trained painter as a generator of arithmetic pictures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from pcclip.arithmetic.generators import Conditioning, Generator, GeneratorSource
from pcclip.demos.painter.network import FOLD, Condition, predict, unfold
from pcclip.demos.painter.pictures import SIDE, embed_texts
from pcclip.errors import PcclipError
from pcclip.model.fingerprints import weights_digest
from pcclip.model.towers import Towers, load_towers
from pcclip.untrusted import parse_json

ABOUT, UNET, SCHEDULER, CONDITION = "painter.json", "unet", "scheduler", "condition.safetensors"
_BATCH = 16  # always as many rows: a product's last bits depend on how many there are


class Painter(Generator):
    """Paints shapes pictures of 32 x 32 pixels from embeddings in the joint space of the base model.

    Its conditioning has one state per text: the (B, 1, D) unit embedding f(text). A difference f("larger")
    of a tuned tower is a direction of the same space.

    Args:
        unet: Trained.
        scheduler: Of its noise.
        condition: What it was trained with.
        towers: The base model.
        guidance: How far a condition leads away from the picture without one; 1 for as trained.
        steps: DDIM steps.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        scheduler: DDIMScheduler,
        condition: Condition,
        towers: Towers,
        guidance: float,
        steps: int,
    ) -> None:
        self._unet = unet.eval().to(memory_format=torch.channels_last)
        self._scheduler, self._condition, self._towers = scheduler, condition, towers
        self._guidance, self._steps = guidance, steps

    def encode(self, texts: Sequence[str], tower: Towers | None = None) -> Conditioning:
        """Unit embeddings in the joint space as the only state of each text.

        Raises:
            PcclipError: The tower was not tuned from the painter's base model.
        """
        if tower is not None and tower.image_fingerprint() != self._towers.image_fingerprint():
            raise PcclipError(
                f"the painter paints from the joint space of {self._towers.name}, and {tower.name} has "
                "another image tower, so another space. Name a model of which only the text tower was tuned."
            )
        return Conditioning(states=embed_texts(tower or self._towers, list(texts))[:, None])

    def draw(self, conditioning: Conditioning, seeds: Sequence[int]) -> list[Image.Image]:
        """One 32 x 32 RGB picture per row."""
        conditions = self._condition(conditioning.states[:, 0].float())
        noise = torch.stack([_noise(seed) for seed in seeds])
        pictures: list[Image.Image] = []
        for start in range(0, len(seeds), _BATCH):
            rows = torch.arange(start, start + _BATCH).clamp(max=len(seeds) - 1)
            painted = unfold(self._paint(conditions[rows], noise[rows])).numpy()
            pictures += [Image.fromarray(one) for one in painted[: len(seeds) - start]]
        return pictures

    def fingerprint(self) -> str:
        """Of the weights, the base model and the settings."""
        weights = weights_digest(dict(self._unet.state_dict()) | dict(self._condition.state_dict()))
        decides = [weights, self._guidance, self._steps, dict(self._scheduler.config)]
        decides += [self._towers.text_fingerprint(), self._towers.image_fingerprint()]
        return hashlib.sha256(json.dumps(decides, sort_keys=True, default=str).encode()).hexdigest()

    @torch.inference_mode()
    def _paint(self, conditions: Tensor, folded: Tensor) -> Tensor:
        """(B, D) conditions and (B, 12, 16, 16) noise to folded pictures."""
        both = torch.cat([conditions, torch.zeros_like(conditions)])
        self._scheduler.set_timesteps(self._steps)
        for time in self._scheduler.timesteps:
            twice = torch.cat([folded, folded]).contiguous(memory_format=torch.channels_last)
            told, untold = predict(self._unet, twice, time.expand(len(twice)), both).chunk(2)
            velocity = untold + self._guidance * (told - untold)
            folded = self._scheduler.step(velocity, time, folded).prev_sample
        return folded


@dataclass
class PainterSource(GeneratorSource):
    """A painter that `python -m pcclip.demos.painter` made.

    Args:
        folder: Of the painter.
        model: The base model, where it is not where it was when the painter was made.
        guidance: How strongly the condition is followed; 1 is as trained.
        steps: DDIM steps.
    """

    folder: str = "runs/shapes-painter"
    model: str | None = None
    guidance: float = 3.0
    steps: int = 12

    def load(self) -> Painter:
        """Loads it.

        Raises:
            PcclipError: The folder holds none, or the base model is another.
        """
        folder = Path(self.folder)
        try:
            about: dict[str, Any] = parse_json((folder / ABOUT).read_bytes())
        except (OSError, ValueError) as error:
            raise PcclipError(
                f"{folder / ABOUT}: cannot be read ({error}). Make a painter: python -m pcclip.demos.painter "
                f"--out {folder}"
            ) from error
        towers = load_towers(self.model or about["model"])
        if towers.image_fingerprint() != about["image_fingerprint"]:
            raise PcclipError(
                f"{folder}: was made with another base model than {towers.name}. Name it by 'model', or "
                "make a painter anew in another folder."
            )
        unet = UNet2DConditionModel.from_pretrained(folder / UNET, local_files_only=True)
        scheduler = DDIMScheduler.from_pretrained(folder / SCHEDULER, local_files_only=True)
        condition = Condition(**load_file(folder / CONDITION))
        return Painter(unet, scheduler, condition, towers, self.guidance, self.steps)


def _noise(seed: int) -> Tensor:
    chance = torch.Generator().manual_seed(seed)
    return torch.randn(3 * FOLD * FOLD, SIDE // FOLD, SIDE // FOLD, generator=chance)
