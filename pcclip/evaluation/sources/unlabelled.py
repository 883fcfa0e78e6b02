"""Any folder of pictures of which nothing else is known."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pcclip.data.records import IMAGE_EXTENSIONS
from pcclip.data.sources.listed import key_of
from pcclip.errors import PcclipError
from pcclip.evaluation.sets import EvaluationSet, SetSource
from pcclip.evaluation.sources.folders import split_folders
from pcclip.evaluation.sources.labelled import ALL
from pcclip.evaluation.sources.pictures import FilePictures


@dataclass
class Unlabelled(SetSource):
    """Pictures in a folder and in the folders below it, without classes, for tables about pictures.

    A picture's key is its path in the folder without the extension. Where folders `train`, `validation` (or
    `val`, `valid`) and `test` are all that ROOT has, they are the splits, (keys start below them); else every
    picture is in the split `test` (and in `all`).

    Args:
        root: The folder; its name is that of the set, unless 'name' is given.
        name: Of the set, as in the metrics' names.
    """

    root: str
    name: str | None = None

    def load(self, split: str) -> EvaluationSet:
        """Lists the pictures of a split; none is decoded.

        Raises:
            PcclipError: There is no such folder or split, no picture, or two pictures have the same key.
        """
        root = Path(self.root).expanduser()
        given = split_folders(root) or {"test": root}
        if split != ALL and split not in given:
            raise PcclipError(
                f"{root}: has no folder for the split {split!r}, so its pictures are the split "
                f"{', '.join(given)}. Ask for that, or put the pictures into a folder for each split."
            )
        files: list[str] = []
        keys: list[str] = []
        for folder in given.values() if split == ALL else (given[split],):
            found = [file for file in folder.rglob("*") if file.suffix[1:].lower() in IMAGE_EXTENSIONS]
            files += sorted(map(str, found))
            keys += [key_of(str(Path(file).relative_to(folder))) for file in sorted(map(str, found))]
        if not files:
            raise PcclipError(
                f"{root}: has no picture ({', '.join(IMAGE_EXTENSIONS)}) of the split {split!r}."
            )
        if len(set(keys)) < len(keys):
            twice = next(key for key, count in Counter(keys).items() if count > 1)
            raise PcclipError(f"{root}: two pictures have the key {twice!r}. Rename one.")
        labels = np.full(len(keys), -1, np.int64)
        pictures = FilePictures(root, tuple(files))
        return EvaluationSet(self.name or root.name, split, root, tuple(keys), pictures, (), labels)
