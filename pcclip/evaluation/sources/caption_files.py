"""Files of captions: COCO's, Karpathy's, Flickr30k's `.token` and CLIP_benchmark's lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcclip.data.sources.listed import lines_of, read
from pcclip.errors import PcclipError
from pcclip.untrusted import parse_json

_KARPATHY = {"train": "train", "restval": "train", "val": "validation", "test": "test"}
_REMEDY = (
    "Give 'captions' COCO's captions_val2017.json (or one of its layout), Karpathy's dataset_coco.json or "
    "dataset_flickr30k.json, Flickr30k's results_20130124.token, or a list with the header image,caption."
)


@dataclass(frozen=True)
class Entry:
    """A picture of a file of captions.

    Attributes:
        file: Its path within the folder of the pictures.
        captions: Whatever stands where captions should.
        split: `train`, `validation` or `test` where the file says it.
    """

    file: str
    captions: Sequence[Any]
    split: str | None = None


def entries_of(file: Path) -> list[Entry]:
    """All pictures that a file of captions names, in its order.

    Raises:
        PcclipError: It is missing or none of the layouts.
    """
    if file.suffix == ".json":
        try:
            raw = parse_json(read(file, _REMEDY).read_bytes())
            return _coco(raw) if "annotations" in raw else _karpathy(raw)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            problem = f"lacks {error}" if isinstance(error, KeyError) else str(error)
            raise PcclipError(f"{file}: is no file of captions ({problem}). {_REMEDY}") from error
    captions: dict[str, list[str]] = {}
    lines = list(lines_of(file, _REMEDY))
    listed = bool(lines) and lines[0][1].strip() == "image,caption"
    for number, line in lines[1:] if listed else lines:
        image, mark, caption = line.partition(".jpg,") if listed else line.partition("\t")
        name = f"{image}.jpg" if listed else image.rpartition("#")[0]
        if not mark or not name:
            raise PcclipError(
                f"{file}: line {number} is {line.strip()[:60]!r}, neither 'NAME.jpg#0', a tab and a caption "
                f"nor, under the header image,caption, 'NAME.jpg,CAPTION'. {_REMEDY}"
            )
        captions.setdefault(name, []).append(caption)
    return [Entry(name, texts) for name, texts in captions.items()]


def _coco(raw: dict[str, Any]) -> list[Entry]:
    captions: dict[Any, list[Any]] = {image["id"]: [] for image in raw["images"]}
    for note in raw["annotations"]:
        if note["image_id"] in captions:
            captions[note["image_id"]].append(note["caption"])
    return [Entry(str(image["file_name"]), captions[image["id"]]) for image in raw["images"]]


def _karpathy(raw: dict[str, Any]) -> list[Entry]:
    found = []
    for image in raw["images"]:
        name = "/".join(filter(None, (image.get("filepath"), image["filename"])))
        captions = [sentence["raw"] for sentence in image["sentences"]]
        found.append(Entry(name, captions, _KARPATHY.get(image["split"], image["split"])))
    return found
