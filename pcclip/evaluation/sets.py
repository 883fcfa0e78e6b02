"""Evaluation sets: pictures of one split with classes, attributes, prompts and questions."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pcclip.data.records import Picture, decode_picture
from pcclip.data.shards import ShardIndex, resolve_shards
from pcclip.errors import PcclipError
from pcclip.evaluation.questions import Fields, Question, parse_question
from pcclip.evaluation.statistics import Doubles, Indices

SCHEMA = 1
COMBINATION = "combination"
HELD_OUT = "held_out"
"""A picture whose attribute `combination` is `held_out` shows attributes that training never saw together."""


@dataclass(frozen=True)
class EvaluationSet:
    """What a model is evaluated on. Make one by `EvaluationSet.load`; pictures are read from their shards.

    Attributes:
        name: Of the set, as in the metrics' names.
        split: Name of the split.
        path: The `evaluation.json`.
        keys: Keys of the N pictures, in the order of the shards.
        classes: Class names, maybe none.
        labels: (N,) index into `classes`; -1 for all where there are no classes.
        prompts: Prompt templates with one `{}`.
        held_out_prompts: The same, never used in training; maybe none.
        questions: Maybe none.
        attributes: (N,) attributes of each picture.
    """

    name: str
    split: str
    path: Path
    keys: tuple[str, ...]
    classes: tuple[str, ...]
    labels: Indices
    prompts: tuple[str, ...]
    held_out_prompts: tuple[str, ...]
    questions: tuple[Question, ...]
    attributes: tuple[dict[str, Any], ...]
    _shards: tuple[ShardIndex, ...]
    _places: tuple[tuple[int, int, str], ...]  # shard, record, extension
    _digests: tuple[bytes, ...]

    @classmethod
    def load(cls, path: str | Path, split: str, allow_empty_classes: bool = False) -> EvaluationSet:
        """Reads `evaluation.json` and the records (not yet the pixels) of one split.

        Args:
            path: The `evaluation.json`, or its folder.
            split: A name in its `splits`.
            allow_empty_classes: Accept classes that no picture of the split has, as in a small sample.

        Raises:
            PcclipError: The file or a picture record does not keep to the schema, or the pictures' classes
                are not those of the list.
        """
        path = Path(path)
        path = path / "evaluation.json" if path.is_dir() else path
        fields = _read(path)
        splits = fields.mapping("splits")
        if split not in splits:
            raise fields.error(f"has no split {split!r}; its splits: {', '.join(splits)}")
        classes = fields.texts("classes", optional=True)
        prompts = Fields(fields.raw.get("prompts", {}), f"{path}: prompts")
        questions = tuple(parse_question(entry, split) for entry in fields.objects("questions"))
        _check_questions(fields, questions)
        shards = tuple(ShardIndex.load(shard) for shard in resolve_shards(str(path.parent / splits[split])))
        keys, pictures, places = _read_pictures(shards)
        if not keys:
            raise fields.error(f"the split {split!r} ({splits[split]}) has no pictures")
        return cls(
            name=fields.text("name"),
            split=split,
            path=path,
            keys=tuple(keys),
            classes=classes,
            labels=_labels(pictures, classes, fields, split, allow_empty_classes),
            prompts=_prompts(prompts, "seen", optional=not classes),
            held_out_prompts=_prompts(prompts, "held_out", optional=True),
            questions=questions,
            attributes=tuple(picture.attributes for picture in pictures),
            _shards=shards,
            _places=tuple(places),
            _digests=tuple(hashlib.sha256(picture.image).digest() for picture in pictures),
        )

    def __len__(self) -> int:
        return len(self.keys)

    def image_bytes(self, index: int) -> bytes:
        """The encoded picture.

        Args:
            index: 0 .. N - 1.
        """
        shard, record, extension = self._places[index]
        return self._shards[shard].read(record, extension)

    def image(self, index: int) -> Image.Image:
        """The decoded picture, RGB.

        Args:
            index: 0 .. N - 1.

        Raises:
            ShardError: It cannot be decoded; the message names shard and key.
        """
        return decode_picture(
            self.image_bytes(index), self.keys[index], self._shards[self._places[index][0]].path
        )

    def fingerprint(self) -> str:
        """A hash of all keys and encoded pictures in their order: what image features depend on."""
        digest = hashlib.sha256()
        for key, picture in zip(self.keys, self._digests, strict=True):
            digest.update(hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest() + picture)
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


def _read(path: Path) -> Fields:
    try:
        fields = Fields(json.loads(path.read_bytes()), str(path))
    except OSError as error:
        raise PcclipError(
            f"{path}: cannot be read ({error.strerror}). `pcclip prepare` writes evaluation.json beside the "
            "pictures; give its path or its folder."
        ) from error
    except ValueError as error:
        raise PcclipError(f"{path}: is not JSON ({error})") from error
    if fields.raw.get("schema") != SCHEMA:
        raise fields.error(
            f"has schema {fields.raw.get('schema')!r}, this version reads {SCHEMA}. Prepare the data again."
        )
    return fields


def _read_pictures(
    shards: Sequence[ShardIndex],
) -> tuple[list[str], list[Picture], list[tuple[int, int, str]]]:
    keys: list[str] = []
    pictures: list[Picture] = []
    places: list[tuple[int, int, str]] = []
    for number, shard in enumerate(shards):
        for record, key in enumerate(shard.keys):
            picture = Picture.parse(key, shard.read_record(record), shard.path)
            keys.append(key)
            pictures.append(picture)
            places.append((number, record, picture.extension))
    if len(set(keys)) < len(keys):
        twice = next(key for key, count in Counter(keys).items() if count > 1)
        raise PcclipError(f"{shards[0].path.parent}: two pictures have the key {twice!r}; give each its own")
    return keys, pictures, places


def _labels(
    pictures: Sequence[Picture], classes: Sequence[str], fields: Fields, split: str, allow_empty: bool
) -> Indices:
    if not classes:
        return np.full(len(pictures), -1, np.int64)
    numbers = {name: index for index, name in enumerate(classes)}
    for picture in pictures:
        if picture.class_name not in numbers:
            raise fields.error(
                f"picture {picture.key!r} of split {split!r} has the class {picture.class_name!r}, which is "
                f"not among the {len(classes)} 'classes'. Add it there, or mend the record."
            )
    labels = np.array([numbers[picture.class_name or ""] for picture in pictures], np.int64)
    empty = [name for name, count in zip(classes, np.bincount(labels, minlength=len(classes)), strict=True)
             if not count]  # fmt: skip
    if empty and not allow_empty:
        raise fields.error(
            f"{len(classes)} 'classes', but the pictures of split {split!r} are of "
            f"{len(classes) - len(empty)}; without a picture: {', '.join(map(repr, empty[:5]))}"
            f"{' ...' if len(empty) > 5 else ''}. Take the classes "
            "out of the list, or allow empty classes where the split is a sample."
        )
    return labels


def _prompts(fields: Fields, name: str, optional: bool) -> tuple[str, ...]:
    prompts = fields.texts(name, optional)
    if not prompts and not optional:
        raise fields.error(f"'{name}' is empty: zero-shot classification needs a prompt")
    for prompt in prompts:
        if prompt.count("{}") != 1 or prompt.count("{") != 1 or prompt.count("}") != 1:
            raise fields.error(
                f"the prompt {prompt!r} should have one {{}}, for the class, and no other brace"
            )
    return prompts


def _check_questions(fields: Fields, questions: Sequence[Question]) -> None:
    twice = [name for name, n in Counter(question.attribute for question in questions).items() if n > 1]
    if twice:
        raise fields.error(f"two questions are about {twice[0]!r}; make it one with all wordings")
    held_out: dict[str, bool] = {}
    for question in questions:
        for wording in question.wordings:
            if held_out.setdefault(wording.id, wording.held_out) != wording.held_out:
                raise fields.error(
                    f"the wording {wording.id!r} is held out for one attribute and seen for another; "
                    "an id stands for one wording in all questions"
                )
