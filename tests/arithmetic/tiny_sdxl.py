"""A complete Stable Diffusion XL pipeline of the real classes, with small random weights, and towers for it.

`save_pipeline` writes the folder that `StableDiffusionXLPipeline.from_pretrained` reads (model_index.json,
safetensors, tokenizers): 32 x 32 pictures, a twentieth of a second each with two steps. As in the published
model, its first text encoder is the text tower of a CLIP with QuickGELU: `save_towers` writes it and a
finetuned one as `pcclip fit` does, `RUN/model`.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import open_clip
import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from pcclip.model.checkpoint import save_folder
from pcclip.model.conversion import text_model
from pcclip.model.towers import Towers, load_towers

WIDTH, OTHER_WIDTH, OTHER_PROJECTION = 32, 48, 24
TOWER = "tiny-sdxl-quickgelu"
TOWER_CONFIG: dict[str, Any] = {
    "embed_dim": 16,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": WIDTH, "heads": 2, "layers": 3},
}
SCHEDULER = {  # the published one
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "timestep_spacing": "leading",
    "steps_offset": 1,
}
ENDS = {
    "bos_token_id": 49406,
    "eos_token_id": 49407,
    "pad_token_id": 49407,
}


def random_towers(folder: Path, seed: int = 0, name: str = TOWER, **text: Any) -> Towers:
    """Random towers; `text` changes the text tower's configuration, whose file goes to `folder`."""
    path = folder / f"{name}.json"
    config = {**TOWER_CONFIG, "text_cfg": {**TOWER_CONFIG["text_cfg"], **text}}
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config))
    open_clip.add_model_config(path)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return load_towers(path.stem, random_init=True)


def save_towers(folder: Path, seed: int = 0, strength: float = 0.5) -> tuple[Path, Path]:
    """Model folders (`local-dir:` names them) of the base tower and of one whose text blocks were changed."""
    towers = random_towers(folder / "configs", seed)
    base = save_folder(towers, folder / "base" / "model")
    random = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in towers.clip.transformer.parameters():  # the blocks, as the published settings train
            noise = torch.randn(parameter.shape, generator=random)
            parameter.add_(strength * parameter.std(correction=0) * noise)
    return base, save_folder(towers, folder / "tuned" / "model")


def save_pipeline(folder: Path, base_tower: Path, seed: int = 0) -> Path:
    """The pipeline's folder; its first text encoder is the text tower of `base_tower`."""
    first = text_model(load_towers(f"local-dir:{base_tower}"))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = CLIPTextModel(CLIPTextConfig.from_dict(first.config.to_dict()))
        pipeline = StableDiffusionXLPipeline(
            vae=_vae(),
            text_encoder=encoder,
            text_encoder_2=_second_encoder(),
            tokenizer=tokenizer("<|endoftext|>"),
            tokenizer_2=tokenizer("!"),
            unet=_unet(),
            scheduler=EulerDiscreteScheduler(**SCHEDULER),
            force_zeros_for_empty_prompt=True,
            add_watermarker=False,
        )
    encoder.load_state_dict(first.text_model.state_dict())
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def tokenizer(pad: str) -> CLIPTokenizer:
    """CLIP's tokenizer, from open_clip's table of merges; the real model's two encoders pad differently."""
    vocabulary, merges = _table()
    return CLIPTokenizer(vocab=vocabulary, merges=merges, pad_token=pad, model_max_length=77)


@cache
def _table() -> tuple[dict[str, int], list[tuple[str, str]]]:
    ours = open_clip.SimpleTokenizer()
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    return {names.get(word, word): number for word, number in ours.encoder.items()}, list(ours.bpe_ranks)


def _second_encoder() -> CLIPTextModelWithProjection:
    return CLIPTextModelWithProjection(
        CLIPTextConfig(
            hidden_size=OTHER_WIDTH,
            intermediate_size=64,
            projection_dim=OTHER_PROJECTION,
            num_hidden_layers=3,
            num_attention_heads=3,
            hidden_act="gelu",
            **{**ENDS, "pad_token_id": 0},
        )
    )


def _unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        transformer_layers_per_block=(1, 2),
        cross_attention_dim=WIDTH + OTHER_WIDTH,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + OTHER_PROJECTION,
    )


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 16, 16),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        sample_size=32,
        scaling_factor=0.13025,
    )
