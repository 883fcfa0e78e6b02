"""A world in which one of two classes is always taken for the other, and texts that can mend it or not."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pcclip.evaluation.encoding.encoders import CachedEncoders
from pcclip.evaluation.protocol import Subject
from pcclip.evaluation.sets import EvaluationSet

CLASSES = ("maple", "oak", "cat", "dog")
DIM = 16
AXES = np.eye(DIM, dtype=np.float32)
SPLITS = ("train", "validation", "test")


class NoPictures:
    """Image embeddings are given."""

    def read(self, index: int) -> Image.Image:
        raise AssertionError

    def fingerprint(self) -> str:
        return ""


class KnownTexts:
    """A text tower that knows some texts by heart."""

    def __init__(self, known: dict[str, np.ndarray]) -> None:
        self.known = known

    def encode_images(self, pixels: Tensor) -> Tensor:
        raise AssertionError

    def encode_texts(self, texts: list[str]) -> Tensor:
        rows = np.stack([self.known[text] for text in texts])
        return torch.from_numpy(rows / np.linalg.norm(rows, axis=1, keepdims=True)).float()


@dataclass
class World:
    """Splits and a text tower; a base model, where the tower was finetuned."""

    known: dict[str, np.ndarray]
    sets: dict[str, EvaluationSet]
    features: dict[str, np.ndarray]
    base: World | None = None
    encoders: CachedEncoders = field(init=False)

    def __post_init__(self) -> None:
        self.encoders = CachedEncoders(KnownTexts(self.known))

    def subject(self, split: str = "test") -> Subject:
        before = None if self.base is None else lambda: self.base.subject(split)
        return Subject(self.encoders, self.sets[split], self.features[split], self.subject, before)

    def reordered(self, order: list[int]) -> World:
        """The same with its classes in another order, and its pictures too."""
        sets, features = {}, {}
        for split, one in self.sets.items():
            rows = np.random.default_rng(1).permutation(len(one))
            sets[split] = replace(
                one,
                keys=tuple(one.keys[row] for row in rows),
                classes=tuple(one.classes[index] for index in order),
                labels=np.argsort(order)[one.labels[rows]],
            )
            features[split] = self.features[split][rows]
        return World(self.known, sets, features)


def make_set(split: str, labels: np.ndarray, classes: tuple[str, ...] = CLASSES) -> EvaluationSet:
    return EvaluationSet(
        name="trees",
        split=split,
        path=Path("trees"),
        keys=tuple(f"p{number}" for number in range(len(labels))),
        pictures=NoPictures(),
        classes=classes,
        labels=labels,
        prompts=("{}",),
    )


def confusable(sense: float = 1, per_class: int = 12) -> World:
    """Oaks lie between the maples' axis and one of their own, which their name ignores.

    Args:
        sense: 1 where texts on how classes differ are right, -1 where they point the other way.
        per_class: Pictures of each class in each split.
    """
    centres = AXES[:4].copy()
    centres[1] = AXES[1] + 0.5 * AXES[0]
    known = dict(zip(CLASSES, AXES[:4], strict=True)) | {"oak": AXES[0] + 0.2 * AXES[4]}
    for a, of_a in zip(CLASSES, AXES, strict=False):
        known |= {f"{a}, not {b}": sense * (of_a - of_b) for b, of_b in zip(CLASSES, AXES, strict=False)}
    labels = np.tile(np.arange(4), per_class)
    features = centres[labels] / np.linalg.norm(centres[labels], axis=1, keepdims=True)
    return World(known, {split: make_set(split, labels) for split in SPLITS}, dict.fromkeys(SPLITS, features))


def meaningless(seed: int, pictures: int = 240) -> World:
    """Labels, pictures and texts that have nothing to do with each other."""
    rng = np.random.default_rng(seed)
    names = ("a", "b", "c", "d", "e", "f")
    known = {name: rng.normal(size=DIM) for name in names}
    known |= {f"{a}, not {b}": rng.normal(size=DIM) for a in names for b in names}
    sets = {split: make_set(split, rng.integers(0, 6, pictures), names) for split in SPLITS}
    features = {split: rng.normal(size=(pictures, DIM)).astype(np.float32) for split in SPLITS}
    return World(known, sets, {split: rows / np.linalg.norm(rows, axis=1, keepdims=True)
                               for split, rows in features.items()})  # fmt: skip
