"""Small towers of any architecture."""

from typing import Any

import open_clip
import torch

from pcclip.model.towers import Towers

SMALL: dict[str, Any] = {
    "embed_dim": 48,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 3},
}


def towers_of(config: dict[str, Any], kind: Any = None) -> Towers:
    """Random towers of an open_clip model config, frozen, in evaluation mode."""
    torch.manual_seed(0)
    arguments = {k: v for k, v in config.items() if k != "custom_text"}
    kind = kind or (open_clip.CustomTextCLIP if config.get("custom_text") else open_clip.CLIP)
    clip = kind(**arguments)
    towers = Towers(
        clip, "small", config, open_clip.SimpleTokenizer(context_length=config["text_cfg"]["context_length"])
    )
    return towers.requires_grad_(False).eval()
