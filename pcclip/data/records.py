"""The two kinds of record, pictures and triples, and their schema.

A record is a group of files in a WebDataset shard that share a key: `KEY.jpg`, `KEY.txt`, `KEY.json` for a
picture; `KEY.json` (with `KEY.1.jpg` and `KEY.2.jpg` where the payload is `pixels`) for a triple.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from pcclip.data.decoding import open_picture, to_rgb
from pcclip.errors import PcclipError
from pcclip.untrusted import check_plain, parse_json

SCHEMA = 1
IMAGE_EXTENSIONS = ("jpg", "jpeg", "png", "webp")

Kind = Literal["pictures", "triples"]
Payload = Literal["keys", "pixels"]


class ShardError(PcclipError):
    """A shard, or a record in it, is broken; the message names the file, the key and the remedy."""

    @classmethod
    def at(cls, shard: object, key: str, problem: str, remedy: str) -> ShardError:
        """Builds the error from its four parts."""
        return cls(f"{shard}: record {key!r}: {problem}. {remedy}")


def stable_hash(text: str) -> int:
    """A 64-bit hash of a key or a text, the same in every process and on every machine."""
    return int.from_bytes(
        hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little"
    )


def check_key(key: str, shard: object) -> None:
    """Raises ShardError unless `key` can be a record's key in a shard (and a file name in a tar)."""
    name = key.rsplit("/", 1)[-1]
    if (
        not name
        or "." in name
        or key.startswith("/")
        or ".." in key.split("/")
        or any(ord(c) < 32 or ord(c) == 127 for c in key)
        or not _is_unicode(key)
    ):
        raise ShardError.at(
            shard,
            key,
            "a key is a relative path without '..' and control characters, whose last part is not empty "
            "and holds no dot (WebDataset cuts the name at its first dot)",
            "Rename the record, for example by putting '_' in place of '.'.",
        )


@dataclass(frozen=True, slots=True)
class Triple:
    """Two pictures and the text that says how the first differs from the second.

    Args:
        key: Key of the record, unique in its set.
        image1: Key of the picture that the text describes.
        image2: Key of the picture that it is compared with; never the same as `image1`.
        difference: How `image1` differs from `image2`; not empty.
        source: Where the text came from: `writer` (a name) and whatever else the writer noted.
    """

    key: str
    image1: str
    image2: str
    difference: str
    source: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, key: str, payload: bytes, shard: object) -> Triple:
        """Reads and validates the `KEY.json` of a triple.

        Args:
            key: Key of the record.
            payload: The bytes of its json member.
            shard: Named in errors.

        Raises:
            ShardError: The json is broken, or it is not a triple of this schema.
        """
        try:
            raw = parse_json(payload)
            schema, kind = raw["schema"], raw["kind"]
            triple = cls(key, raw["image1"], raw["image2"], raw["difference"], raw.get("source") or {})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            missing = f"lacks {error}" if isinstance(error, KeyError) else f"cannot be read ({error})"
            raise ShardError.at(shard, key, f"its json {missing}", _TRIPLE_REMEDY) from error
        if schema != SCHEMA or kind != "triple":
            raise ShardError.at(
                shard,
                key,
                f"its json has schema {schema!r} and kind {kind!r}, not {SCHEMA} and 'triple'",
                _TRIPLE_REMEDY,
            )
        triple.check(shard)
        return triple

    def check(self, shard: object) -> None:
        """Raises ShardError where a field is empty, of a wrong type or no JSON, or both pictures are one."""
        for name in ("image1", "image2", "difference"):
            value = getattr(self, name)
            if not isinstance(value, str):
                raise ShardError.at(shard, self.key, f"{name!r} is not a text: {value!r}", _TRIPLE_REMEDY)
            if not value or value.isspace():
                raise ShardError.at(
                    shard, self.key, f"its {name!r} is empty", "Remove the record or write its text again."
                )
            if not _is_unicode(value):
                raise ShardError.at(
                    shard, self.key, f"its {name!r} is no valid Unicode: {value!r}", "Write its text again."
                )
        if self.image1 == self.image2:
            raise ShardError.at(
                shard,
                self.key,
                f"image1 and image2 are the same picture {self.image1!r}, which has no difference direction",
                "Remove the record, and the pair where pairs are made.",
            )
        if not isinstance(self.source, dict):
            raise ShardError.at(shard, self.key, "'source' is not a json object", _TRIPLE_REMEDY)
        try:
            check_plain(self.source)
        except ValueError as error:
            raise ShardError.at(
                shard, self.key, f"its 'source' cannot be stored as json ({error})", "Write the record again."
            ) from error

    def to_json(self) -> bytes:
        """The bytes of the record's json member: the same for the same triple."""
        fields = {
            "schema": SCHEMA,
            "kind": "triple",
            "image1": self.image1,
            "image2": self.image2,
            "difference": self.difference,
            "source": self.source,
        }
        return _dump(fields)


