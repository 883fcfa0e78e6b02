"""The two kinds of record, pictures and triples, and their schema.

A record is a group of files in a WebDataset shard that share a key: `KEY.jpg`, `KEY.txt`, `KEY.json` for a
picture; `KEY.json` (with `KEY.1.jpg` and `KEY.2.jpg` where the payload is `pixels`) for a triple.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from PIL import Image

from pcclip.errors import PcclipError

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
        or any(ord(c) < 32 for c in key)
        or not _is_unicode(key)
    ):
        raise ShardError.at(
            shard,
            key,
            "a key is a relative path whose last part is not empty and holds no dot "
            "(WebDataset cuts the name at its first dot)",
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
            raw = json.loads(payload)
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
        """Raises ShardError where a field is empty, of a wrong type, or both pictures are the same."""
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
            raw = json.loads(members["json"]) if "json" in members else {}
        except ValueError as error:
            raise ShardError.at(
                shard, key, f"its txt or json cannot be read ({error})", "Write the record again."
            ) from error
        raw = raw if isinstance(raw, dict) else {}
        ours = raw.get("schema") == SCHEMA and raw.get("kind") == "picture"
        if caption is None and not ours and isinstance(raw.get("caption"), str):
            caption = raw["caption"]
        own = tuple(raw.get("captions") or ()) if ours else ()
        return cls(
            key,
            members[extension],
            extension,
            caption,
            raw.get("class") if ours else None,
            dict(raw.get("attributes") or {}) if ours else {},
            own or ((caption,) if caption else ()),
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


def decode_picture(image: bytes, key: str, shard: object) -> Image.Image:
    """Decodes an encoded picture to RGB, completely, so that damage shows here.

    Raises:
        ShardError: The bytes are no picture, or a damaged one.
    """
    try:
        picture = Image.open(io.BytesIO(image))
        picture.load()
        return picture if picture.mode == "RGB" else picture.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ShardError.at(
            shard,
            key,
            f"its picture cannot be decoded ({error})",
            "Replace the picture, or write the set again without it.",
        ) from error


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text)


def _dump(value: dict[str, Any]) -> bytes:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode()
