"""A set with every combination of its attributes, and encoders whose right answers are known."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pcclip.evaluation.questions import Question, Wording
from pcclip.evaluation.sets import EvaluationSet
from pcclip.evaluation.sources.pictures import ArrayPictures

KINDS, COLOURS, SIZES = ("circle", "square", "star"), ("red", "green", "blue"), (0.2, 0.8)
VALUES = (*KINDS, *COLOURS, "negative", "positive")
QUERIES = 18 * (2 + 2 + 1)


def question(attribute: str, names: tuple[str, ...]) -> Question:
    wordings = (
        Wording("c1", False, "{first} instead of {second}"),
        Wording("c2", True, "not {second} but {first}"),
    )
    phrases = {name: f"a {name} thing" for name in names}
    return Question(attribute, "category", wordings, "", "", phrases, 0.0)


SIZE = Question(
    "size",
    "degree",
    (Wording("d1", False, "the first is {more}"), Wording("d2", True, "{more} is the first")),
    "larger",
    "smaller",
    {"positive": "a large thing", "negative": "a small thing"},
    0.1,
)


def world(split: str = "test", sizes: tuple[float, ...] = SIZES) -> EvaluationSet:
    combinations = list(itertools.product(KINDS, COLOURS, sizes))
    attributes = tuple({"kind": k, "colour": c, "size": s} for k, c, s in combinations)
    keys = tuple(f"{k}-{c}-{s}" for k, c, s in combinations)
    pixels = ArrayPictures(np.zeros((len(keys), 2, 2, 3), np.uint8))
    labels = np.full(len(keys), -1, np.int64)
    questions = (question("kind", KINDS), question("colour", COLOURS), SIZE)
    return EvaluationSet(
        "world", split, Path("world"), keys, pixels, (), labels, questions=questions, attributes=attributes
    )


def axis(name: str) -> np.ndarray:
    return np.eye(len(VALUES), dtype=np.float32)[VALUES.index(name)]


def features(data: EvaluationSet) -> np.ndarray:
    """Unit rows with a one for each value; sizes lie on the arc from small to large."""
    rows = np.zeros((len(data), len(VALUES)), np.float32)
    for row, one in zip(rows, data.attributes, strict=True):
        turn = np.pi / 2 * (one["size"] - 0.2) / 0.6
        row += axis(one["kind"]) + axis(one["colour"])
        row += np.float32(np.cos(turn)) * axis("negative") + np.float32(np.sin(turn)) * axis("positive")
    return rows / np.sqrt(np.float32(3))


class WorldEncoders:
    """Texts as sums of what they name; a statement is the value of the first less that of the second.

    Args:
        seen: Sign of the statements in wordings seen in training; 0: every statement says the same.
        held_out: The same of held-out wordings.
    """

    def __init__(self, seen: int = 1, held_out: int = 1) -> None:
        self._signs = {False: seen, True: held_out}
        self._known: dict[str, np.ndarray] = {}
        for one in world().questions:
            values = tuple(one.phrases)
            for wording in one.wordings:
                for first, second in itertools.permutations(values, 2):
                    sign = self._signs[wording.held_out]
                    row = sign * (axis(first) - axis(second)) if sign else np.ones(len(VALUES), np.float32)
                    self._known[one.statement(wording, first, second)] = row

    def encode_images(self, pixels: Tensor) -> Tensor:
        raise AssertionError("image embeddings are given")

    def encode_texts(self, texts: list[str]) -> Tensor:
        rows = np.stack([self._row(text) for text in texts])
        return torch.from_numpy(rows / np.linalg.norm(rows, axis=1, keepdims=True)).float()

    def _row(self, text: str) -> np.ndarray:
        if text in self._known:
            return self._known[text]
        words = text.replace("large", "positive").replace("small", "negative").replace(",", "").split()
        return np.sum([axis(word) for word in words if word in VALUES], axis=0)
