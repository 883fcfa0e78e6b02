"""Where a Stable Diffusion XL comes from, and with which settings it draws."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pcclip.arithmetic.generators import GeneratorSource
from pcclip.errors import PcclipError

if TYPE_CHECKING:
    import torch

    from pcclip.arithmetic.sdxl_generator import SDXLGenerator

PIPELINE = "StableDiffusionXLPipeline"
INDEX = "model_index.json"


@dataclass
class StableDiffusionXL(GeneratorSource):
    """Stable Diffusion XL of diffusers, whose first text encoder a tower can replace (arXiv 2409.09721).

    Attributes:
        model: Tag on the Hugging Face hub, or a folder that `save_pretrained` wrote.
        variant: Which of several sets of weights is read; None for the plain one. The published model has
            `fp16` too, half the download.
        dtype: What it computes in; `auto` is fp16 on GPUs and fp32 on the CPU.
        device: `cpu`, `cuda`, `cuda:1`, ...; `auto` is the GPU if there is one.
        steps: Denoising steps of a picture.
        guidance: Scale of classifier-free guidance; 1 is none.
        negative_prompt: What to guide away from. None: nothing, which the published model was trained to see
            as zeros. The generator's own encoders read it, whichever tower reads the prompts: pictures of two
            towers are guided away from the same point.
        height: Of a picture in pixels; None for what the model was trained on (1024).
        width: The same.
        batch_size: Pictures drawn together. 1 makes a picture independent of its neighbours to the last bit;
            above, the last batch is filled up, so that all have one shape and differ by rounding at most.
        scheduler: Class of diffusers that takes the steps, such as DPMSolverMultistepScheduler; None for the
            model's own.
        attention_slicing: Whether attention runs head by head: less memory, slower.
        vae_slicing: Whether pictures of a batch are decoded one by one: less memory.
        vae_tiling: Whether a picture is decoded in tiles: less memory; seams may show.
        offload: What waits in main memory while it is not needed: `none`, each `model` as a whole (a little
            slower), or, `sequential`, every layer (least memory, far slower).
    """

    model: str = "stabilityai/stable-diffusion-xl-base-1.0"
    variant: str | None = None
    dtype: Literal["fp32", "fp16", "bf16", "auto"] = "auto"
    device: str = "auto"
    steps: int = 30
    guidance: float = 5.0
    negative_prompt: str | None = None
    height: int | None = None
    width: int | None = None
    batch_size: int = 1
    scheduler: str | None = None
    attention_slicing: bool = False
    vae_slicing: bool = False
    vae_tiling: bool = False
    offload: Literal["none", "model", "sequential"] = "none"

    def __post_init__(self) -> None:
        """Refuses numbers that no picture can be drawn with."""
        for name in ("steps", "batch_size", "height", "width"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise PcclipError(f"{name} must be at least 1, got {value}")

    def load(self) -> SDXLGenerator:
        """Loads the pipeline; from the hub if the model is no folder.

        Raises:
            PcclipError: No such folder or hub model, not a Stable Diffusion XL, or settings that the device
                or the model cannot follow.
        """
        from pcclip.arithmetic.sdxl_generator import SDXLGenerator

        device = self._device()
        dtype = self._dtype(device)
        return SDXLGenerator(_load(self._place(), self.variant, dtype), self, device)

    def _device(self) -> torch.device:
        import torch

        name = self.device
        if name == "auto":
            others = "mps" if torch.backends.mps.is_available() else "cpu"
            name = "cuda" if torch.cuda.is_available() else others
        try:
            device = torch.device(name)
        except RuntimeError as error:
            raise PcclipError(
                f"device: '{name}' is none that torch knows; give cpu, cuda or cuda:1"
            ) from error
        if device.type == "cuda" and not torch.cuda.is_available():
            raise PcclipError(f"device: '{name}', but torch finds no CUDA GPU here; set device: auto or cpu")
        if device.type == "cpu" and self.offload != "none":
            raise PcclipError(
                f"offload: {self.offload} moves weights between GPU and main memory, but the device is the "
                "CPU; set offload: none"
            )
        return device

    def _dtype(self, device: torch.device) -> torch.dtype:
        import torch

        if self.dtype == "fp16" and device.type == "cpu":
            raise PcclipError(
                "dtype: fp16 is for GPUs; on the CPU set dtype: fp32, or bf16 for half the memory"
            )
        if self.dtype == "auto":
            return torch.float32 if device.type == "cpu" else torch.float16
        return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[self.dtype]

    def _place(self) -> str:
        """The folder, or the tag on the hub."""
        folder = Path(self.model).expanduser()
        if (folder / INDEX).is_file():
            return str(folder)
        if folder.is_dir():
            raise PcclipError(
                f"{folder}: has no {INDEX}, so it is no pipeline of diffusers; give the folder that "
                f"{PIPELINE}.save_pretrained wrote"
            )
        if folder.is_absolute() or self.model.startswith((".", "~")) or self.model.count("/") != 1:
            raise PcclipError(
                f"{folder}: no such folder, and no tag of the hub (ORG/NAME, such as "
                "stabilityai/stable-diffusion-xl-base-1.0) either"
            )
        return self.model


def _load(place: str, variant: str | None, dtype: torch.dtype) -> Any:
    """The pipeline of that place, on the CPU."""
    from diffusers import StableDiffusionXLPipeline

    try:
        index = StableDiffusionXLPipeline.load_config(place)
    except (OSError, ValueError) as error:
        raise PcclipError(
            f"cannot read {INDEX} of '{place}' ({_first_line(error)}); check the name and the network, or "
            "download the model elsewhere and give its folder"
        ) from error
    if index.get("_class_name") != PIPELINE:
        raise PcclipError(f"'{place}' is a {index.get('_class_name')}, not a {PIPELINE}: give another model")
    absent = [n for n in ("text_encoder", "text_encoder_2") if index.get(n, [None])[0] is None]
    if absent:
        raise PcclipError(f"'{place}' has no {' and no '.join(absent)} (an SDXL base has both): give another")
    try:
        # Pictures must not depend on whether the package of the watermark is installed.
        return StableDiffusionXLPipeline.from_pretrained(
            place, variant=variant, dtype=dtype, use_safetensors=True, add_watermarker=False
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        of = f" (variant {variant})" if variant else ""
        raise PcclipError(
            f"cannot load '{place}'{of}: {_first_line(error)}; check that all its files are there, in "
            "safetensors, or download it again"
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).split(os.linesep)[0][:300]
