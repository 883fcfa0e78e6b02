"""A folder of pictures, embedded once per image tower; later only what is new or changed.

Shape letters: N pictures, D embedding width.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pcclip.data.locks import only_one
from pcclip.data.progress import progress_bar
from pcclip.errors import PcclipError
from pcclip.evaluation.statistics import Floats
from pcclip.inference.gallery_files import Entries, Kept, Listing, list_pictures

if TYPE_CHECKING:
    from PIL import Image

    from pcclip.inference.embedding_model import EmbeddingModel

_log = logging.getLogger(__name__)

_PART = 1024
"""Pictures after which what has been embedded is kept, should the process be stopped."""

_UNREADABLE = 10
"""So many unreadable pictures are left out of any folder; of large ones up to a tenth."""


@dataclass(frozen=True)
class Gallery:
    """The pictures of a folder with their embeddings by one image tower.

    Attributes:
        folder: That was searched, with all folders in it.
        files: Names of the N pictures, relative to the folder, with `/`, sorted.
        features: (N, D) float32 unit rows, memory-mapped where they are kept in a file.
        unreadable: Names of files that look like pictures but cannot be decoded.
    """

    folder: Path
    files: tuple[str, ...]
    features: Floats
    unreadable: tuple[str, ...] = ()

    @classmethod
    def open(
        cls,
        folder: str | Path,
        model: EmbeddingModel,
        cache: str | Path | None = None,
        progress: bool = True,
    ) -> Gallery:
        """Finds the pictures of a folder and embeds those that are not embedded yet.

        Names that begin with a dot are passed over, and folders behind symbolic links. A picture counts as
        changed when its size or its time of change has. A stopped process loses the last thousand pictures
        at most; of several at once, one embeds. An unreadable picture is logged and left out; more than ten
        and than a tenth of all are an error.

        Args:
            folder: To search.
            model: Whose image tower embeds.
            cache: Where embeddings are kept; the model's cache, if None, and in memory where it has none.
            progress: Show a progress bar while embedding.

        Raises:
            PcclipError: There is no such folder, no picture in it, or too many unreadable ones.

        Example:
            >>> from pcclip.inference.gallery import Gallery
            >>> gallery = Gallery.open("photos", model, cache="data/cache")
            >>> len(gallery.files) == len(gallery.features)
            True
        """
        place = Path(folder).expanduser()
        listing = list_pictures(place)
        where = Path(cache).expanduser() if cache is not None else model.cache
        if where is None:
            entries = _embedded(place, listing, Entries.none(), model, None, progress)
        else:
            kept = Kept(where, place, model.image_fingerprint)
            found = kept.read()
            if found is None or found.listing != listing:
                with only_one(kept.lock, f"embedding {place}"):
                    found = kept.read()
                    if found is None or found.listing != listing:
                        known = (Entries.none() if found is None else found).joined(kept.parts())
                        kept.write(_embedded(place, listing, known, model, kept, progress))
                        found = kept.read()
            assert found is not None
            entries = found
        return cls._of(place, entries)

    @classmethod
    def _of(cls, place: Path, entries: Entries) -> Gallery:
        names, readable = entries.listing.names, entries.readable
        if readable.all():
            return cls(place, names, entries.rows)
        files = tuple(name for name, good in zip(names, readable, strict=True) if good)
        bad = tuple(name for name, good in zip(names, readable, strict=True) if not good)
        _log.warning("%s: %s left out, as in: %s", place, _unreadable(len(bad)), bad[0])
        return cls(place, files, entries.rows, bad)

    def __len__(self) -> int:
        return len(self.files)

    def path(self, index: int) -> Path:
        """Where a picture lies."""
        return self.folder / self.files[index]

    def row(self, picture: str | os.PathLike[str]) -> int | None:
        """Which picture a path, as it stands or relative to the folder, means; None if it is none of them."""
        given = Path(picture).expanduser()
        names = [given.as_posix()]
        if given.exists():
            real = Path(os.path.realpath(given.parent)) / given.name
            root = Path(os.path.realpath(self.folder))
            if real.is_relative_to(root):
                names.insert(0, real.relative_to(root).as_posix())
        return next((self.files.index(name) for name in names if name in self.files), None)


class _Tolerant:
    """Pictures of a folder, a grey one in the place of each that cannot be read.

    Args:
        folder: Of the pictures.
        names: Theirs.
        limit: How many may be unreadable.
        before: How many were already.
    """

    def __init__(self, folder: Path, names: Sequence[str], limit: int, before: int) -> None:
        self._folder = folder
        self._names = names
        self._limit = limit
        self._before = before
        self.bad: dict[int, str] = {}

    def read(self, index: int) -> Image.Image:
        from PIL import Image

        from pcclip.inference.pictures import read_file

        try:
            return read_file(self._folder / self._names[index])
        except PcclipError as error:
            self.bad[index] = str(error)
            if (count := self._before + len(self.bad)) > self._limit:
                raise PcclipError(
                    f"{self._folder}: more than {self._limit} pictures cannot be read ({count} so far); the "
                    f"last: {error}"
                ) from error
            return Image.new("RGB", (64, 64), (128, 128, 128))

    def fingerprint(self) -> str:
        raise NotImplementedError  # nothing is cached by it


def _embedded(
    folder: Path,
    listing: Listing,
    known: Entries,
    model: EmbeddingModel,
    kept: Kept | None,
    progress: bool,
) -> Entries:
    """All pictures of a listing: those that are known, and the others embedded now."""
    from pcclip.inference.pictures import as_set

    missing = listing.less(known.listing)
    limit = max(_UNREADABLE, len(listing) // 10)
    collected = [known]
    bad = known.unreadable_in(listing)
    with progress_bar(progress and len(missing) > 0) as bars:
        bar = bars.add_task(f"Embedding {folder.name}", total=len(listing))
        bars.update(bar, completed=len(listing) - len(missing))
        for start in range(0, len(missing), _PART):
            part = missing.take(range(start, min(start + _PART, len(missing))))
            pictures = _Tolerant(folder, part.names, limit, bad)
            batches = []
            for rows in model.embed(as_set(folder, part.names, pictures)):
                batches.append(rows)
                bars.advance(bar, len(rows))
            for number in sorted(pictures.bad):
                _log.warning("left out: %s", pictures.bad[number])
            bad += len(pictures.bad)
            readable = np.ones(len(part), bool)
            readable[list(pictures.bad)] = False
            made = Entries(part, readable, np.concatenate(batches)[readable])
            if kept is not None:
                kept.add_part(made)
            collected.append(made)
    whole = Entries.joined(*collected).of(listing)
    if not whole.readable.any():
        raise PcclipError(f"{folder}: no picture in it can be read ({len(listing)} were tried)")
    return whole


def _unreadable(count: int) -> str:
    return "1 unreadable picture" if count == 1 else f"{count:,} unreadable pictures"
