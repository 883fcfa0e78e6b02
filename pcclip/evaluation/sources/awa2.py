"""Animals with Attributes 2: 37,322 pictures of 50 animals, with 85 predicates (Xian et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from pcclip.data.sources.awa2 import predicate_table
from pcclip.evaluation.sources.folders import class_folders, listing_of
from pcclip.evaluation.sources.labelled import Listing, SharedOutSource


@dataclass
class AwA2(SharedOutSource):
    """AwA2 in the layout of its archives: the lists and `JPEGImages/<class>/*.jpg`.

    A picture's attributes are the 85 predicates of its class, 1 or 0, joined by the class's NAME. The
    folders' alphabetical order is not that of classes.txt, whose numbers are the rows of the matrix: used as
    a row number, a folder's place gives nearly every picture another animal's attributes.

    It has no official split of pictures (its train and test classes are for learning without examples).

    Args:
        root: Folder of the lists.
        images: Folder of the class folders; null for `JPEGImages` in `root`.
    """

    root: str
    images: str | None = None

    words: ClassVar[str] = "awa2"

    def _list(self, split: str) -> Listing:
        root = Path(self.root).expanduser()
        table = {
            name: {predicate: float(has) for predicate, has in row.items()}
            for name, row in predicate_table(root).items()
        }
        folder = Path(self.images).expanduser() if self.images else root / "JPEGImages"
        entries = [entry for entry in class_folders(folder)[0] if self._within(entry[0], split)]
        listing = listing_of(folder, entries, list(table))
        return replace(listing, attributes=[table.get(label, {}) for label in listing.labels])
