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


def comparative_update(
    classes_CD: Tensor, reference_K: Tensor, updated_K: Tensor, comparisons_KD: Tensor, alpha: float
) -> Tensor:
    """Class embeddings moved by texts of how classes differ (arXiv 2409.09721, comparative prompting).

    Of a text c on how class a differs from class b, `t_a - c` is another estimate of `t_b`:
    `t_b' = unit(alpha * t_b + (1 - alpha) * mean over b's rows of (t_a - c))`. All rows read the classes as
    they were.

    Args:
        classes_CD: (C, D) unit embeddings t of the classes.
        reference_K: (K,) index of each comparison's class a.
        updated_K: (K,) index of its class b; several rows may have the same.
        comparisons_KD: (K, D) embeddings c.
        alpha: share of the class as it was; 1 changes nothing, to the last bit.

    Returns:
        (C, D) fp32; classes that no comparison updates stay as they are.
    """
    before_CD = classes_CD.float()
    if alpha == 1:
        return before_CD.clone()
    estimates_KD = before_CD[reference_K] - comparisons_KD.float()
    sums_CD = torch.zeros_like(before_CD).index_add(0, updated_K, estimates_KD)
    counts_C = torch.bincount(updated_K, minlength=len(before_CD))
    means_CD = sums_CD / counts_C.clamp(min=1)[:, None]
    moved_CD = unit(alpha * before_CD + (1 - alpha) * means_CD)
    return torch.where(counts_C[:, None] > 0, moved_CD, before_CD)
