"""Losses over embeddings: plain modules over tensors, told rank and world size.

Shape letters: B pairs of this rank, G pairs of all ranks, D embedding width.
Under DDP every rank scores its own B rows against all G columns. Gathered embeddings carry
gradients, so that after DDP's mean over ranks the gradient is that of one process on all G pairs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from pcclip.geometry import difference, raw_difference, unit


class _Gather(torch.autograd.Function):
    """all_gather whose backward sums the gradients that all ranks have for this rank's rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, world: World) -> Tensor:
        ctx.rows, ctx.rank = len(rows), world.rank
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(world.size)]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        total = grads[0].contiguous()
        dist.all_reduce(total)
        return total[ctx.rank * ctx.rows : (ctx.rank + 1) * ctx.rows], None


@dataclass(frozen=True)
class World:
    """Where this process stands among the training processes."""

    rank: int = 0
    size: int = 1

    def gather(self, rows: Tensor) -> Tensor:
        """Stack the rows of all ranks in rank order, with gradients: (B, ...) -> (G, ...)."""
        if self.size == 1:
            return rows
        return _Gather.apply(rows, self)  # type: ignore[no-any-return]


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


def _shared(ids1_B: Tensor, ids2_B: Tensor, ids1_G: Tensor, ids2_G: Tensor) -> Tensor:
    """(B, G) mask of pairs that have a picture in common."""
    hits = [a[:, None] == b[None, :] for a in (ids1_B, ids2_B) for b in (ids1_G, ids2_G)]
    return hits[0] | hits[1] | hits[2] | hits[3]


def _own(rows: int, columns: int, world: World, device: torch.device) -> Tensor:
    """(B, G) mask of each local row's own column in the gathered batch."""
    labels = torch.arange(rows, device=device) + world.rank * rows
    return torch.arange(columns, device=device)[None, :] == labels[:, None]


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
    """

    def __init__(
        self,
        temperature: float = 0.07,
        learn_temperature: bool = False,
        mask_shared_images: bool = False,
        mask_same_text: bool = True,
        reversed_negative: bool = False,
        reversed_weight: float = 0.0,
    ) -> None:
        """See the class."""
        super().__init__()
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
            rows, columns = len(text_BD), len(text_GD)
            own_BG = _own(rows, columns, world, text_BD.device)
            ignore_BG = self._ignored(inputs, world) & ~own_BG
            to_image_BG = self.temperature(text_BD @ direction_GD.T).masked_fill(ignore_BG, -torch.inf)
            to_text_BG = self.temperature(direction_BD @ text_GD.T).masked_fill(ignore_BG, -torch.inf)
            labels_B = torch.arange(rows, device=text_BD.device) + world.rank * rows
            if self.reversed_negative:
                opposite_B1 = -to_image_BG.gather(1, labels_B[:, None])
                to_image_BG = torch.cat([to_image_BG, opposite_B1], dim=1)
            loss = (F.cross_entropy(to_image_BG, labels_B) + F.cross_entropy(to_text_BG, labels_B)) / 2
            if self.reversed_weight:
                own_B = to_image_BG.gather(1, labels_B[:, None])
                loss = loss + self.reversed_weight * F.softplus(-2 * own_B).mean()
            return loss

    def _ignored(self, inputs: DifferenceInputs, world: World) -> Tensor:
        ids = (inputs.image1_id, inputs.image2_id, inputs.text_id)
        image1_G, image2_G, text_G = (world.gather(i) for i in ids)
        ignore_BG = torch.zeros(len(ids[0]), len(text_G), dtype=torch.bool, device=text_G.device)
        if self.mask_shared_images:
            ignore_BG = ignore_BG | _shared(inputs.image1_id, inputs.image2_id, image1_G, image2_G)
        if self.mask_same_text:
            ignore_BG = ignore_BG | (inputs.text_id[:, None] == text_G[None, :])
        return ignore_BG


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
    """

    def __init__(
        self,
        temperature: float = 0.1,
        bias: float = -10.0,
        mask_shared_images: bool = False,
        mask_same_text: bool = True,
    ) -> None:
        """See the class."""
        super().__init__()
        self.temperature = Temperature(temperature, learned=True)
        self.bias = nn.Parameter(torch.tensor(bias))
        self.masks = DifferenceInfoNCE(mask_shared_images=mask_shared_images, mask_same_text=mask_same_text)

    def forward(self, inputs: DifferenceInputs, world: World) -> Tensor:
        """Mean over the local rows of the summed log-sigmoid terms against all columns."""
        with torch.autocast(inputs.text.device.type, enabled=False):
            text_BD, direction_BD = unit(inputs.text), difference(inputs.image1, inputs.image2)
            direction_GD = world.gather(direction_BD)
            own_BG = _own(len(text_BD), len(direction_GD), world, text_BD.device)
            logits_BG = self.temperature(text_BD @ direction_GD.T) + self.bias
            terms_BG = -F.logsigmoid(torch.where(own_BG, logits_BG, -logits_BG))
            keep_BG = own_BG | ~self.masks._ignored(inputs, world)
            return terms_BG.masked_fill(~keep_BG, 0).sum(1).mean()


class CaptionInfoNCE(nn.Module):
    """CLIP's symmetric InfoNCE between pictures and captions: pretraining, baseline, rehearsal.

    Args:
        temperature: softmax temperature (start, if learned).
        learn_temperature: make the temperature a parameter.
        mask_same_text: equal captions and equal pictures do not count as negatives.
    """

    def __init__(
        self, temperature: float = 0.07, learn_temperature: bool = False, mask_same_text: bool = True
    ) -> None:
        """See the class."""
        super().__init__()
        self.temperature = Temperature(temperature, learn_temperature)
        self.mask_same_text = mask_same_text

    def forward(self, inputs: CaptionInputs, world: World) -> Tensor:
        """Mean over the local rows of both directions' cross-entropies."""
        with torch.autocast(inputs.text.device.type, enabled=False):
            text_BD, image_BD = unit(inputs.text), unit(inputs.image)
            text_GD, image_GD = world.gather(text_BD), world.gather(image_BD)
            rows = len(text_BD)
            own_BG = _own(rows, len(text_GD), world, text_BD.device)
            ignore_BG = torch.zeros_like(own_BG)
            if self.mask_same_text:
                text_G, image_G = world.gather(inputs.text_id), world.gather(inputs.image_id)
                ignore_BG = inputs.text_id[:, None] == text_G[None, :]
                ignore_BG = (ignore_BG | (inputs.image_id[:, None] == image_G[None, :])) & ~own_BG
            to_image_BG = self.temperature(text_BD @ image_GD.T).masked_fill(ignore_BG, -torch.inf)
            to_text_BG = self.temperature(image_BD @ text_GD.T).masked_fill(ignore_BG, -torch.inf)
            labels_B = torch.arange(rows, device=text_BD.device) + world.rank * rows
            return (F.cross_entropy(to_image_BG, labels_B) + F.cross_entropy(to_text_BG, labels_B)) / 2
