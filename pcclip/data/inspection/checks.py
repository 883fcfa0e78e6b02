"""Checks of one record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from pcclip.data.index import ShardIndex
from pcclip.data.records import Kind, Payload, Picture, ShardError, Triple, decode_picture

_CHUNK = 512


@dataclass
class Checked:
    """One record, checked: what the statistics need of it, and its faults."""

    texts: Sequence[str] = ()
    pair: tuple[str, str] | None = None
    labels: dict[str, Any] = field(default_factory=dict)
    faults: Sequence[str] = ()


def check_all(
    indexes: Sequence[ShardIndex], kind: Kind, payload: Payload | None, decode: bool
) -> Iterator[Checked]:
    """Checks the records of all shards in order, in threads where pictures are decoded."""
    check = check_picture if kind == "pictures" else check_triple
    if not decode or payload == "keys":
        for index in indexes:
            for record in range(len(index)):
                yield check(index, record, payload, decode)
        return
    with ThreadPoolExecutor() as pool:  # Pillow decodes without the interpreter's lock
        for index in indexes:
            for start in range(0, len(index), _CHUNK):
                records = range(start, min(start + _CHUNK, len(index)))
                yield from pool.map(
                    lambda record, index=index: check(index, record, payload, decode), records
                )


def check_triple(index: ShardIndex, record: int, payload: Payload | None, decode: bool) -> Checked:
    """Checks a triple: schema, payload and, with `decode`, its pictures."""
    key = index.key(record)
    try:
        triple = Triple.parse(key, index.read(record, "json"), index.path)
        images = [extension for extension in index.extensions(record) if extension != "json"]
        numbers = sorted(extension.split(".")[0] for extension in images)
        if numbers != ([] if payload == "keys" else ["1", "2"]):
            raise ShardError.at(
                index.path,
                key,
                f"its pictures are {images or 'none'}, but the set's payload is {payload!r}",
                "Give both pictures (KEY.1.jpg, KEY.2.jpg) with every triple, or with none.",
            )
        if decode:
            for extension in images:
                decode_picture(index.read(record, extension), f"{key}.{extension}", index.path)
    except ShardError as error:
        return Checked(faults=[str(error)])
    pair = (triple.image1, triple.image2)
    return Checked([triple.difference], pair, {"writer": str(triple.source.get("writer", "not noted"))})


def check_picture(index: ShardIndex, record: int, payload: Payload | None, decode: bool) -> Checked:
    """Checks a picture record and, with `decode`, the picture itself."""
    key = index.key(record)
    try:
        picture = Picture.parse(key, index.read_record(record), index.path)
        if decode:
            decode_picture(picture.image, f"{key}.{picture.extension}", index.path)
    except ShardError as error:
        return Checked(faults=[str(error)])
    labels = {"class": picture.class_name, "attributes": list(picture.attributes)}
    return Checked(picture.captions, None, labels)
