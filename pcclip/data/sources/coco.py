"""COCO captions: the official JSON (`captions_train2017.json`) and the folder of its pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pcclip.data.sources.listed import Entry, ListedPictures, digest_of, key_of, read
from pcclip.errors import PcclipError
from pcclip.untrusted import parse_json

_REMEDY = (
    "Give 'captions' the file captions_train2017.json or captions_val2017.json of COCO's "
    "annotations_trainval2017.zip, or one of the same layout."
)


@dataclass
class Coco(ListedPictures):
    """Pictures of COCO with the captions that people wrote for them, usually five.

    A picture's key is its file name without the extension.

    Args:
        captions: The official captions file, or one of the same layout.
        images: Folder of its pictures (`train2017/`); not read where `with_images` is false.
    """

    captions: str
    images: str = ""

    name: ClassVar[str] = "coco"
    licence: ClassVar[str] = (
        "COCO captions (Lin et al. 2014, Chen et al. 2015), annotations under CC BY 4.0; each picture under "
        "the licence of its author on Flickr"
    )
    places: ClassVar[tuple[str, ...]] = ("captions", "images")

    def __post_init__(self) -> None:
        """Refuses to look for pictures nowhere."""
        super().__post_init__()
        if self.with_images and not Path(self.images or "?").is_dir():
            raise PcclipError(
                f"coco: 'images' is {self.images!r}, which is no folder. Give the folder of the pictures of "
                f"{self.captions}, or set 'with_images: false' to use its captions alone."
            )

    def material(self) -> dict[str, Any]:
        """Which captions file."""
        return {"captions": digest_of(Path(self.captions))}

    def _list_file(self) -> Path:
        return Path(self.captions)

    def _entries(self) -> Iterator[Entry]:
        raw = self._read()
        captions: dict[Any, list[Any]] = {}
        names: dict[Any, str] = {}
        for at, image in enumerate(self._part(raw, "images")):
            number, file = (self._field("images", at, image, key) for key in ("id", "file_name"))
            if number in names:
                raise self._wrong(f"images[{at}] has the id {number!r}, and so has {names[number]!r}")
            names[number], captions[number] = file, []
        for at, note in enumerate(self._part(raw, "annotations")):
            number, text = (self._field("annotations", at, note, key) for key in ("image_id", "caption"))
            if number in captions:
                captions[number].append(text)
            else:
                self._skipped["caption of a picture that is not listed"] += 1
        folder = Path(self.images)
        for number, name in names.items():
            yield Entry(key_of(name), folder / name, captions[number], where=f"image {number}")

    def _read(self) -> dict[str, Any]:
        file = read(Path(self.captions), _REMEDY)
        try:
            raw = parse_json(file.read_bytes())
        except ValueError as error:
            raise PcclipError(f"{file}: cannot be read as JSON ({error}). {_REMEDY}") from error
        return raw if isinstance(raw, dict) else {}

    def _part(self, raw: dict[str, Any], key: str) -> list[Any]:
        part = raw.get(key)
        if not isinstance(part, list):
            raise self._wrong(f"has no list {key!r}")
        return part

    def _field(self, part: str, at: int, entry: Any, key: str) -> Any:
        if not isinstance(entry, dict) or key not in entry:
            raise self._wrong(f"{part}[{at}] lacks {key!r}")
        value = entry[key]
        if key == "file_name" and not isinstance(value, str):
            raise self._wrong(f"{part}[{at}] has {value!r} as 'file_name'")
        if key in ("id", "image_id") and not isinstance(value, str | int):
            raise self._wrong(f"{part}[{at}] has {value!r} as {key!r}")
        return value

    def _wrong(self, problem: str) -> PcclipError:
        return PcclipError(f"{self.captions}: {problem}. Is it a file of captions? {_REMEDY}")
