"""A set of named classes with a few grey pictures each, for tables and sheets."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pcclip.errors import PcclipError
from pcclip.evaluation.sets import EvaluationSet, SetSource


@dataclass(frozen=True)
class Grey:
    def read(self, index: int) -> Image.Image:
        return Image.new("RGB", (8, 8), (index % 256, 0, 0))

    def fingerprint(self) -> str:
        return "grey"


@dataclass
class Classes(SetSource):
    """Keys are NUMBER-SPLIT, so that a class's pictures do not lie together."""

    names: list[str]
    each: int = 2
    name: str = "some"
    attributes: list[dict[str, Any]] = field(default_factory=list)

    def load(self, split: str) -> EvaluationSet:
        if split not in ("test", "validation"):
            raise PcclipError(f"no split {split!r}")
        count = len(self.names) * self.each
        return EvaluationSet(
            name=self.name,
            split=split,
            path=Path("some-set"),
            keys=tuple(f"{number:04d}-{split}" for number in range(count)),
            pictures=Grey(),
            classes=tuple(self.names),
            labels=np.arange(count) % len(self.names),
            prompts=("a photo of a {}",),
            attributes=tuple(self.attributes),
        )


def by_class(data: EvaluationSet, attribute: str) -> dict[str, Any]:
    """What the pictures of each class have; fails where they are not alike."""
    found: dict[str, Any] = {}
    for label, attributes in zip(data.labels, data.attributes, strict=True):
        value = attributes.get(attribute)
        assert found.setdefault(data.classes[label], value) == value
    return found
