"""ImageNet (ILSVRC 2012): class folders named by WordNet id."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from pcclip.data.sources.splits import share_of
from pcclip.errors import PcclipError
from pcclip.evaluation.sources.folders import class_folders, listing_of
from pcclip.evaluation.sources.labelled import ALL, LabelledSource, Listing
from pcclip.evaluation.sources.words import Words


@dataclass
class ImageNet(LabelledSource):
    """ImageNet's pictures as torchvision unpacks them: `train/<wnid>/*.JPEG` and `val/<wnid>/*.JPEG`.

    The test split is the official validation set, as everywhere; the validation split is cut from `train`.
    The devkit is not needed: the folders' names are WordNet ids.

    Args:
        root: Folder with `train/` and `val/`.
        download: Let torchvision unpack the official archives (with the devkit's) that lie in `root`; they
            can be had from image-net.org only.
        validation: Share of the train pictures that is the validation split.
        seed: Decides which.
    """

    root: str
    download: bool = False
    validation: float = 0.04
    seed: int = 0

    words: ClassVar[str] = "imagenet"

    def _list(self, split: str) -> Listing:
        root = Path(self.root).expanduser()
        entries: list[tuple[str, str, str]] = []
        for part in {"test": ("val",), ALL: ("train", "val")}.get(split, ("train",)):
            folder = root / part
            if not folder.is_dir():
                self._unpack(root, part)
            for key, file, wnid in class_folders(folder)[0]:
                if split in ("test", ALL) or split == share_of(
                    key, 1 - self.validation, self.validation, self.seed, test=False
                ):
                    entries.append((f"{part}/{key}", file, wnid))
        return listing_of(root, entries, list(_names()))

    def _words(self) -> Words:
        return replace(super()._words(), names=_names())

    def _unpack(self, root: Path, part: str) -> None:
        from torchvision import datasets

        problem = "is no folder"
        if self.download:
            try:
                datasets.ImageNet(str(root), split=part)
                return
            except (OSError, RuntimeError) as error:
                problem = f"cannot be unpacked (torchvision: {error})"
        raise PcclipError(
            f"{root / part}: {problem}. Unpack ILSVRC2012_img_{part}.tar into class folders (n01440764/...), "
            "or put it and ILSVRC2012_devkit_t12.tar.gz into 'root' and set 'download: true'."
        )


def _names() -> dict[str, str]:
    """open_clip's class names by WordNet id; both lists are in the order of the ids."""
    from open_clip import IMAGENET_CLASSNAMES
    from timm.data import ImageNetInfo  # type: ignore[attr-defined]

    ids: list[str] = ImageNetInfo("imagenet-1k").label_names()  # type: ignore[no-untyped-call]
    return dict(zip(ids, IMAGENET_CLASSNAMES, strict=True))
