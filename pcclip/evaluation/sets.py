"""Evaluation sets: pictures of one split with classes, captions, attributes, prompts and questions."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from pcclip.errors import PcclipError
from pcclip.evaluation.questions import Question
from pcclip.evaluation.statistics import Doubles, Indices

COMBINATION = "combination"
HELD_OUT = "held_out"
"""A picture whose attribute `combination` is `held_out` shows attributes that training never saw together."""


class Pictures(Protocol):
    """The pictures of a split, read when they are asked for."""

    def read(self, index: int) -> Image.Image:
        """Picture number `index`, RGB.

        Raises:
            PcclipError: It cannot be decoded; the message names file and key.
        """
        ...

    def fingerprint(self) -> str:
        """A hash that changes whenever a picture or the order of the pictures does."""
        ...


@dataclass(frozen=True)
class EvaluationSet:
    """What a model is evaluated on; a `SetSource` makes it.

    Attributes:
        name: Of the set, as in the metrics' names.
        split: Name of the split.
        path: File or folder that it was read from, for messages.
        keys: Keys of the N pictures, each once.
        pictures: Of the same order.
        classes: Class names, maybe none.
        labels: (N,) index into `classes`; -1 for all where there are no classes.
        prompts: Prompt templates with one `{}`.
        held_out_prompts: The same, never used in training; maybe none.
        questions: Maybe none.
        attributes: (N,) attributes of each picture; empty where there are none.
        captions: (N,) captions of each picture; empty where there are none.
    """

    name: str
    split: str
    path: Path
    keys: tuple[str, ...]
    pictures: Pictures
    classes: tuple[str, ...]
    labels: Indices
    prompts: tuple[str, ...] = ()
    held_out_prompts: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()
    attributes: tuple[dict[str, Any], ...] = ()
    captions: tuple[tuple[str, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def evaluated(self) -> str:
        """Name and split: `eurosat/test`."""
        return f"{self.name}/{self.split}"

    def image(self, index: int) -> Image.Image:
        """The decoded picture, RGB.

        Args:
            index: 0 .. N - 1.

        Raises:
            PcclipError: It cannot be decoded; the message names file and key.
        """
        return self.pictures.read(index)

    def fingerprint(self) -> str:
        """A hash of all keys and pictures in their order: what image features depend on."""
        digest = hashlib.sha256(self.pictures.fingerprint().encode())
        for key in self.keys:
            digest.update(hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest())
        return digest.hexdigest()

    def values(self, question: Question) -> tuple[Doubles, tuple[str, ...]]:
        """The attribute that a question asks about, of every picture.

        Returns:
            (N,) numbers, NaN for a picture without the attribute. For a category, numbers are indices into
            the names returned beside them, the values that the question lists; for a degree there are none.

        Raises:
            PcclipError: A picture's value is not a number (degree) or not listed (category).
        """
        names = tuple(question.phrases) if question.kind == "category" else ()
        numbers = {name: float(index) for index, name in enumerate(names)}
        out = np.full(len(self), np.nan)
        for index, attributes in enumerate(self.attributes):
            value = attributes.get(question.attribute)
            if value is None:
                continue
            number: Any = numbers.get(value) if names and isinstance(value, str) else value
            if number is None or isinstance(number, bool | str) or (names and not isinstance(value, str)):
                wanted = f"one of {', '.join(names)}" if names else "a number"
                raise PcclipError(
                    f"{self.path}: picture {self.keys[index]!r} of split {self.split!r} has "
                    f"{question.attribute!r} = {value!r}, which should be {wanted}. "
                    "Mend the record, or the question in evaluation.json."
                )
            out[index] = number
        return out, names


class SetSource(ABC):
    """Where an evaluation set comes from: a folder or an archive in one layout. A dataclass of settings."""

    @abstractmethod
    def load(self, split: str) -> EvaluationSet:
        """Reads one split.

        Args:
            split: `train`, `validation` or `test`, or another name that the source has.

        Raises:
            PcclipError: The source is absent or broken, or has no such split.
        """
