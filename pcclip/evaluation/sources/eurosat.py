"""EuroSAT: 27,000 satellite photos of ten kinds of land (Helber et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pcclip.data.sources.eurosat import COVERS, split_names
from pcclip.data.sources.eurosat_photos import find_photos
from pcclip.evaluation.sources.labelled import ALL, Listing, SharedOutSource
from pcclip.evaluation.sources.pictures import FilePictures, PackedPictures, stamp_of


@dataclass
class EuroSAT(SharedOutSource):
    """The RGB photos of EuroSAT, in torchvision's order: by class, then by file name.

    It has no official splits. With the same `train`, `validation` and `seed` as the recipe that made training
    data from it (`data_recipes/eurosat`), a photo is in the same split as there, so that no photo of the test
    split was trained on.

    Args:
        root: Folder with `eurosat/2750/<Class>/*.jpg` (as torchvision unpacks it), `2750/`, or `EuroSAT.zip`
            in it or in `eurosat/`; a zip is read as it is.
        download: Let torchvision download it if it is not there.
    """

    root: str
    download: bool = False

    words: ClassVar[str] = "eurosat"

    def _list(self, split: str) -> Listing:
        photos = find_photos(Path(self.root).expanduser(), self.download)
        found: list[tuple[str, str]] = []
        for folder in COVERS:
            names = photos.names(folder)
            shares: dict[str, list[str]] = {ALL: names}
            for part, some in split_names(names, folder, self.train, self.validation, self.seed).items():
                shares[part] = some
            found += [(folder, name) for name in sorted(shares[split])]
        keys = tuple(name.rpartition(".")[0] for _, name in found)
        pictures: FilePictures | PackedPictures
        if photos.place.is_dir():
            pictures = FilePictures(photos.place, tuple(f"{photos.place}/{at}/{name}" for at, name in found))
        else:
            pictures = PackedPictures(
                keys, photos.place, lambda index: photos.read(*found[index]), stamp_of([photos.place])
            )
        return Listing(photos.place, keys, pictures, [folder for folder, _ in found], list(COVERS))
