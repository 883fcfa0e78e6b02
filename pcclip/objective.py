"""Losses over embeddings: plain modules over tensors, told rank and world size.

Shape letters: B pairs of this rank, G pairs of all ranks, D embedding width.
Under DDP every rank scores its own B rows against all G columns. Gathered embeddings carry
gradients, so that after DDP's mean over ranks the gradient is that of one process on all G pairs. Losses
that compare rows with columns do so for `chunk_rows` rows at a time, so that their memory is linear in the
batch (`pcclip.contrastive`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcclip.contrastive import (
    CHUNK_ROWS,
    Alike,
    Chunk,
    World,
    check_chunk_rows,
    mean_over_rows,
    similarities,
)
from pcclip.geometry import difference, raw_difference, unit

__all__ = [
    "CaptionInfoNCE",
    "CaptionInputs",
    "DifferenceInfoNCE",
    "DifferenceInputs",
    "DifferenceMSE",
    "DifferenceObjective",
    "DifferenceSigmoid",
    "Temperature",
    "World",
]


@dataclass(frozen=True)
class DifferenceInputs:
    """One batch of triples, embedded.

    Attributes:
        text: (B, D) text embeddings, not normalised.
        image1: (B, D) embeddings of the first pictures.
        image2: (B, D) embeddings of the second pictures.
        text_id: (B,) equal where two texts are the same.
        image1_id: (B,) equal where two pictures are the same; comparable with `image2_id`.
        image2_id: (B,) likewise.
    """

    text: Tensor
    image1: Tensor
    image2: Tensor
    text_id: Tensor
    image1_id: Tensor
    image2_id: Tensor


@dataclass(frozen=True)
class CaptionInputs:
    """One batch of captioned pictures, embedded.

    Attributes:
        text: (B, D) caption embeddings, not normalised.
        image: (B, D) picture embeddings.
        text_id: (B,) equal where two captions are the same.
        image_id: (B,) equal where two pictures are the same.
    """

    text: Tensor
    image: Tensor
    text_id: Tensor
    image_id: Tensor


class Temperature(nn.Module):
    """Softmax temperature, fixed or learned as a log scale (bounded below by 0.01, as CLIP's)."""

    def __init__(self, value: float, learned: bool) -> None:
        """Start at `value`; `learned` makes it a parameter."""
        super().__init__()
        if value <= 0:
            raise ValueError(f"temperature must be positive, not {value}")
        self.learned = learned
        log_scale = torch.tensor(-math.log(value))
        if learned:
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale)

    def scale(self) -> Tensor:
        """Factor on the similarities, 1 / temperature."""
        return self.log_scale.clamp(max=math.log(100.0)).exp() if self.learned else self.log_scale.exp()

    def forward(self, similarity: Tensor) -> Tensor:
        """Divide similarities by the temperature."""
        return similarity * self.scale()


class DifferenceObjective(nn.Module):
    """Base of the losses over triples: `forward(DifferenceInputs, World) -> scalar`."""

    def forward(self, inputs: DifferenceInputs, world: World) -> Tensor:
        """Loss of this rank's rows; its mean over ranks is the loss of the global batch."""
        raise NotImplementedError


def _alike(inputs: DifferenceInputs, world: World, shared_images: bool, same_text: bool) -> Alike:
    """Pairs with a picture in common, or with the same text."""
    ways = ((0, 0), (0, 1), (1, 0), (1, 1)) if shared_images else ()
    ids = (inputs.image1_id, inputs.image2_id, inputs.text_id)
    return Alike.of(world, ids, ways + (((2, 2),) if same_text else ()))


class DifferenceInfoNCE(DifferenceObjective):
    """Symmetric InfoNCE between difference texts and image differences (arXiv 2409.09721, eq. 2).

    Each text must pick its own image difference among those of the global batch, and each
    difference its own text. Similarities and loss are fp32.

    Args:
        temperature: softmax temperature (the paper: 1).
        learn_temperature: make the temperature a parameter.
        mask_shared_images: pairs with a picture in common do not count as negatives.
        mask_same_text: pairs with the same text do not count as negatives.
        reversed_negative: the reversed pair `d21 = -d12` is one more negative of each text.
        reversed_weight: weight of one more loss, in which each text chooses between its pair and the reversed
            one. Among a batch of negatives the reversed pair hardly counts, though it is what tells "larger"
            from "smaller".
        chunk_rows: rows whose similarities exist at once; a batch with more is computed in chunks, and each
            chunk once more in the backward pass.
    """

    def __init__(
        self,
        temperature: float = 0.07,
        learn_temperature: bool = False,
        mask_shared_images: bool = False,
        mask_same_text: bool = True,
        reversed_negative: bool = False,
        reversed_weight: float = 0.0,
        chunk_rows: int = CHUNK_ROWS,
    ) -> None:
        """See the class."""
        super().__init__()
        self.chunk_rows = check_chunk_rows(chunk_rows)
        if reversed_weight < 0:
            raise ValueError(f"reversed_weight must not be negative, is {reversed_weight}")
        self.reversed_weight = reversed_weight
        self.temperature = Temperature(temperature, learn_temperature)
        self.mask_shared_images = mask_shared_images
        self.mask_same_text = mask_same_text
        self.reversed_negative = reversed_negative

    def forward(self, inputs: DifferenceInputs, world: World) -> Tensor:
        """Mean over the local rows of both directions' cross-entropies."""
        with torch.autocast(inputs.text.device.type, enabled=False):
            text_BD, direction_BD = unit(inputs.text), difference(inputs.image1, inputs.image2)
            text_GD, direction_GD = world.gather(text_BD), world.gather(direction_BD)
            alike = _alike(inputs, world, self.mask_shared_images, self.mask_same_text)

            def mean(chunk: Chunk, text_RD: Tensor, direction_RD: Tensor) -> Tensor:
                to_image_RG = similarities(chunk, text_RD, direction_GD, self.temperature, alike)
                to_text_RG = similarities(chunk, direction_RD, text_GD, self.temperature, alike)
                return self._loss(to_image_RG, to_text_RG, chunk.labels(text_RD.device))

            return mean_over_rows(mean, self.chunk_rows, world, text_BD, direction_BD)

    def _loss(self, to_image_RG: Tensor, to_text_RG: Tensor, labels_R: Tensor) -> Tensor:
        if self.reversed_negative:
            opposite_R1 = -to_image_RG.gather(1, labels_R[:, None])
            to_image_RG = torch.cat([to_image_RG, opposite_R1], dim=1)
        loss = (F.cross_entropy(to_image_RG, labels_R) + F.cross_entropy(to_text_RG, labels_R)) / 2
        if self.reversed_weight:
            own_R = to_image_RG.gather(1, labels_R[:, None])
            loss = loss + self.reversed_weight * F.softplus(-2 * own_R).mean()
        return loss


