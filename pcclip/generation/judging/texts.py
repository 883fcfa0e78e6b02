"""The texts that are rated: a random sample of a written set, with captions and pictures."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from pcclip.data.records import IMAGE_EXTENSIONS, Picture, ShardError, Triple
from pcclip.data.shards import SET_FILE, ShardIndex, ShardSet, load_indexes, resolve_shards
from pcclip.errors import PcclipError
from pcclip.generation.picture_pairs import ShardPicture
from pcclip.generation.rows import Described, HasBytes, Row, RowSource


@dataclass(frozen=True)
class WrittenText:
    """One text of the sample.

    Args:
        triple: The record.
        captions1: Captions of image1: those that the writer saw, or else the picture set's.
        captions2: Captions of image2.
        picture1: Image1, where it is known.
        picture2: Image2.
    """

    triple: Triple
    captions1: tuple[str, ...] = ()
    captions2: tuple[str, ...] = ()
    picture1: HasBytes | None = None
    picture2: HasBytes | None = None

    @property
    def id(self) -> str:
        """Names the pair and its wording; a letter first, so that no spreadsheet takes it for a number."""
        told = repr((self.triple.key, self.triple.image1, self.triple.image2, self.triple.difference))
        return "t" + hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:12]


@dataclass
class TextSample(Described):
    """A random sample of a set's texts.

    A smaller sample is part of every larger one of the same seed: what people rate, the judge rates too.

    Args:
        path: The written set, such as `OUT/triples` of `pcclip write`: a folder, a tar, a glob, or a pattern.
        pictures: The picture set that its keys name; not needed where triples carry captions, or pictures.
        count: How many texts; all of them where there are fewer.
        seed: Decides which.
    """

    incidental: ClassVar[tuple[str, ...]] = ("path", "pictures", "count")

    path: str
    pictures: str | None = None
    count: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        """Nothing is read yet."""
        if self.count < 1:
            raise PcclipError(f"texts: count {self.count}: give 1 or more.")
        self._drawn: list[WrittenText] | None = None

    def texts(self) -> list[WrittenText]:
        """The sample, in random order.

        Raises:
            PcclipError: The set cannot be read, or is not one of texts.
        """
        if self._drawn is None:
            indexes = load_indexes(resolve_shards(_inside(self.path)))
            first = heapq.nsmallest(self.count, self._ranked(indexes))
            if not first:
                raise PcclipError(f"{self.path}: holds no text to rate. Is this the set that was written?")
            drawn = [_read(indexes[shard], record) for _, shard, record in first]
            self._drawn = _with_pictures(drawn, self.pictures) if self.pictures else drawn
        return self._drawn

    def describe(self) -> dict[str, Any]:
        """The settings, and the sample's texts and captions by their hash."""
        content = hashlib.sha256()
        for text in self.texts():
            content.update(repr((text.id, text.captions1, text.captions2)).encode(errors="replace"))
        return super().describe() | {"texts": len(self.texts()), "content": content.hexdigest()[:16]}

    def licence(self) -> str:
        """As the set's card says."""
        folder = Path(_inside(self.path))
        noted = ShardSet.load(folder).card.get("licence") if (folder / SET_FILE).is_file() else None
        return str(noted or "not noted")

    def _ranked(self, indexes: Sequence[ShardIndex]) -> Iterator[tuple[bytes, int, int]]:
        for shard, index in enumerate(indexes):
            for record in range(len(index)):
                name = f"{self.seed}/{index.key(record)}".encode("utf-8", "surrogatepass")
                yield hashlib.blake2b(name, digest_size=12).digest(), shard, record


@dataclass
class JudgedRows(RowSource):
    """The rows of a judge: a sample's texts, one each.

    Prompts have the slots `{text}`, `{name1}` and `{name2}`: the captions or the picture in the place 1 are
    those of the picture that `{name1}` calls `first` or, where `swapped`, `second`.

    Args:
        texts: What is rated.
        swapped: Whether the second picture is shown before the first.
    """

    texts: TextSample
    swapped: bool = False

    def count(self) -> int:
        """One for every text."""
        return len(self.texts.texts())

    def rows(self, start: int = 0) -> Iterator[Row]:
        """The texts in the order of the sample."""
        for number, text in enumerate(self.texts.texts()[start:], start):
            triple = text.triple
            one = (triple.image1, text.captions1, text.picture1, "first")
            two = (triple.image2, text.captions2, text.picture2, "second")
            if self.swapped:
                one, two = two, one
            slots = {"text": triple.difference, "name1": one[3], "name2": two[3]}
            yield Row(
                number,
                triple.key,
                one[0],
                two[0],
                one[1],
                two[1],
                picture1=one[2],
                picture2=two[2],
                slots=slots,
            )

    def licence(self) -> str:
        """The set's."""
        return self.texts.licence()


@dataclass(frozen=True)
class _Member:
    """A picture inside a triple."""

    index: ShardIndex
    record: int
    extension: str

    def read_bytes(self) -> bytes:
        return self.index.read(self.record, self.extension)


def _inside(path: str) -> str:
    """The set in the folder of a job."""
    inner = Path(path) / "triples"
    return str(inner) if (inner / SET_FILE).is_file() and not (Path(path) / SET_FILE).is_file() else path


def _read(index: ShardIndex, record: int) -> WrittenText:
    present = index.extensions(record)
    triple = Triple.parse(index.key(record), index.read(record, "json"), index.path)
    captions = triple.source.get("captions")
    both = captions if isinstance(captions, list) and len(captions) == 2 else ["", ""]
    pictures = []
    for which in "12":
        found = next((name for e in IMAGE_EXTENSIONS if (name := f"{which}.{e}") in present), None)
        pictures.append(_Member(index, record, found) if found else None)
    return WrittenText(triple, _captions(both[0]), _captions(both[1]), *pictures)


def _captions(noted: Any) -> tuple[str, ...]:
    """The captions of one picture as a triple notes them: one, or several as a list or as `- ` lines."""
    if isinstance(noted, list):
        return tuple(map(str, noted))
    lines = str(noted).splitlines()
    if lines and all(line.startswith("- ") for line in lines):
        return tuple(line[2:] for line in lines)
    return (str(noted),) if noted else ()


def _with_pictures(texts: list[WrittenText], pictures: str) -> list[WrittenText]:
    """Adds the pictures of a set, and its captions where the triples note none."""
    wanted = {key for text in texts for key in (text.triple.image1, text.triple.image2)}
    found: dict[str, tuple[ShardPicture, tuple[str, ...]]] = {}
    for path in resolve_shards(pictures):
        index = ShardIndex.load(path)
        for record, key in enumerate(index.keys):
            if key in wanted:
                captions = Picture.parse(key, index.read_record(record), path).captions
                found[key] = (ShardPicture(index, record), captions)
    if not found:
        key = min(wanted)
        raise ShardError.at(
            pictures, key, "no picture of the sample is in this set", "Name the set that the pairs are of."
        )
    filled = []
    for text in texts:
        one, two = found.get(text.triple.image1), found.get(text.triple.image2)
        noted = bool(text.captions1 or text.captions2)
        filled.append(
            replace(
                text,
                captions1=text.captions1 if noted or one is None else one[1],
                captions2=text.captions2 if noted or two is None else two[1],
                picture1=text.picture1 or (one[0] if one else None),
                picture2=text.picture2 or (two[0] if two else None),
            )
        )
    return filled
