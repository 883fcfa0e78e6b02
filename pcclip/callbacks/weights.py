"""Weights that a module wears for a while: the base model's, or others between them and its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import Tensor

from pcclip.evaluation.encoding.encoders import TowerEncoders
from pcclip.training import DifferenceTraining


class BaseEncoders:
    """Encoders of the base model, whose weights are put in for as long as they encode.

    Args:
        module: Whose base model.
    """

    def __init__(self, module: DifferenceTraining) -> None:
        """See the class."""
        self._module = module
        self._worn = False

    @contextmanager
    def worn(self) -> Iterator[None]:
        """Puts the base weights in once, for many calls."""
        with other_weights(self._module, self._module.base_weights):
            self._worn = True
            try:
                yield
            finally:
                self._worn = False

    def encode_images(self, pixels: Tensor) -> Tensor:
        """An `ImageEncoder`."""
        with nullcontext() if self._worn else self.worn():
            return TowerEncoders(self._module.towers, self._module.device).encode_images(pixels)

    def encode_texts(self, texts: list[str]) -> Tensor:
        """A `TextEncoder`."""
        with nullcontext() if self._worn else self.worn():
            return TowerEncoders(self._module.towers, self._module.device).encode_texts(texts)


@contextmanager
def other_weights(module: DifferenceTraining, weights: dict[str, Tensor]) -> Iterator[None]:
    """Other tower weights for a while."""
    kept: dict[str, Any] = {n: p.detach().clone() for n, p in module.tower_weights()}
    module.set_tower_weights(weights)
    try:
        yield
    finally:
        module.set_tower_weights(kept)
