"""Makes small sets in the layouts of their releases, and compares what sources read with what was made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from pcclip.evaluation.sets import EvaluationSet


def colour(number: int) -> tuple[int, int, int]:
    """A colour of its own for each number below 4096."""
    return (number % 16) * 16, (number // 16 % 16) * 16, (number // 256) * 16


def save(file: Path, number: int, size: tuple[int, int] = (12, 10)) -> None:
    """A plain picture, PNG whatever its extension, so that its colour survives."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour(number)).save(file, "PNG")


def shown(found: EvaluationSet, index: int) -> tuple[int, int, int]:
    """The colour of a picture of a set."""
    return tuple(int(c) for c in np.asarray(found.image(index))[0, 0])  # type: ignore[return-value]


def spoken(found: EvaluationSet) -> list[str]:
    """The class name of each picture."""
    return [found.classes[label] for label in found.labels]


def partition(parts: list[EvaluationSet], whole: EvaluationSet) -> None:
    """Asserts that splits share a whole out, nothing lost or doubled."""
    keys = [key for part in parts for key in part.keys]
    assert len(keys) == len(set(keys))
    assert sorted(keys) == sorted(whole.keys)
    assert all(len(part) for part in parts)
