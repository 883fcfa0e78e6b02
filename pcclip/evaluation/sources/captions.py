"""Captioned pictures for retrieval: COCO and Flickr30k, in the layouts of their releases."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pcclip.data.sources.base import SPLITS
from pcclip.data.sources.captions import told, usable
from pcclip.data.sources.listed import key_of
from pcclip.data.sources.splits import share_of
from pcclip.errors import PcclipError
from pcclip.evaluation.sets import EvaluationSet, Pictures, SetSource
from pcclip.evaluation.sources.caption_files import Entry, entries_of
from pcclip.evaluation.sources.labelled import ALL
from pcclip.evaluation.sources.pictures import FilePictures

_log = logging.getLogger(__name__)


@dataclass
class _Captioned(SetSource):
    """Pictures with several captions each.

    A file that says to which split a picture belongs (Karpathy's; `restval` counts as train) is asked for
    that split. Another file is one split: give a file for each split by name, or a single file, which is then
    `test` (and `all`). Pictures whose file is missing are left out and counted in the log.

    Args:
        captions: The file, or files by split.
        images: Folder of the pictures.
        name: Of the set, as in the metrics' names; null for its usual one.
    """

    captions: str | dict[str, str]
    images: str
    name: str | None = None

    def load(self, split: str) -> EvaluationSet:
        """Reads the captions and looks which pictures are there; none is decoded.

        Raises:
            PcclipError: A file is missing or off its layout, or there is no such split or no picture of it.
        """
        file = self._file(split)
        entries = self._chosen(file, entries_of(file), split)
        folder = Path(self.images).expanduser()
        if not folder.is_dir():
            raise PcclipError(f"{folder}: there is no such folder. Give 'images' the pictures of {file}.")
        skipped: Counter[str] = Counter()
        present = _Present(folder)
        kept: list[tuple[str, str, tuple[str, ...]]] = []
        for entry in entries:
            place = present.find(entry.file)
            if place is None:
                skipped["picture file missing"] += 1
            elif captions := usable(entry.captions, skipped):
                kept.append((key_of(entry.file), place, captions))
            else:
                skipped["picture without a caption"] += 1
        pictures, captions_out = told(skipped, "picture"), told(skipped, "caption")
        line = f"{file}: {len(kept):,} of {len(entries):,} pictures are used"
        line += f"; pictures left out: {pictures}" if pictures else ""
        line += f"; captions left out: {captions_out}" if captions_out else ""
        if not kept:
            raise PcclipError(f"{line}. Give 'images' the folder of its pictures ({folder} is not it).")
        if pictures or captions_out:
            _log.warning(line)
        return captioned(
            self.set_name,
            split,
            file,
            [key for key, _, _ in kept],
            FilePictures(folder, tuple(place for _, place, _ in kept)),
            [texts for _, _, texts in kept],
        )

    @property
    def set_name(self) -> str:
        """As in the metrics' names."""
        return self.name or type(self).__name__.lower()

    def _file(self, split: str) -> Path:
        if isinstance(self.captions, str):
            return Path(self.captions).expanduser()
        if split not in self.captions:
            raise PcclipError(
                f"{self.set_name}: 'captions' has no file for the split {split!r}, only for "
                f"{', '.join(self.captions)}. Add one."
            )
        return Path(self.captions[split]).expanduser()

    def _chosen(self, file: Path, entries: list[Entry], split: str) -> list[Entry]:
        if not any(entry.split for entry in entries):
            if isinstance(self.captions, dict) or split in ("test", ALL):
                return entries
            return self._without_splits(file, entries, split)
        chosen = [entry for entry in entries if split in (entry.split, ALL)]
        if not chosen:
            known = sorted({str(entry.split) for entry in entries})
            raise PcclipError(
                f"{file}: has no picture of the split {split!r}; its splits: {', '.join(known)}."
            )
        return chosen

    def _without_splits(self, file: Path, entries: list[Entry], split: str) -> list[Entry]:
        raise PcclipError(
            f"{file}: names no splits, so it is the split 'test'; {split!r} needs a file of its own. Write "
            f"'captions: {{test: {file}, {split}: FILE}}'."
        )


@dataclass
class COCO(_Captioned):
    """COCO's pictures with their captions, usually five (Lin et al. 2014, Chen et al. 2015).

    `captions` is `captions_val2017.json`, one of its layout (CLIP_benchmark's `coco_test_karpathy.json` too),
    or Karpathy's `dataset_coco.json`, whose pictures may also lie in `images/val2014/`.
    """


@dataclass
class Flickr30k(_Captioned):
    """Flickr30k's 31,783 pictures with five captions each (Young et al. 2014).

    `captions` is Karpathy's `dataset_flickr30k.json` (29,000 train, 1,014 validation, 1,000 test pictures), a
    list with the header `image,caption` (CLIP_benchmark's `flickr30k_test_karpathy.txt`), or the official
    `results_20130124.token`, which names no splits.

    Args:
        captions: The file, or files by split.
        images: Folder of the pictures.
        name: Of the set, as in the metrics' names; null for its usual one.
        train: Share of the pictures of a `.token` file in the train split, by the hash of their names.
        validation: Share in the validation split; the rest is the test split.
    """

    train: float = 0.9
    validation: float = 0.05

    def _chosen(self, file: Path, entries: list[Entry], split: str) -> list[Entry]:
        if file.suffix != ".token" or isinstance(self.captions, dict) or split == ALL:
            return super()._chosen(file, entries, split)
        if split not in SPLITS:
            raise PcclipError(f"{file}: has no split {split!r}; its splits: {', '.join((*SPLITS, ALL))}.")
        _log.warning(
            "%s: names no splits: train %g, validation %g, test the rest, by the hash of the file names; "
            "published figures are on the test split of dataset_flickr30k.json",
            file,
            self.train,
            self.validation,
        )
        return [
            entry for entry in entries if share_of(key_of(entry.file), self.train, self.validation) == split
        ]


def captioned(
    name: str,
    split: str,
    place: Path,
    keys: Sequence[str],
    pictures: Pictures,
    captions: Iterable[tuple[str, ...]],
) -> EvaluationSet:
    """A set with captions and without classes.

    Raises:
        PcclipError: Two pictures have the same key.
    """
    if len(set(keys)) < len(keys):
        twice = next(key for key, count in Counter(keys).items() if count > 1)
        raise PcclipError(
            f"{place}: names the picture {twice!r} twice. Keep one entry with all its captions."
        )
    labels = np.full(len(keys), -1, np.int64)
    return EvaluationSet(name, split, place, tuple(keys), pictures, (), labels, captions=tuple(captions))


class _Present:
    """The pictures that are there, in the folder itself or in the one that Karpathy's file names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[str, set[str]] = {}

    def find(self, file: str) -> str | None:
        """The path of a picture, if it is there."""
        for place in (self._folder / file, self._folder / Path(file).name):
            above = str(place.parent)
            if above not in self._names:
                self._names[above] = set(os.listdir(above)) if place.parent.is_dir() else set()
            if place.name in self._names[above]:
                return str(place)
        return None
