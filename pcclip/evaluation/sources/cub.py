"""CUB-200-2011: birds of 200 kinds with attributes, in the official layout (Wah et al. 2011)."""

from __future__ import annotations

import logging
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
        classes = [line.split()[1] for _, line in lines_of(root / "classes.txt", "")]
        return Listing(
            root,
            [picture.key for picture in found],
            FilePictures(root, tuple(f"{root}/images/{picture.key}.jpg" for picture in found)),
            [picture.key.split("/")[0] for picture in found],
            classes,
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


def _key(picture: Picture) -> str:
    return picture.key