class DifferenceMSE(DifferenceObjective):
    """Mean squared distance of the text embedding to the un-normalised image difference.

    The paper's ablation; how long the text vector is taken is not public, so it is an option.

    Args:
        unit_text: compare the unit text embedding; otherwise the embedding as the tower gives it.
    """

    def __init__(self, unit_text: bool = False) -> None:
        """See the class."""
        super().__init__()
        self.unit_text = unit_text

    def forward(self, inputs: DifferenceInputs, world: World) -> Tensor:
        """Mean over the local rows of the squared Euclidean distance; needs no other rank."""
        with torch.autocast(inputs.text.device.type, enabled=False):
            text_BD = unit(inputs.text) if self.unit_text else inputs.text.float()
            return (text_BD - raw_difference(inputs.image1, inputs.image2)).square().sum(-1).mean()


class DifferenceSigmoid(DifferenceObjective):
    """Pairwise sigmoid loss (SigLIP, arXiv 2303.15343) between texts and image differences.

    Args:
        temperature: start of the learned temperature.
        bias: start of the learned bias.
        mask_shared_images: pairs with a picture in common are left out.
        mask_same_text: pairs with the same text are left out.
        chunk_rows: as `DifferenceInfoNCE`'s.
    """

    def __init__(
        self,
        temperature: float = 0.1,
        bias: float = -10.0,
        mask_shared_images: bool = False,
        mask_same_text: bool = True,
        chunk_rows: int = CHUNK_ROWS,
    ) -> None:
        """See the class."""
        super().__init__()
        self.temperature = Temperature(temperature, learned=True)
        self.bias = nn.Parameter(torch.tensor(bias))
        self.mask_shared_images = mask_shared_images
        self.mask_same_text = mask_same_text
        self.chunk_rows = check_chunk_rows(chunk_rows)

    def forward(self, inputs: DifferenceInputs, world: World) -> Tensor:
        """Mean over the local rows of the summed log-sigmoid terms against all columns."""
        with torch.autocast(inputs.text.device.type, enabled=False):
            text_BD, direction_BD = unit(inputs.text), difference(inputs.image1, inputs.image2)
            direction_GD = world.gather(direction_BD)
            alike = _alike(inputs, world, self.mask_shared_images, self.mask_same_text)

            def mean(chunk: Chunk, text_RD: Tensor) -> Tensor:
                logits_RG = self.temperature(text_RD @ direction_GD.T) + self.bias
                own_RG = chunk.own(len(direction_GD), text_RD.device)
                terms_RG = -F.logsigmoid(torch.where(own_RG, logits_RG, -logits_RG))
                return alike.drop(chunk, terms_RG, 0.0).sum(1).mean()

            return mean_over_rows(mean, self.chunk_rows, world, text_BD)


class CaptionInfoNCE(nn.Module):
    """CLIP's symmetric InfoNCE between pictures and captions: pretraining, baseline, rehearsal.

    Args:
        temperature: softmax temperature (start, if learned).
        learn_temperature: make the temperature a parameter.
        mask_same_text: equal captions and equal pictures do not count as negatives.
        chunk_rows: as `DifferenceInfoNCE`'s.
    """

    def __init__(
        self,
        temperature: float = 0.07,
        learn_temperature: bool = False,
        mask_same_text: bool = True,
        chunk_rows: int = CHUNK_ROWS,
    ) -> None:
        """See the class."""
        super().__init__()
        self.chunk_rows = check_chunk_rows(chunk_rows)
        self.temperature = Temperature(temperature, learn_temperature)
        self.mask_same_text = mask_same_text

    def forward(self, inputs: CaptionInputs, world: World) -> Tensor:
        """Mean over the local rows of both directions' cross-entropies."""
        with torch.autocast(inputs.text.device.type, enabled=False):
            text_BD, image_BD = unit(inputs.text), unit(inputs.image)
            text_GD, image_GD = world.gather(text_BD), world.gather(image_BD)
            ways = ((0, 0), (1, 1)) if self.mask_same_text else ()
            alike = Alike.of(world, (inputs.text_id, inputs.image_id), ways)

            def mean(chunk: Chunk, text_RD: Tensor, image_RD: Tensor) -> Tensor:
                to_image_RG = similarities(chunk, text_RD, image_GD, self.temperature, alike)
                to_text_RG = similarities(chunk, image_RD, text_GD, self.temperature, alike)
                labels_R = chunk.labels(text_RD.device)
                return (F.cross_entropy(to_image_RG, labels_R) + F.cross_entropy(to_text_RG, labels_R)) / 2

            return mean_over_rows(mean, self.chunk_rows, world, text_BD, image_BD)
