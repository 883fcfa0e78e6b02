"""The sets that `pcclip prepare` makes: `evaluation.json` beside WebDataset shards."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pcclip.data.records import Picture, decode_picture, image_extension
from pcclip.data.remote.shard import is_url
from pcclip.data.shards import (
    ShardIndex,
    load_indexes,
    read_sidecar,
    resolve_shards,
    sidecar_path,
    write_sidecar,
)
from pcclip.errors import PcclipError
from pcclip.evaluation.questions import Fields, check_questions, parse_question
from pcclip.evaluation.sets import EvaluationSet, SetSource
from pcclip.evaluation.statistics import Indices
from pcclip.untrusted import parse_json
from pcclip.whence import whence

SCHEMA = 1
_TRAIN = "pictures/train"  # `prepare` writes it, and lists what evaluations report


@dataclass
class Prepared(SetSource):
    """A folder made by `pcclip prepare`.

    Args:
        path: The `evaluation.json`, or its folder.
        allow_empty_classes: Accept classes that no picture of a split has, as in a small sample.
    """

    path: str
    allow_empty_classes: bool = False

    def load(self, split: str) -> EvaluationSet:
        """Reads `evaluation.json` and the records (not yet the pixels) of one split.

        Raises:
            PcclipError: The file or a picture record does not keep to the schema, or the pictures' classes
                are not those of the list.
        """
        path = Path(self.path)
        path = path / "evaluation.json" if path.is_dir() else path
        fields = _read(path)
        splits = fields.mapping("splits")
        if (path.parent / _TRAIN).is_dir():
            splits.setdefault("train", _TRAIN)
        if split not in splits:
            raise fields.error(f"has no split {split!r}; its splits: {', '.join(splits)}")
        classes = fields.texts("classes", optional=True)
        prompts = Fields(fields.raw.get("prompts", {}), f"{path}: prompts")
        questions = tuple(parse_question(entry, split) for entry in fields.objects("questions"))
        check_questions(fields, questions)
        named = splits[split] if is_url(splits[split]) else str(path.parent / splits[split])
        shards = tuple(load_indexes(resolve_shards(named)))
        keys, pictures, places = _read_pictures(shards)
        if not keys:
            raise fields.error(f"the split {split!r} ({splits[split]}) has no pictures")
        return EvaluationSet(
            name=fields.text("name"),
            split=split,
            path=path,
            keys=tuple(keys),
            pictures=_ShardPictures(shards, tuple(keys), tuple(places), _digest(shards)),
            classes=classes,
            labels=_labels(pictures, classes, fields, split, self.allow_empty_classes),
            prompts=_prompts(prompts, "seen", optional=not classes),
            held_out_prompts=_prompts(prompts, "held_out", optional=True),
            questions=questions,
            attributes=tuple(picture.attributes for picture in pictures),
            captions=tuple(picture.captions for picture in pictures),
        )


@dataclass(frozen=True)
class _ShardPictures:
    shards: tuple[ShardIndex, ...]
    keys: tuple[str, ...]
    places: tuple[tuple[int, int, str], ...]  # shard, record, extension
    digest: str

    def read(self, index: int) -> Image.Image:
        shard, record, extension = self.places[index]
        data = self.shards[shard].read(record, extension)
        return decode_picture(data, self.keys[index], self.shards[shard].path)

    def fingerprint(self) -> str:
        return self.digest


def _digest(shards: Sequence[ShardIndex]) -> str:
    """Of every encoded picture in order; those of a shard that has not changed are kept beside it."""
    digest = hashlib.sha256()
    for shard in shards:
        kept = sidecar_path(shard.path, None, "pictures.npz")
        arrays = read_sidecar(kept, shard.stamp)
        if arrays is None:
            rows = [hashlib.sha256(_encoded(shard, record)).digest() for record in range(len(shard))]
            arrays = {"sha256": np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), 32)}
            write_sidecar(kept, shard.stamp, arrays)
        digest.update(arrays["sha256"].tobytes())
    return digest.hexdigest()


def _encoded(shard: ShardIndex, record: int) -> bytes:
    extension = image_extension(shard.extensions(record))
    assert extension is not None  # `_read_pictures` has refused records without a picture
    return shard.read(record, extension)


def _read(path: Path) -> Fields:
    try:
        fields = Fields(parse_json(path.read_bytes()), str(path))
    except OSError as error:
        remedy = whence(path) or (
            " `pcclip prepare` writes evaluation.json beside the pictures; give its path or its folder."
        )
        raise PcclipError(f"{path}: cannot be read ({error.strerror}).{remedy}") from error
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
            picture = Picture.parse(key, _described(shard, record), shard.path)
            keys.append(key)
            pictures.append(picture)
            places.append((number, record, picture.extension))
    if len(set(keys)) < len(keys):
        twice = next(key for key, count in Counter(keys).items() if count > 1)
        raise PcclipError(f"{shards[0].path.parent}: two pictures have the key {twice!r}; give each its own")
    return keys, pictures, places


def _described(shard: ShardIndex, record: int) -> dict[str, bytes]:
    """A record without the bytes of its picture: what is said about it."""
    extensions = shard.extensions(record)
    return {name: shard.read(record, name) if name in ("txt", "json") else b"" for name in extensions}


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
