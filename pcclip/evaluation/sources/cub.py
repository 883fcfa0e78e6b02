"""CUB-200-2011: birds of 200 kinds with attributes, in the official layout (Wah et al. 2011)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pcclip.data.records import Picture
from pcclip.data.sources.base import SPLITS
from pcclip.data.sources.cub import Cub as Birds
from pcclip.data.sources.listed import lines_of
from pcclip.errors import PcclipError
from pcclip.evaluation.sources.labelled import ALL, Listing, SharedOutSource
from pcclip.evaluation.sources.pictures import FilePictures

_log = logging.getLogger(__name__)


@dataclass
class CUB(SharedOutSource):
    """Photos of birds; classes are joined by the name of their folder, never by a number.

    Keys are CLASS/NAME; attributes are those of a picture's class: in each group (`wing_color`, `bill_shape`)
    the one that people saw most often. Where images.txt and train_test_split.txt are there, the test split is
    the official one, and `train` and `validation` share the rest out; else all pictures are shared out.

    Args:
        root: The folder CUB_200_2011.
    """

    root: str

    words: ClassVar[str] = "cub"

    def _list(self, split: str) -> Listing:
        root = Path(self.root).expanduser()
        birds = Birds(str(root), train=self.train, validation=self.validation, seed=self.seed)
        parts = SPLITS if split == ALL else tuple(part for part in SPLITS if part == split)
        found = sorted((picture for part in parts for picture in birds.texts(part)), key=_key)
        self._check(birds.skipped(), root)
        classes = {name: number for number, name in _pairs(root / "classes.txt")}
        _check_labels(root, classes)
        return Listing(
            root,
            [picture.key for picture in found],
            FilePictures(root, tuple(f"{root}/images/{picture.key}.jpg" for picture in found)),
            [picture.key.split("/")[0] for picture in found],
            list(classes),
            [picture.attributes for picture in found],
        )

    def _check(self, skipped: dict[str, int], root: Path) -> None:
        missing = sum(skipped.values())
        if missing and not self.allow_missing:
            raise PcclipError(
                f"{root}: {missing:,} of the pictures that images.txt names are not there. Complete the "
                "copy, or set 'allow_missing: true'."
            )
        if not ((root / "train_test_split.txt").exists() and (root / "images.txt").exists()):
            _log.warning(
                "%s: has no train_test_split.txt with images.txt, so the splits are not the official ones: "
                "train %g, validation %g, test the rest, by the hash of the pictures' keys (seed %d)",
                root,
                self.train,
                self.validation,
                self.seed,
            )


def _check_labels(root: Path, numbers: dict[str, str]) -> None:
    """Refuses lists that contradict one another about a picture's class."""
    names, labels = root / "images.txt", root / "image_class_labels.txt"
    if not (names.exists() and labels.exists()):
        return
    listed = dict(_pairs(labels))
    for number, name in _pairs(names):
        expected = numbers[name.split("/")[0]]
        if listed.get(number) != expected:
            raise PcclipError(
                f"{names}: picture {number} is {name!r}, whose folder is class {expected} of classes.txt, "
                f"but {labels} says class {listed.get(number)}. Take all lists from one archive."
            )


def _pairs(file: Path) -> Iterator[tuple[str, str]]:
    for number, line in lines_of(file, "Copy it again."):
        words = line.split()
        if len(words) != 2:
            raise PcclipError(f"{file}: line {number} is {line.strip()!r}, not two words. Copy it again.")
        yield words[0], words[1]


def _key(picture: Picture) -> str:
    return picture.key
