"""A small evaluation set on disk, and encoders whose right answers are known."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pcclip.data.records import Picture
from pcclip.data.shards import ShardSetWriter
from pcclip.evaluation.encoding.encoders import CachedEncoders, Encoders
from pcclip.evaluation.protocol import Subject
from pcclip.evaluation.sets import EvaluationSet
from pcclip.evaluation.sources.prepared import Prepared

COLOURS = ("red", "green", "blue", "yellow", "black", "white")
DIM = 16


def evaluation_json() -> dict[str, Any]:
    degree = {
        "attribute": "size",
        "kind": "degree",
        "more": "larger",
        "less": "smaller",
        "positive": "a large thing",
        "negative": "a small thing",
        "margin": 0.02,
        "wordings": [
            {"id": "d1", "held_out": False, "text": "the first thing is {more} than the second"},
            {"id": "d2", "held_out": False, "text": "picture two holds a {less} thing"},
            {"id": "d3", "held_out": True, "text": "{more} is what picture one shows"},
        ],
    }
    category = {
        "attribute": "colour",
        "kind": "category",
        "values": {colour: f"a {colour} thing" for colour in COLOURS},
        "wordings": [
            {"id": "c1", "held_out": False, "text": "a {first} thing instead of a {second} one"},
            {"id": "c2", "held_out": True, "text": "the second is {second} and the first {first}"},
        ],
    }
    return {
        "schema": 1,
        "name": "planted",
        "classes": list(COLOURS),
        "prompts": {"seen": ["a picture of a {} thing", "{} thing"], "held_out": ["something {}"]},
        "questions": [degree, category],
        "splits": {"test": "pictures/test"},
    }


def pictures(count: int = 120) -> list[Picture]:
    rng = np.random.default_rng(0)
    made = []
    for number in range(count):
        stream = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (20, 24, 3), dtype=np.uint8)).save(stream, "jpeg")
        colour = COLOURS[number % len(COLOURS)]
        attributes: dict[str, float | str] = {
            "size": float(rng.uniform(0.1, 1)),
            "colour": colour,
            "combination": "held_out" if number % 5 == 0 else "seen",
        }
        made.append(Picture(f"p{number:04d}", stream.getvalue(), class_name=colour, attributes=attributes))
    return made


def write(folder: Path, made: list[Picture], description: dict[str, Any] | None = None) -> Path:
    with ShardSetWriter(folder / "pictures" / "test", kind="pictures", records_per_shard=50) as writer:
        for picture in made:
            writer.write_picture(picture)
    (folder / "evaluation.json").write_text(json.dumps(description or evaluation_json()))
    return folder


def load_prepared(path: Path, split: str, allow_empty_classes: bool = False) -> EvaluationSet:
    return Prepared(str(path), allow_empty_classes).load(split)


def subject(encoders: Encoders, evaluation_set: EvaluationSet, features: np.ndarray) -> Subject:
    cached = encoders if isinstance(encoders, CachedEncoders) else CachedEncoders(encoders)
    return Subject(cached, evaluation_set, features)


def planted_features(evaluation_set: EvaluationSet) -> np.ndarray:
    """Unit rows in which axis 0 is the size and axes 1.. are the colours."""
    rows = np.zeros((len(evaluation_set), DIM), np.float32)
    for row, attributes in zip(rows, evaluation_set.attributes, strict=True):
        row[0] = attributes["size"]
        row[1 + COLOURS.index(attributes["colour"])] = 1
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class PlantedEncoders:
    """Text embeddings that are right about `planted_features`, or wrong in a known way.

    `statements` is `perfect`, `inverted` (points the other way) or `blind` (the same for a sentence and its
    reverse); phrases and prompts are right always.
    """

    def __init__(self, evaluation_set: EvaluationSet, statements: str = "perfect") -> None:
        self.calls: list[list[str]] = []
        self.known: dict[str, np.ndarray] = {"a large thing": axis(0), "a small thing": -axis(0)}
        for number, colour in enumerate(COLOURS):
            self.known[f"a {colour} thing"] = axis(1 + number)
            for prompt in evaluation_set.prompts + evaluation_set.held_out_prompts:
                self.known[prompt.format(colour)] = axis(1 + number)
        for question in evaluation_set.questions:
            for wording in question.wordings:
                for first in question.phrases:
                    for second in question.phrases:
                        if first == second:
                            continue
                        text = question.statement(wording, first, second)
                        right = self.known[question.phrases[first]] - self.known[question.phrases[second]]
                        blind = random_row(wording.id)
                        rows = {"perfect": right, "inverted": -right, "blind": blind}
                        self.known[text] = rows[statements] / np.linalg.norm(rows[statements])

    def encode_images(self, pixels: Tensor) -> Tensor:
        raise AssertionError("image embeddings are given")

    def encode_texts(self, texts: list[str]) -> Tensor:
        self.calls.append(texts)
        return torch.from_numpy(np.stack([self.known[text] for text in texts])).float()


def axis(number: int) -> np.ndarray:
    return np.eye(DIM)[number]


def random_row(name: str) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return np.random.default_rng(seed).normal(size=DIM)
