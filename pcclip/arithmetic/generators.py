"""What a text-to-image generator offers: texts to conditioning, conditioning and seeds to pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
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

    def __len__(self) -> int:
        return len(self.states)

    def parts(self) -> dict[str, Tensor]:
        """The parts that there are, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: part for name, part in values.items() if part is not None}

    def select(self, rows: slice | Sequence[int]) -> Conditioning:
        """Some rows, in the order given."""
        picked = rows if isinstance(rows, slice) else list(rows)
        return Conditioning(**{name: part[picked] for name, part in self.parts().items()})

    @staticmethod
    def concatenate(conditionings: Sequence[Conditioning]) -> Conditioning:
        """Rows of several, which have the same parts."""
        import torch

        names = conditionings[0].parts()
        return Conditioning(**{n: torch.cat([c.parts()[n] for c in conditionings]) for n in names})


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

    def cost(self) -> dict[str, float]:
        """What `draw` has cost since loading, for reports; empty where it is not measured.

        Returns:
            `pictures` drawn, `seconds` that took, `seconds_per_picture` and `peak_memory_gib` (of the GPU
            that draws, else of the process).
        """
        return {}


class GeneratorSource(ABC):
    """Where a generator comes from. A dataclass of settings, named by class path in a configuration."""

    @abstractmethod
    def load(self) -> Generator:
        """Loads it.

        Raises:
            PcclipError: It cannot be loaded; says why.
        """
