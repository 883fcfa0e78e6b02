"""The painter's parts: a UNet of diffusers, its noise schedule, and how embeddings become its conditions."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F

from pcclip.demos.painter.pictures import SIDE, Lessons

FOLD = 2  # a block of 2 x 2 pixels is one place with 12 channels: a quarter of the work
_FLOOR = 0.003  # of the variance: what varies less is mostly the wording


class Condition(nn.Module):
    """Joint-space embeddings to the whitened numbers that the UNet takes.

    Embeddings of this world fill a few dimensions of the joint space, unevenly. Those of pictures and of
    texts lie around different means; both are moved to the origin, so that one painter learns from both.

    Args:
        text_mean: (D,) mean of the captions' embeddings.
        image_mean: (D,) mean of the pictures' embeddings.
        whitening: (D, D).
    """

    text_mean: Tensor
    image_mean: Tensor
    whitening: Tensor

    def __init__(self, text_mean: Tensor, image_mean: Tensor, whitening: Tensor) -> None:
        super().__init__()
        self.register_buffer("text_mean", text_mean)
        self.register_buffer("image_mean", image_mean)
        self.register_buffer("whitening", whitening)

    @classmethod
    def of(cls, lessons: Lessons) -> Condition:
        """Measured on what the painter learns from."""
        text_mean, image_mean = lessons.texts.mean(0), lessons.images.mean(0)
        centred = torch.cat([lessons.texts - text_mean, lessons.images - image_mean]).double()
        variances, directions = torch.linalg.eigh(centred.T @ centred / len(centred))
        scales = (variances + _FLOOR * variances.sum()).sqrt()
        return cls(text_mean, image_mean, (directions / scales).float().contiguous())

    def forward(self, embeddings: Tensor) -> Tensor:
        """(B, D) embeddings of texts, or moved to where texts lie, to (B, D)."""
        return (embeddings - self.text_mean) @ self.whitening


def make_unet(conditions: int, channels: tuple[int, ...]) -> UNet2DConditionModel:
    """A UNet with random weights, for pictures folded by `fold`.

    Args:
        conditions: Width of a condition.
        channels: Of its levels, the finest first. Attention is in the middle only: elsewhere it costs
            most of the time.
    """
    unet = UNet2DConditionModel(
        sample_size=SIDE // FOLD,
        in_channels=3 * FOLD * FOLD,
        out_channels=3 * FOLD * FOLD,
        block_out_channels=channels,
        layers_per_block=1,
        down_block_types=("DownBlock2D",) * len(channels),
        up_block_types=("UpBlock2D",) * len(channels),
        mid_block_type="UNetMidBlock2DCrossAttn",
        cross_attention_dim=conditions,
        attention_head_dim=4,
        norm_num_groups=16,
        resnet_time_scale_shift="scale_shift",
        class_embed_type="projection",
        projection_class_embeddings_input_dim=conditions,
    )
    # Residual blocks begin as identities and the whole as zero, as is usual; diffusers leaves that out.
    for name, module in unet.named_modules():
        if name.endswith((".conv2", "conv_out")):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    return unet


def make_scheduler() -> DDIMScheduler:
    """A cosine schedule that ends in pure noise, so that dark and bright pictures come alike."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        clip_sample=True,
        timestep_spacing="trailing",
        set_alpha_to_one=True,
    )


def predict(unet: Any, noisy: Tensor, steps: Tensor, conditions: Tensor) -> Tensor:
    """What the UNet says of (B, 12, 16, 16) noisy folded pictures, in fp32."""
    out = unet(noisy, steps, encoder_hidden_states=conditions[:, None], class_labels=conditions).sample
    return out.float()


def fold(pixels: Tensor) -> Tensor:
    """(B, 32, 32, 3) uint8 to (B, 12, 16, 16) in -1 to 1."""
    return F.pixel_unshuffle(pixels.permute(0, 3, 1, 2).float().div(127.5).sub(1), FOLD)


def unfold(folded: Tensor) -> Tensor:
    """The way back; values beyond the range are cut."""
    pixels = F.pixel_shuffle(folded, FOLD).add(1).mul(127.5).round().clamp(0, 255)
    return pixels.to(torch.uint8).permute(0, 2, 3, 1)
