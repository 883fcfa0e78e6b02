"""Unit vectors, difference vectors and weight interpolation: tensors in, tensors out.

Shape letters: B batch, D embedding width.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor


def unit(vectors_BD: Tensor) -> Tensor:
    """Scale each row to length 1, in fp32.

    Args:
        vectors_BD: (..., D) vectors of any floating type.

    Returns:
        (..., D) fp32 unit vectors; a zero row stays zero.
    """
    return F.normalize(vectors_BD.float(), dim=-1)


def difference(image1_BD: Tensor, image2_BD: Tensor) -> Tensor:
    """Direction in which picture 1 differs from picture 2 (arXiv 2409.09721, section 3).

    `d12 = unit(unit(g(I1)) - unit(g(I2)))`; swapping the pictures flips its sign.

    Args:
        image1_BD: (B, D) embeddings of the first pictures, of any length.
        image2_BD: (B, D) embeddings of the second pictures.

    Returns:
        (B, D) fp32 unit vectors; zero where both embeddings point the same way.
    """
    return unit(unit(image1_BD) - unit(image2_BD))


def raw_difference(image1_BD: Tensor, image2_BD: Tensor) -> Tensor:
    """Difference of the two unit embeddings, its length kept: the target of the MSE ablation.

    Args:
        image1_BD: (B, D) embeddings of the first pictures.
        image2_BD: (B, D) embeddings of the second pictures.

    Returns:
        (B, D) fp32 vectors of length 0 to 2.
    """
    return unit(image1_BD) - unit(image2_BD)


def interpolate(base: Mapping[str, Tensor], tuned: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """Weights on the straight line from the base to the tuned model.

    Args:
        base: name -> tensor of the base model.
        tuned: the same names, of the tuned model.
        alpha: 0 gives the base, 1 the tuned model; both ends exactly.

    Returns:
        name -> `alpha * tuned + (1 - alpha) * base`.

    Raises:
        ValueError: if the two do not hold the same names.
    """
    if base.keys() != tuned.keys():
        odd = sorted(base.keys() ^ tuned.keys())
        raise ValueError(f"base and tuned weights differ in their names: {odd[:5]}")
    if alpha in (0, 1):
        return {name: tensor.clone() for name, tensor in (tuned if alpha else base).items()}
    return {name: torch.lerp(base[name], tuned[name], alpha) for name in base}
