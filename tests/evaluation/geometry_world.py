"""Text and image spaces whose geometry is known."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from planted import COLOURS, load_prepared, pictures, subject, write
from torch import Tensor

from pcclip.evaluation.protocol import EvaluationProtocol
from pcclip.evaluation.questions import Question, Wording
from pcclip.evaluation.sets import EvaluationSet

DIM = 24
ATTRIBUTES = ("size", "light", "speed", "weight")
WAYS = (("positive", "negative"), ("negative", "positive"))


class Texts:
    """Embeddings by a function of the text."""

    def __init__(self, embed: Callable[[str], np.ndarray]) -> None:
        self.embed = embed

    def encode_images(self, pixels: Tensor) -> Tensor:
        raise AssertionError("image embeddings are given")

    def encode_texts(self, texts: list[str]) -> Tensor:
        rows = np.stack([self.embed(text) for text in texts])
        return torch.from_numpy(rows / np.linalg.norm(rows, axis=1, keepdims=True)).float()


def degree(attribute: str) -> Question:
    wordings = (
        Wording("d1", False, "one is {more} than two"),
        Wording("d2", False, "two is {less}"),
        Wording("d3", True, "{more} is one"),
    )
    phrases = {"positive": f"much {attribute}", "negative": f"little {attribute}"}
    return Question(attribute, "degree", wordings, f"more-{attribute}", f"less-{attribute}", phrases, 0.0)


def make_world(folder: Path) -> EvaluationSet:
    """Colours as classes, and as values of a question; four questions about degrees."""
    data = load_prepared(write(folder, pictures(60)), "test")
    colour = next(question for question in data.questions if question.attribute == "colour")
    return replace(data, questions=(*map(degree, ATTRIBUTES), colour))


def axis(number: int) -> np.ndarray:
    return np.eye(DIM)[number]


def meaning(text: str) -> np.ndarray:
    """A linear space: what a text names, added up; a colour named second is taken away."""
    found = np.zeros(DIM)
    for number, colour in enumerate(COLOURS):
        comparing = "instead of a" in text or "the second is" in text
        if comparing:
            first = f"a {colour} thing instead" in text or f"the first {colour}" in text
            second = f"of a {colour} one" in text or f"the second is {colour}" in text
            found += (float(first) - float(second)) * axis(number)
        elif colour in text.replace(",", "").split():
            found += axis(number)
    for number, attribute in enumerate(ATTRIBUTES, start=len(COLOURS)):
        more = f"more-{attribute}" in text or f"much {attribute}" in text
        less = f"less-{attribute}" in text or f"little {attribute}" in text
        sign = -1 if text.startswith("two is") else 1
        found += (float(more) - float(less)) * sign * axis(number)
    return found


def features(data: EvaluationSet, spread: float = 0.0) -> np.ndarray:
    rows = np.stack([axis(label) for label in data.labels])
    rows = rows + spread * np.random.default_rng(0).normal(size=rows.shape)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def run(
    protocol: EvaluationProtocol, data: EvaluationSet, embed: Callable[[str], np.ndarray], spread: float = 0.0
) -> dict[str, float]:
    values = protocol.run(subject(Texts(embed), data, features(data, spread))).values()
    return {name.removeprefix("geometry/planted"): value for name, value in values.items()}


def noise(text: str) -> np.ndarray:
    """Embeddings that mean nothing."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
    row = np.random.default_rng(seed).normal(size=DIM)
    return row / np.linalg.norm(row)


def compares(text: str) -> bool:
    return " instead of a " in text or "the second is" in text
