"""Stable Diffusion XL as a generator: texts to token states of two encoders, those to pictures."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from pcclip.arithmetic.generators import Conditioning, Generator
from pcclip.arithmetic.sdxl_tower import FirstEncoders
from pcclip.errors import PcclipError
from pcclip.model.fingerprints import tokenizer_digest, weights_digest
from pcclip.model.towers import Towers

if TYPE_CHECKING:
    from pcclip.arithmetic.sdxl import StableDiffusionXL

COMPONENTS = ("text_encoder", "text_encoder_2", "unet", "vae")
# Settings that change how a picture is computed, not which one.
COMPUTING = ("model", "variant", "device", "batch_size", "attention_slicing", "vae_slicing", "offload")


class SDXLGenerator(Generator):
    """A loaded pipeline.

    `Conditioning.states` are the first encoder's penultimate token states, `other_states` and `other_pooled`
    the second one's token states and projected vector; this model takes no vector of the first, hence None.

    Attributes:
        pipeline: The `StableDiffusionXLPipeline` of diffusers.
        settings: What it was loaded with, device, type and sizes resolved.
    """

    def __init__(self, pipeline: Any, source: StableDiffusionXL, device: torch.device) -> None:
        """Places the pipeline on its device.

        Args:
            pipeline: Loaded, on the CPU.
            source: Its settings.
            device: Where it draws.

        Raises:
            PcclipError: The size or the scheduler does not go with the model.
        """
        self.pipeline = pipeline
        self._device = device
        self._batch_size = source.batch_size
        self._guided = source.guidance > 1
        if source.scheduler is not None:
            pipeline.scheduler = _scheduler(pipeline.scheduler, source.scheduler)
        side = pipeline.default_sample_size * pipeline.vae_scale_factor
        self.settings: dict[str, Any] = {
            **asdict(source),
            "dtype": str(pipeline.unet.dtype).removeprefix("torch."),
            "device": str(device),
            "height": source.height or side,
            "width": source.width or side,
        }
        self._check_size()
        self._width = pipeline.text_encoder.config.hidden_size
        self._first = FirstEncoders(pipeline.text_encoder, pipeline.tokenizer, source.model, device)
        if source.offload == "sequential":
            self.fingerprint()  # afterwards the weights are no longer in the modules
        self._place(source)
        self._pictures, self._seconds = 0, 0.0

    @torch.no_grad()
    def encode(self, texts: Sequence[str], tower: Towers | None = None) -> Conditioning:
        """See `Generator`; the tower reads what the first encoder read, with the pipeline's own tokens.

        Each text goes through alone: its states then do not depend on its neighbours, to the last bit.
        """
        with self._reading(tower):
            rows = [
                self.pipeline.encode_prompt(text, device=self._device, do_classifier_free_guidance=False)
                for text in texts
            ]
        states_BLW = torch.cat([row[0] for row in rows])
        return Conditioning(
            states=states_BLW[..., : self._width],
            other_states=states_BLW[..., self._width :],
            other_pooled=torch.cat([row[2] for row in rows]),
        )

    @torch.no_grad()
    def draw(self, conditioning: Conditioning, seeds: Sequence[int]) -> list[Image.Image]:
        """See `Generator`."""
        if len(conditioning) != len(seeds):
            raise ValueError(f"{len(conditioning)} rows of conditioning, but {len(seeds)} seeds")
        start = time.perf_counter()
        pictures: list[Image.Image] = []
        for first in range(0, len(seeds), self._batch_size):
            rows = list(range(first, min(first + self._batch_size, len(seeds))))
            filled = rows + rows[-1:] * (self._batch_size - len(rows))
            pictures += self._draw(conditioning.select(filled), [seeds[r] for r in filled])[: len(rows)]
        self._pictures += len(pictures)
        self._seconds += time.perf_counter() - start
        return pictures

    def fingerprint(self) -> str:
        """See `Generator`; settings that change no more than rounding are left out."""
        return self._digest

    def cost(self) -> dict[str, float]:
        """See `Generator`."""
        if self._device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self._device)
        else:
            own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            peak = own if sys.platform == "darwin" else own * 1024
        return {
            "pictures": self._pictures,
            "seconds": self._seconds,
            "seconds_per_picture": self._seconds / max(self._pictures, 1),
            "peak_memory_gib": peak / 2**30,
        }

    @contextmanager
    def _reading(self, tower: Towers | None) -> Iterator[None]:
        """With the tower as the first text encoder."""
        own = self.pipeline.text_encoder
        if tower is not None:
            self.pipeline.text_encoder = self._first.of(tower)
        try:
            yield
        finally:
            self.pipeline.text_encoder = own

    def _draw(self, conditioning: Conditioning, seeds: list[int]) -> list[Image.Image]:
        random = [torch.Generator().manual_seed(seed) for seed in seeds]
        states = torch.cat([conditioning.states, conditioning.parts()["other_states"]], dim=-1)
        pooled = conditioning.parts()["other_pooled"]
        negative: dict[str, Tensor] = {}
        if self._guided:
            names = ("negative_prompt_embeds", "negative_pooled_prompt_embeds")
            for name, part in zip(names, self._negative, strict=True):
                negative[name] = part.expand(len(seeds), *part.shape[1:])
        return self.pipeline(
            prompt_embeds=states.to(self._device),
            pooled_prompt_embeds=pooled.to(self._device),
            **negative,
            latents=self._noise(random),
            generator=random,
            num_inference_steps=self.settings["steps"],
            guidance_scale=self.settings["guidance"],
            height=self.settings["height"],
            width=self.settings["width"],
        ).images

    def _noise(self, random: list[torch.Generator]) -> Tensor:
        """What the pictures start from: drawn in fp32 on the CPU, so that it is the same on all devices."""
        scale = self.pipeline.vae_scale_factor
        sides = (self.settings["height"] // scale, self.settings["width"] // scale)
        shape = (1, self.pipeline.unet.config.in_channels, *sides)
        return torch.cat([torch.randn(shape, generator=r) for r in random]).to(self.pipeline.unet.dtype)

    @cached_property
    def _negative(self) -> tuple[Tensor, Tensor]:
        """States and vector that pictures are guided away from, one row."""
        negative = self.settings["negative_prompt"]
        encoded = self.pipeline.encode_prompt("", device=self._device, negative_prompt=negative)
        return encoded[1], encoded[3]

    def _check_size(self) -> None:
        steps = self.pipeline.vae_scale_factor * 2 ** (len(self.pipeline.unet.config.block_out_channels) - 1)
        steps = max(steps, 8)
        for name in ("height", "width"):
            if self.settings[name] % steps:
                raise PcclipError(f"{name}: {self.settings[name]} is not divisible by {steps}, as it must be")

    def _place(self, source: StableDiffusionXL) -> None:
        pipeline = self.pipeline
        pipeline.set_progress_bar_config(disable=True)
        if source.attention_slicing:
            pipeline.enable_attention_slicing("max")
        if source.vae_slicing:
            pipeline.vae.enable_slicing()
        if source.vae_tiling:
            pipeline.vae.enable_tiling()
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        if source.offload == "model":
            pipeline.enable_model_cpu_offload(device=self._device)
        elif source.offload == "sequential":
            pipeline.enable_sequential_cpu_offload(device=self._device)
        else:
            pipeline.to(self._device)

    @cached_property
    def _digest(self) -> str:
        pipeline = self.pipeline
        weights = {f"{c}.{n}": t for c in COMPONENTS for n, t in getattr(pipeline, c).state_dict().items()}
        tokenizers = [tokenizer_digest(_tokens(t)) for t in (pipeline.tokenizer, pipeline.tokenizer_2)]
        settings = {name: value for name, value in self.settings.items() if name not in COMPUTING}
        scheduler = {n: v for n, v in pipeline.scheduler.config.items() if not n.startswith("_")}
        about = {
            "settings": settings,
            "scheduler": [type(pipeline.scheduler).__name__, scheduler],
            "tokenizers": tokenizers,
            "zeros": pipeline.config.force_zeros_for_empty_prompt,
        }
        return weights_digest(weights, about)


def _tokens(tokenizer: Any) -> Callable[[list[str]], Tensor]:
    def tokens(texts: list[str]) -> Tensor:
        return tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids

    return tokens


def _scheduler(own: Any, name: str) -> Any:
    for kind in own.compatibles:
        if kind.__name__ == name:
            return kind.from_config(own.config)
    names = ", ".join(sorted(kind.__name__ for kind in own.compatibles))
    raise PcclipError(f"scheduler: '{name}' does not go with this model; these do: {names}")
