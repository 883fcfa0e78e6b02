"""What a text-to-image generator offers: texts to conditioning, conditioning and seeds to pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from torch import Tensor

    from pcclip.model.towers import Towers


@dataclass(frozen=True)
class Conditioning:
    """Texts as a generator takes them. A part that the generator does not have is None.

    Attributes:
        states: (B, L, W) token states of the text tower that can be replaced.
        pooled: (B, P) one vector a text, of that tower.
        other_states: (B, L, V) token states of the generator's other encoders.
        other_pooled: (B, Q) their vectors.
    """

    states: Tensor
    pooled: Tensor | None = None
    other_states: Tensor | None = None
    other_pooled: Tensor | None = None


class Generator(ABC):
    """A generator whose (first) text tower can be replaced."""

    @abstractmethod
    def encode(self, texts: Sequence[str], tower: Towers | None = None) -> Conditioning:
        """Texts as conditioning.

        Args:
            texts: B prompts.
            tower: Reads them instead of the generator's own first text encoder; None for that one.

        Raises:
            PcclipError: The tower does not fit the generator.
        """

    @abstractmethod
    def draw(self, conditioning: Conditioning, seeds: Sequence[int]) -> list[Image.Image]:
        """One RGB picture per row.

        The same row and seed give the same picture, whatever else is drawn with it.

        Args:
            conditioning: Of B rows.
            seeds: B seeds of the noise that the pictures start from.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash that changes with the weights and with every setting that changes pictures."""


class GeneratorSource(ABC):
    """Where a generator comes from. A dataclass of settings, named by class path in a configuration."""

    @abstractmethod
    def load(self) -> Generator:
        """Loads it.

        Raises:
            PcclipError: It cannot be loaded; says why.
        """