_TRIPLE_REMEDY = (
    f'A triple is {{"schema": {SCHEMA}, "kind": "triple", "image1": KEY, "image2": KEY, "difference": TEXT, '
    '"source": {...}}; is this a set of pictures, or of another version?'
)


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture, as encoded bytes, with what is known about it.

    Args:
        key: Key of the record, unique in its set.
        image: The encoded file.
        extension: `jpg`, `jpeg`, `png` or `webp`.
        caption: Its one caption, `KEY.txt`, if any.
        class_name: Its class, if it has one.
        attributes: Measured or known attributes: numbers are degrees, texts are categories.
        captions: All captions; `(caption,)` where only one is known, `()` where none is.
    """

    key: str
    image: bytes
    extension: str = "jpg"
    caption: str | None = None
    class_name: str | None = None
    attributes: dict[str, float | str] = field(default_factory=dict)
    captions: tuple[str, ...] = ()

    @classmethod
    def parse(cls, key: str, members: Mapping[str, bytes], shard: object) -> Picture:
        """Reads a picture record, ours or any in the image-text layout (img2dataset, open_clip).

        Args:
            key: Key of the record.
            members: Its files' bytes by extension (`ShardIndex.read_record`).
            shard: Named in errors.

        Raises:
            ShardError: There is no image, or its text or json is broken.
        """
        extension = image_extension(members)
        if extension is None:
            raise ShardError.at(
                shard,
                key,
                f"no image among its files ({', '.join(members)})",
                f"A picture record has one of: {', '.join('KEY.' + e for e in IMAGE_EXTENSIONS)}.",
            )
        try:
            caption = members["txt"].decode() if "txt" in members else None
            raw = parse_json(members["json"]) if "json" in members else {}
            raw = raw if isinstance(raw, dict) else {}
            ours = raw.get("schema") == SCHEMA and raw.get("kind") == "picture"
            known = _known_of(raw) if ours else (None, {}, ())
        except ValueError as error:
            raise ShardError.at(
                shard, key, f"its txt or json cannot be read ({error})", "Write the record again."
            ) from error
        if caption is None and not ours and isinstance(raw.get("caption"), str):
            caption = raw["caption"]
        class_name, attributes, captions = known
        return cls(
            key,
            members[extension],
            extension,
            caption,
            class_name,
            attributes,
            captions or ((caption,) if caption else ()),
        )

    def members(self) -> dict[str, bytes]:
        """The record's files by extension, as they go into a shard."""
        files = {self.extension: self.image}
        caption = self.caption if self.caption is not None else next(iter(self.captions), None)
        if caption is not None:
            files["txt"] = caption.encode()
        files["json"] = _dump(
            {
                "schema": SCHEMA,
                "kind": "picture",
                "class": self.class_name,
                "attributes": self.attributes,
                "captions": list(self.captions),
            }
        )
        return files


def image_extension(extensions: Iterable[str]) -> str | None:
    """The extension under which a picture record holds its image, or None."""
    present = set(extensions)
    return next((extension for extension in IMAGE_EXTENSIONS if extension in present), None)


def decode_picture(image: bytes | Path, key: str, shard: object) -> Image.Image:
    """Decodes an encoded picture to RGB, completely, so that damage shows here.

    Of an animation the first frame counts. Shades of 16 bits become shades of 8.

    Args:
        image: The encoded picture, or the file that holds it.
        key: Named in errors.
        shard: Named in errors.

    Raises:
        ShardError: The bytes are no picture of `PICTURE_FORMATS`, a damaged one, or one of more than
            `MAX_PIXELS` (pcclip.data.decoding).
    """
    try:
        with open_picture(image) as picture:
            picture.load()
            return to_rgb(picture)
    # Pillow's decoders raise whatever they trip over: struct.error, KeyError, MemoryError, zlib.error ...
    except Exception as error:
        why = str(error).partition(" <_io.")[0] or type(error).__name__
        raise ShardError.at(
            shard,
            key,
            f"its picture cannot be decoded ({why})",
            "Replace the picture, or write the set again without it.",
        ) from error


def _known_of(raw: dict[str, Any]) -> tuple[str | None, dict[str, float | str], tuple[str, ...]]:
    """Class, attributes and captions by our schema; ValueError where they are something else."""
    check_plain(raw)
    class_name, attributes, captions = (raw.get(name) for name in ("class", "attributes", "captions"))
    if not isinstance(class_name, str | None):
        raise ValueError("'class' is not a text")
    if not isinstance(attributes, dict | None):
        raise ValueError("'attributes' is not an object")
    values = (attributes or {}).values()
    if any(isinstance(value, bool) or not isinstance(value, str | int | float) for value in values):
        raise ValueError("an attribute is neither a number nor a text")
    if not isinstance(captions, list | None) or not all(isinstance(one, str) for one in captions or ()):
        raise ValueError("'captions' is not a list of texts")
    return class_name, attributes or {}, tuple(captions or ())


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text)


def _dump(value: dict[str, Any]) -> bytes:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode()
