"""What a captioned picture set gives: to a language model, to the rule writer, and to `pcclip prepare`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from pcclip.data.records import Picture
from pcclip.generation.vocabulary import Attribute, References

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


class CaptionedPictures(ABC):
    """Pictures with captions, in up to three splits: all that a language model needs.

    Subclasses are dataclasses: their fields are what a recipe sets and, but for those named in `places`, what
    its fingerprint is made of, together with `material`.
    """

    places: ClassVar[tuple[str, ...]] = ()
    """Fields that say where files lie, not what is in them."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Of the set; keys of records made from it start with it."""

    @property
    @abstractmethod
    def licence(self) -> str:
        """Under what terms pictures and captions may be used, and whom to name."""

    @abstractmethod
    def count(self, split: Split) -> int:
        """How many pictures a split has; 0 where the set has no such split."""

    @abstractmethod
    def pictures(self, split: Split) -> Iterator[Picture]:
        """The pictures of a split with their bytes, always in the same order; each has a caption."""

    @abstractmethod
    def image(self, key: str) -> bytes:
        """The encoded file of one picture.

        Raises:
            PcclipError: The set has no such picture, or not its file.
        """

    def texts(self, split: Split) -> Iterator[Picture]:
        """As `pictures`, in the same order, with `image` empty: no picture file is read for them."""
        for picture in self.pictures(split):
            yield replace(picture, image=b"")

    def skipped(self) -> dict[str, int]:
        """What was left out, by reason; complete once `count` was asked."""
        return {}

    def material(self) -> dict[str, Any]:
        """What beside the fields decides the pictures and captions: versions, templates, digests of files."""
        return {}


class DescribedPictures(CaptionedPictures):
    """Captioned pictures whose attributes have words, so that differences can be written by rules."""

    @abstractmethod
    def attributes(self) -> tuple[Attribute, ...]:
        """What can differ between two pictures, with the words for it."""

    @abstractmethod
    def references(self) -> tuple[References, ...]:
        """Ways to call the two pictures of a pair."""


@dataclass
class Source(DescribedPictures):
    """A whole world, to train and evaluate on: three splits with captions, classes and attributes."""

    name: ClassVar[str]
    licence: ClassVar[str]

    @abstractmethod
    def classes(self) -> list[str]:
        """Class names as they stand in prompts."""

    @abstractmethod
    def prompts(self) -> dict[str, list[str]]:
        """Zero-shot prompts with a slot `{}`: `seen` and `held_out`."""

    def notes(self) -> dict[str, Any]:
        """More that `evaluation.json` should hold, such as which classes were held out."""
        return {}
