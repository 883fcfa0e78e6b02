"""Sources that list their pictures in a file or a folder: what is missing, doubled or without a caption."""

from __future__ import annotations

import hashlib
import logging
import os
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pcclip.data.records import IMAGE_EXTENSIONS, Picture, check_key
from pcclip.data.sources.base import SPLITS, Split
from pcclip.data.sources.captions import told, usable
from pcclip.data.sources.splits import SharedOut
from pcclip.errors import PcclipError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture as a source's files name it.

    Args:
        key: Of the picture; `key_of` makes one of a file's name.
        file: Where the picture should lie; None where the source has no pictures.
        captions: Whatever stands where captions should; all of it is checked.
        class_name: Its class, if known.
        attributes: Its attributes, if known.
        split: Its split where the set says so; else it is shared out.
        where: Of its entry (a line, an id), for errors.
    """

    key: str
    file: Path | None
    captions: Sequence[Any]
    class_name: str | None = None
    attributes: Mapping[str, float | str] = field(default_factory=dict)
    split: Split | None = None
    where: str = ""


@dataclass(kw_only=True)
class ListedPictures(SharedOut):
    """Captioned pictures that are files.

    Args:
        with_images: False: only the texts are used, so that pictures whose file is missing take part.
    """

    with_images: bool = True

    @abstractmethod
    def _entries(self) -> Iterator[Entry]:
        """Lists all pictures of the set, in a fixed order."""

    @abstractmethod
    def _list_file(self) -> Path:
        """The file or folder that the list is read from, named in messages."""

    def count(self, split: Split) -> int:
        """How many pictures with captions the split has."""
        return len(self._listed[split])

    def texts(self, split: Split) -> Iterator[Picture]:
        """Captions, classes and attributes, without reading a picture."""
        yield from self._listed[split]

    def pictures(self, split: Split) -> Iterator[Picture]:
        """The pictures of a split, read one by one."""
        if not self.with_images:
            raise PcclipError(
                f"{self.name}: the pictures themselves are asked for, but 'with_images' is false. Set it to "
                "true; pictures whose file is missing are then left out."
            )
        for picture in self._listed[split]:
            yield replace(picture, image=self.image(picture.key))

    def image(self, key: str) -> bytes:
        """Reads a picture's file."""
        if key not in self._files:
            raise PcclipError(f"{self._list_file()}: names no picture {key!r}. Is it a key of another set?")
        file = self._files[key]
        try:
            if file is None:
                raise FileNotFoundError(f"{self.name} has no pictures")
            return file.read_bytes()
        except OSError as error:
            raise PcclipError(
                f"{file or self.name}: picture {key!r} cannot be read ({error.strerror or error}). Copy it "
                "again; a picture that was missing from the start is left out where 'with_images' is true."
            ) from error

    def skipped(self) -> dict[str, int]:
        """Pictures and captions that were left out, by reason."""
        _ = self._listed
        return {why: n for why, n in self._skipped.items() if n}

    @cached_property
    def _skipped(self) -> Counter[str]:
        return Counter()

    @cached_property
    def _files(self) -> dict[str, Path | None]:
        return {}

    @cached_property
    def _listed(self) -> dict[Split, list[Picture]]:
        listed: dict[Split, list[Picture]] = {split: [] for split in SPLITS}
        present = _Folders()
        total = 0
        self._files.clear()
        self._skipped.clear()
        for entry in self._entries():
            total += 1
            where = f"{self._list_file()}{entry.where and ': ' + entry.where}"
            if ".." in entry.key.split("/"):
                raise PcclipError(f"{where}: {entry.file} lies outside of the folder of the pictures.")
            check_key(entry.key, where)
            if entry.key in self._files:
                raise PcclipError(
                    f"{where}: {entry.file or entry.key} has the key {entry.key!r}, and so has "
                    f"{self._files[entry.key] or 'an entry before it'}. Name each picture once; keys are "
                    "file names without their extension, '.' written as '_'."
                )
            self._files[entry.key] = entry.file
            if self.with_images and not (entry.file is not None and present.has(entry.file)):
                self._skipped["picture file missing"] += 1
                continue
            captions = usable(entry.captions, self._skipped)
            if not captions:
                self._skipped["picture without a caption"] += 1
                continue
            listed[entry.split or self.split_of(entry.key)].append(
                Picture(
                    entry.key,
                    b"",
                    _extension(entry.file),
                    captions[0],
                    entry.class_name,
                    dict(entry.attributes),
                    captions,
                )
            )
        self._report(total, sum(map(len, listed.values())))
        return listed

    def _report(self, total: int, kept: int) -> None:
        pictures, captions = told(self._skipped, "picture"), told(self._skipped, "caption")
        line = f"{self._list_file()}: {kept:,} of {total:,} pictures are used"
        line += f"; pictures left out: {pictures}" if pictures else ""
        line += f"; captions left out: {captions}" if captions else ""
        if not kept:
            remedy = (
                "Check the folder of the pictures, or set 'with_images: false' to use the captions alone."
            )
            if captions and sum(self._skipped[name] for name in self._skipped if "caption" in name) >= total:
                remedy = "Check the column or file of the captions: pictures without one are not used."
            raise PcclipError(f"{line}. {remedy}")
        if pictures or captions:
            _log.warning(line)


class _Folders:
    """Which files exist: each folder is listed once, instead of asking for each of its files."""

    def __init__(self) -> None:
        self._names: dict[Path, set[str]] = {}

    def has(self, file: Path) -> bool:
        folder = file.parent
        if folder not in self._names:
            try:
                self._names[folder] = set(os.listdir(folder))
            except OSError:
                self._names[folder] = set()
        return file.name in self._names[folder]


def key_of(file: str) -> str:
    """The key of a picture: its path without its extension, and without dots in its name."""
    path, slash, name = file.replace(os.sep, "/").rpartition("/")
    stem, dot, extension = name.rpartition(".")
    if not dot or extension.lower() not in IMAGE_EXTENSIONS:
        stem = name
    return f"{path}{slash}{stem.replace('.', '_')}"


def digest_of(*files: Path) -> str:
    """A digest of some files' contents, for fingerprints."""
    made = hashlib.sha256()
    for file in files:
        with read(file).open("rb") as opened:
            made.update(hashlib.file_digest(opened, "sha256").digest())
    return made.hexdigest()[:16]


def read(file: Path, remedy: str = "Check the path.") -> Path:
    """The file itself, where it exists.

    Raises:
        PcclipError: It does not, or is a folder.
    """
    if not file.is_file():
        what = "is a folder, not a file" if file.is_dir() else "there is no such file"
        raise PcclipError(f"{file}: {what}. {remedy}")
    return file


def lines_of(file: Path, remedy: str) -> Iterable[tuple[int, str]]:
    """The lines of a text file with their numbers, blank ones left out.

    Raises:
        PcclipError: It is missing or no UTF-8 text.
    """
    try:
        text = read(file, remedy).read_bytes().decode()
    except UnicodeDecodeError as error:
        raise PcclipError(f"{file}: is no UTF-8 text ({error}). {remedy}") from error
    # Not splitlines(): that would also cut at control characters within a caption.
    return [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def _extension(file: Path | None) -> str:
    extension = file.suffix[1:].lower() if file is not None else ""
    return extension if extension in IMAGE_EXTENSIONS else "jpg"
