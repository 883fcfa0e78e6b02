"""Time and memory of Stable Diffusion XL's architecture at its full size, with random weights.

Nothing is downloaded: the sizes are the published ones (2.6 billion parameters in the UNet), and neither
speed nor memory depends on what the weights are.

    python -m tests.benchmarks.sdxl --steps 30
    python -m tests.benchmarks.sdxl --tiny true      # the same on a tiny model, on the CPU
"""

from __future__ import annotations

import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from pcclip.arithmetic.sdxl import StableDiffusionXL
from pcclip.arithmetic.sdxl_generator import SDXLGenerator
from pcclip.model.towers import Towers, load_towers
from tests.arithmetic.tiny_sdxl import ENDS, SCHEDULER, save_pipeline, save_towers, tokenizer

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
PROMPTS = ["a photo of a leopard", "a photo of a camel", "a photo of a whale", "a photo of a rabbit"]
OPTIONS: dict[str, dict[str, Any]] = {
    "batch 1": {},
    "batch 4": {"batch_size": 4},
    "batch 4, VAE slicing": {"batch_size": 4, "vae_slicing": True},
    "batch 1, attention slicing": {"attention_slicing": True},
    "batch 1, model offload, VAE slicing and tiling": {
        "offload": "model",
        "vae_slicing": True,
        "vae_tiling": True,
    },
}
# The published config.json files of stabilityai/stable-diffusion-xl-base-1.0.
UNET = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "layers_per_block": 2,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": (5, 10, 20),
    "transformer_layers_per_block": (1, 2, 10),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "latent_channels": 4,
    "sample_size": 1024,
    "scaling_factor": 0.13025,
    "force_upcast": True,
}
FIRST = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "projection_dim": 768,
    "hidden_act": "quick_gelu",
}
SECOND = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "projection_dim": 1280,
    "hidden_act": "gelu",
}


def full_pipeline(device: str, dtype: torch.dtype) -> StableDiffusionXLPipeline:
    """The pipeline at its full size, its weights drawn where it is to compute."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            modules = {
                "unet": UNet2DConditionModel(**UNET),
                "vae": AutoencoderKL(**VAE),
                "text_encoder": CLIPTextModel(CLIPTextConfig(**FIRST, **ENDS)),
                "text_encoder_2": CLIPTextModelWithProjection(CLIPTextConfig(**SECOND, **ENDS)),
            }
    finally:
        torch.set_default_dtype(before)
    return StableDiffusionXLPipeline(
        **{name: module.eval() for name, module in modules.items()},
        tokenizer=tokenizer("<|endoftext|>"),
        tokenizer_2=tokenizer("!"),
        scheduler=EulerDiscreteScheduler(**SCHEDULER),
        add_watermarker=False,
    )


def tiny_pipeline() -> tuple[StableDiffusionXLPipeline, Towers]:
    """The tests' small one, and a tower for it."""
    with tempfile.TemporaryDirectory() as folder:
        base, tuned = save_towers(Path(folder))
        saved = save_pipeline(Path(folder) / "sdxl", base)
        return StableDiffusionXLPipeline.from_pretrained(saved), load_towers(f"local-dir:{tuned}")


def measure(
    pipeline: Any, source: StableDiffusionXL, device: torch.device, pictures: int
) -> dict[str, float]:
    """Cost of some pictures, after a warm-up of one step."""
    pipeline.disable_attention_slicing()
    pipeline.vae.disable_slicing()
    pipeline.vae.disable_tiling()
    warm = SDXLGenerator(pipeline, replace(source, steps=1), device)
    conditioning = warm.encode((PROMPTS * pictures)[:pictures])
    warm.draw(conditioning, range(pictures))
    generator = SDXLGenerator(pipeline, source, device)
    drawn = generator.draw(conditioning, range(pictures))
    return generator.cost(), np.stack([np.asarray(picture, dtype=int) for picture in drawn])


def timed(what: Any, device: torch.device) -> float:
    """Seconds of a call."""
    start = time.perf_counter()
    what()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def texts_table(generator: SDXLGenerator, tower: Towers, device: torch.device) -> Table:
    """What the texts cost, and knowing the weights again."""
    table = Table("once", "seconds")
    generator.encode(PROMPTS)
    table.add_row("a text, own encoders", f"{timed(lambda: generator.encode(PROMPTS), device) / 4:.4f}")
    first = timed(lambda: generator.encode(PROMPTS[:1], tower), device)
    table.add_row("a tower checked and converted, its first text", f"{first:.2f}")
    again = timed(lambda: generator.encode(PROMPTS, tower), device) / 4
    table.add_row("a text, the tower first", f"{again:.4f}")
    table.add_row("fingerprint of the weights", f"{timed(generator.fingerprint, device):.1f}")
    return table


def main(
    steps: int = 30,
    dtype: Literal["fp16", "bf16"] = "fp16",
    pictures: int = 4,
    tiny: bool = False,
    fingerprint: bool = True,
) -> None:
    """Prints seconds a picture, pictures a second, peak memory, and how far the options change pictures.

    Args:
        steps: Denoising steps of a picture.
        dtype: What the full size computes in.
        pictures: How many each option draws.
        tiny: Whether the tests' small model is measured instead, in fp32 on the CPU.
        fingerprint: Whether texts and the fingerprint are timed too.
    """
    warnings.filterwarnings("ignore", "the tower .* was not trained from the weights")
    console = Console(width=120)
    device = torch.device("cpu" if tiny else "cuda")
    start = time.perf_counter()
    if tiny:
        pipeline, tower = tiny_pipeline()
    else:
        pipeline = full_pipeline("cuda", DTYPES[dtype])
        tower = load_towers("ViT-L-14-quickgelu", random_init=True)
    name = "the tests' tiny model on the CPU" if tiny else torch.cuda.get_device_name()
    count = sum(p.numel() for p in pipeline.unet.parameters())
    console.print(
        f"{name}, torch {torch.__version__}, {pipeline.unet.dtype}, UNet of {count:,} parameters, "
        f"{steps} steps; made in {time.perf_counter() - start:.0f} s"
    )
    source = StableDiffusionXL(steps=steps)
    if fingerprint:
        console.print(texts_table(SDXLGenerator(pipeline, source, device), tower, device))
    table = Table(
        "options", "s/picture", "pictures/s", "peak memory, GiB", "off batch 1, mean of 255", "most"
    )
    plain: np.ndarray | None = None
    for name, options in OPTIONS.items():
        if tiny and "offload" in options:
            continue
        cost, drawn = measure(pipeline, replace(source, **options), device, pictures)
        plain = drawn if plain is None else plain
        seconds, off = cost["seconds_per_picture"], np.abs(drawn - plain)
        speed = f"{seconds:.3f}", f"{1 / seconds:.3f}", f"{cost['peak_memory_gib']:.2f}"
        table.add_row(name, *speed, f"{off.mean():.4f}", str(off.max()))
        side = drawn.shape[1]
        table.title = f"{pictures} pictures of {side} x {side}, pixels' standard deviation {drawn.std():.1f}"
    console.print(table)


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
