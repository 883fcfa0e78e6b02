"""Any folder of class folders, with or without a folder for each split above them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pcclip.data.sources.base import SPLITS
from pcclip.data.sources.listed import key_of
from pcclip.errors import PcclipError
from pcclip.evaluation.sources.labelled import ALL, Listing, SharedOutSource
from pcclip.evaluation.sources.pictures import FilePictures

NAMES = {"train": ("train",), "validation": ("validation", "val", "valid"), "test": ("test",)}
"""What the folder of a split may be called."""


@dataclass
class Folders(SharedOutSource):
    """Pictures in folders that are called as their classes: `ROOT/CLASS/...` or `ROOT/SPLIT/CLASS/...`.

    Where folders `train`, `validation` (or `val`, `valid`) and `test` are all that ROOT has, they are the
    splits; a split that has no folder is asked for in vain. Else the pictures are shared out.

    Args:
        root: The folder; its name is that of the set, unless 'name' is given.
    """

    root: str

    @property
    def set_name(self) -> str:
        """The name, or the folder's."""
        return self.name or self._root.name

    @property
    def _root(self) -> Path:
        return Path(self.root).expanduser()

    def _list(self, split: str) -> Listing:
        given = split_folders(self._root)
        if not given:
            entries, classes = class_folders(self._root)
            return listing_of(
                self._root, [entry for entry in entries if self._within(entry[0], split)], classes
            )
        if split != ALL and split not in given:
            raise PcclipError(
                f"{self._root}: has no folder for the split {split!r}, only for {', '.join(given)}. Ask "
                "for one of these, or give the folder of one of them as 'root' to share its pictures out."
            )
        found: list[tuple[str, str, str]] = []
        labels: dict[str, None] = {}
        for name in given if split == ALL else (split,):
            entries, classes = class_folders(given[name])
            found += [(f"{given[name].name}/{key}", file, label) for key, file, label in entries]
            labels |= dict.fromkeys(classes)
        return listing_of(self._root, found, sorted(labels))


def split_folders(root: Path) -> dict[str, Path]:
    """The folders of the splits, where the folder has nothing but these; else none.

    Raises:
        PcclipError: There is no such folder.
    """
    if not root.is_dir():
        raise PcclipError(f"{root}: there is no such folder. Give 'root' the folder of the class folders.")
    folders = {path.name for path in root.iterdir() if path.is_dir()}
    given: dict[str, Path] = {
        split: root / name for split in SPLITS for name in NAMES[split] if name in folders
    }
    return given if given and len(given) == len(folders) else {}


def class_folders(root: Path) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Key, file and class of each picture, by class and file name; and the classes, as torchvision has them.

    Raises:
        PcclipError: There is no such folder, or no class folder in it.
    """
    from torchvision.datasets import ImageFolder

    try:
        found = ImageFolder(str(root), loader=str, allow_empty=True)
    except OSError as error:
        raise PcclipError(
            f"{root}: has no class folders ({error}). The layout is ROOT/CLASS/PICTURES."
        ) from error
    start = len(str(root)) + 1
    entries = [(key_of(file[start:]), file, found.classes[label]) for file, label in found.samples]
    return entries, list(found.classes)


def listing_of(place: Path, entries: Iterable[tuple[str, str, str]], classes: list[str]) -> Listing:
    """The listing of keys, files and classes."""
    entries = list(entries)
    files = FilePictures(place, tuple(file for _, file, _ in entries))
    return Listing(place, [key for key, _, _ in entries], files, [label for _, _, label in entries], classes)
