"""What a captioned picture set gives to `pcclip prepare`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pcclip.data.records import Picture
from pcclip.generation.vocabulary import Attribute, References

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass
class Source(ABC):
    """A set of pictures with captions, classes and attributes, in three splits.

    Subclasses are dataclasses: their fields are what a recipe sets and, but for those named in `places`, what
    its fingerprint is made of. Everything a source yields depends on its fields alone.
    """

    name: ClassVar[str]
    licence: ClassVar[str]
    places: ClassVar[tuple[str, ...]] = ()
    """Fields that say where files lie, not what is in them."""

    @abstractmethod
    def attributes(self) -> tuple[Attribute, ...]:
        """What can differ between two pictures, with the words for it."""

    @abstractmethod
    def references(self) -> tuple[References, ...]:
        """Ways to call the two pictures of a pair."""

    @abstractmethod
    def classes(self) -> list[str]:
        """Class names as they stand in prompts."""

    @abstractmethod
    def prompts(self) -> dict[str, list[str]]:
        """Zero-shot prompts with a slot `{}`: `seen` and `held_out`."""

    @abstractmethod
    def count(self, split: Split) -> int:
        """How many pictures a split has."""

    @abstractmethod
    def pictures(self, split: Split) -> Iterator[Picture]:
        """The pictures of a split, always in the same order."""

    def notes(self) -> dict[str, Any]:
        """More that `evaluation.json` should hold, such as which classes were held out."""
        return {}

    def material(self) -> dict[str, Any]:
        """What beside the fields decides the pictures and captions: versions, templates."""
        return {}
