"""CIFAR100, Flowers102, Food101 and SUN397, by torchvision's classes: their layouts, checks and downloads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pcclip.data.sources.listed import key_of
from pcclip.data.sources.splits import share_of
from pcclip.errors import PcclipError
from pcclip.evaluation.sources.labelled import ALL, LabelledSource, Listing, SharedOutSource
from pcclip.evaluation.sources.pictures import ArrayPictures, FilePictures


@dataclass(kw_only=True)
class _Cut(LabelledSource):
    """Sets with an official train and test split; the hash of a key cuts validation from train.

    Args:
        validation: Share of the official train split that is the validation split.
        seed: Decides which.
    """

    validation: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses a share that leaves a split empty."""
        if not 0 < self.validation < 1:
            raise PcclipError(
                f"{self.set_name}: 'validation' ({self.validation}) is the share of the train split that is "
                "kept for validation: above 0 and below 1."
            )

    def _within(self, key: str, split: str) -> bool:
        """Whether a picture of the official split that holds `split` belongs to it."""
        if split not in ("train", "validation"):
            return True
        return share_of(key, 1 - self.validation, self.validation, self.seed, test=False) == split


def _parts(split: str) -> tuple[str, ...]:
    return ("train", "test") if split == ALL else ("train",) if split == "validation" else (split,)


@dataclass
class CIFAR100(_Cut):
    """CIFAR-100 (Krizhevsky 2009): 60,000 pictures of 32 x 32, 100 classes.

    Keys are `train/00000` and `test/00000`: the part and the place in its file.

    Args:
        root: Folder with `cifar-100-python/`, or where it is to be downloaded to.
        download: Let torchvision download what is not there.
    """

    root: str
    download: bool = False

    words: ClassVar[str] = "cifar100"

    def _list(self, split: str) -> Listing:
        from torchvision import datasets

        keys: list[str] = []
        labels: list[str] = []
        pixels = []
        classes: list[str] = []
        for part in _parts(split):
            found = _loaded(self, datasets.CIFAR100, train=part == "train")
            classes = list(found.classes)
            numbers = [n for n in range(len(found.targets)) if self._within(f"{part}/{n:05d}", split)]
            keys += [f"{part}/{n:05d}" for n in numbers]
            labels += [classes[found.targets[n]] for n in numbers]
            pixels.append(found.data[numbers])
        place = _root(self) / datasets.CIFAR100.base_folder
        return Listing(place, keys, ArrayPictures(np.concatenate(pixels)), labels, classes)


@dataclass
class Food101(_Cut):
    """Food-101 (Bossard et al. 2014): 101,000 pictures, 101 classes.

    Args:
        root: Folder with `food-101/`, or where it is to be downloaded to.
        download: Let torchvision download what is not there.
    """

    root: str
    download: bool = False

    words: ClassVar[str] = "food101"

    def _list(self, split: str) -> Listing:
        from torchvision import datasets

        found = [_loaded(self, datasets.Food101, loader=_path, split=part) for part in _parts(split)]
        base = _root(self) / "food-101"
        entries = [(file, one.classes[label]) for one in found for file, label in _samples(one)]
        return _of_files(
            base, base / "images", entries, found[0].classes, lambda key: self._within(key, split)
        )


@dataclass
class Flowers102(LabelledSource):
    """102 Category Flower Dataset (Nilsback and Zisserman 2008): 8,189 pictures, official three splits.

    Labels are the official numbers, 1 to 102.

    Args:
        root: Folder with `flowers-102/`, or where it is to be downloaded to.
        download: Let torchvision download what is not there.
    """

    root: str
    download: bool = False

    words: ClassVar[str] = "flowers102"

    def _list(self, split: str) -> Listing:
        from torchvision import datasets

        parts = {"validation": ("val",), ALL: ("train", "val", "test")}.get(split, (split,))
        entries = []
        for part in parts:
            found = _loaded(self, datasets.Flowers102, loader=_path, split=part)
            entries += [(file, str(int(label) + 1)) for file, label in _samples(found)]
        base = _root(self) / "flowers-102"
        return _of_files(base, base / "jpg", entries, [str(number) for number in range(1, 103)])


@dataclass
class SUN397(SharedOutSource):
    """SUN397 (Xiao et al. 2010): 108,754 pictures of 397 kinds of scene; splits by share.

    Its ten official partitions use 100 pictures of a class each, and torchvision has none of them.

    Args:
        root: Folder with `SUN397/`, or where it is to be downloaded to.
        download: Let torchvision download what is not there.
    """

    root: str
    download: bool = False

    words: ClassVar[str] = "sun397"

    def _list(self, split: str) -> Listing:
        from torchvision import datasets

        found = _loaded(self, datasets.SUN397, loader=_path)
        entries = [(file, found.classes[label]) for file, label in _samples(found)]
        base = _root(self) / "SUN397"
        return _of_files(base, base, entries, found.classes, lambda key: self._within(key, split))


def _path(file: Any) -> str:
    """Stands where torchvision would decode: the path is all that is wanted."""
    return str(file)


def _root(source: Any) -> Path:
    return Path(source.root).expanduser()


def _samples(dataset: Any) -> Iterable[tuple[str, int]]:
    return (dataset[index] for index in range(len(dataset)))


def _loaded(source: Any, make: Callable[..., Any], **settings: Any) -> Any:
    try:
        return make(str(_root(source)), download=source.download, **settings)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        done = "could not be downloaded or read" if source.download else "is not there, or damaged"
        raise PcclipError(
            f"{source.root}: {source.set_name} {done} (torchvision: {error}). Give 'root' the folder that "
            "torchvision keeps it in, or set 'download: true'."
        ) from error


def _of_files(
    place: Path,
    folder: Path,
    entries: Iterable[tuple[str, str]],
    classes: Sequence[str],
    within: Callable[[str], bool] = lambda key: True,
) -> Listing:
    start = len(str(folder)) + 1
    named = sorted((key_of(file[start:]), file, label) for file, label in entries)
    kept = [entry for entry in named if within(entry[0])]
    return Listing(
        place,
        [key for key, _, _ in kept],
        FilePictures(place, tuple(file for _, file, _ in kept)),
        [label for _, _, label in kept],
        list(classes),
    )
