"""What is done to pictures: open_clip's preprocessing config and transformers' `CLIPImageProcessor`.

Where the margin that the crop cuts off is odd, open_clip and transformers may round its half to different
sides: the crop is then one pixel aside. Everything else is the same, bit for bit with `backend="pil"`; the
default of transformers since its version 5 resizes by torchvision, which rounds a little otherwise.
"""

from __future__ import annotations

from typing import Any

from transformers import CLIPImageProcessor

from pcclip.model.errors import ModelError

_RESAMPLING = {"bicubic": 3, "bilinear": 2}  # PIL's numbers


def image_processor(config: dict[str, Any]) -> CLIPImageProcessor:
    """The processor of a preprocessing config with [height, width] as size (`Towers.preprocess_config`).

    Raises:
        ModelError: it pads to a square, which transformers rounds otherwise, or is not square.
    """
    height, width = config["size"]
    if height != width or config["resize_mode"] == "longest":
        raise ModelError(
            f"CLIPImageProcessor cannot do this model's preprocessing (size {height} x {width}, resize_mode "
            f"'{config['resize_mode']}'); export it --to open_clip, or its text tower alone (--part text)"
        )
    square = {"height": height, "width": width}
    squash = config["resize_mode"] == "squash"
    return CLIPImageProcessor(
        size=square if squash else {"shortest_edge": height},
        crop_size=square,
        do_center_crop=not squash,
        resample=_RESAMPLING.get(config["interpolation"], _RESAMPLING["bicubic"]),
        image_mean=list(config["mean"]),
        image_std=list(config["std"]),
    )


def preprocess_config(processor: Any, image_size: int) -> dict[str, Any]:
    """The preprocessing config of an image processor.

    Args:
        processor: as transformers has read it.
        image_size: edge that the image tower takes.

    Raises:
        ModelError: open_clip's preprocessing cannot do the same.
    """
    facts = processor.to_dict()
    size = {k: v for k, v in dict(facts["size"]).items() if v is not None}
    crop = {k: v for k, v in dict(facts.get("crop_size") or {}).items() if v is not None}
    square = {"height": image_size, "width": image_size}
    cropped = facts["do_center_crop"]
    shortest = size == {"shortest_edge": image_size} and cropped and crop == square
    squash = size == square and (not cropped or crop == square)
    wanted = {"do_resize": True, "do_rescale": True, "do_normalize": True}
    differing = [f"{k} {facts[k]}" for k, v in wanted.items() if facts[k] != v]
    if not (shortest or squash):
        differing.append(f"size {size}, cropped to {crop if cropped else 'nothing'}")
    if abs(facts["rescale_factor"] * 255 - 1) > 1e-6:
        differing.append(f"rescale_factor {facts['rescale_factor']}")
    interpolation = {v: k for k, v in _RESAMPLING.items()}.get(int(facts["resample"]))
    if interpolation is None:
        differing.append(f"resample {facts['resample']}")
    if differing:
        raise ModelError(
            f"preprocessor_config.json: {'; '.join(differing)} cannot be had in open_clip for a tower of "
            f"{image_size} x {image_size} pixels: it resizes to that, crops and normalises; use the model in "
            "transformers"
        )
    return {
        "size": image_size,
        "mode": "RGB",
        "mean": tuple(facts["image_mean"]),
        "std": tuple(facts["image_std"]),
        "interpolation": interpolation,
        "resize_mode": "shortest" if shortest else "squash",
        "fill_color": 0,
    }
