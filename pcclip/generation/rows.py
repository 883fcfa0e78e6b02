"""What the writing job works on: rows, each a pair of pictures with what is known of them."""

from __future__ import annotations

import hashlib
import itertools
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pcclip.data.records import Picture
from pcclip.data.shards import SET_FILE, ShardIndex, resolve_shards
from pcclip.errors import PcclipError
from pcclip.generation.pairs import PairPlan, Pairs, draw_pool, make_pairs

_PICTURES = ("picture1", "picture2")


class HasBytes(Protocol):
    """An encoded picture that is read when it is needed: a `Path`, a `ShardPicture`."""

    def read_bytes(self) -> bytes:
        """The encoded file."""
        ...


@dataclass(frozen=True, slots=True)
class Row:
    """One question of the job: how does image1 differ from image2? Or something about one thing alone.

    Args:
        number: Place in the job, counted from 0 without gaps.
        key: Key of the triple that it becomes; unique in the job.
        image1: Key of the picture that the text describes, or the name of a class.
        image2: What it is compared with; empty where the text is about image1 alone.
        captions1: Captions of image1, as they came; the prompt chooses and cleans.
        captions2: Captions of image2.
        attributes1: What is known of image1, for the rule-based writer.
        attributes2: What is known of image2.
        picture1: Image1 itself, for prompts that show pictures.
        picture2: Image2 itself.
        slots: Texts for a prompt's own slots.
    """

    number: int
    key: str
    image1: str
    image2: str
    captions1: tuple[str, ...] = ()
    captions2: tuple[str, ...] = ()
    attributes1: Mapping[str, float | str] = field(default_factory=dict)
    attributes2: Mapping[str, float | str] = field(default_factory=dict)
    picture1: HasBytes | None = None
    picture2: HasBytes | None = None
    slots: Mapping[str, str] = field(default_factory=dict)


class Described:
    """Something a recipe sets up, and whose settings decide what the job writes."""

    incidental: ClassVar[tuple[str, ...]] = ()
    """Fields that change where or how fast, not what: left out of the fingerprint."""

    def describe(self) -> dict[str, Any]:
        """The class and its fields, for the fingerprint; of dataclasses."""
        named = f"{type(self).__module__}.{type(self).__qualname__}"
        kept = [f.name for f in fields(self) if f.init]  # type: ignore[arg-type]
        return {"class": named} | {
            name: _plain(getattr(self, name)) for name in kept if name not in self.incidental
        }


def _plain(value: Any) -> Any:
    if isinstance(value, Described):
        return value.describe()
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


class RowSource(Described, ABC):
    """Yields the rows of a job, always the same ones in the same order."""

    @abstractmethod
    def count(self) -> int | None:
        """How many rows there are, or None where that shows only at the end."""

    @abstractmethod
    def rows(self, start: int = 0) -> Iterator[Row]:
        """The rows from number `start` on; memory must not grow with their number."""

    def licence(self) -> str:
        """The licence of the pictures and captions, for the card."""
        return "not noted"


@dataclass(frozen=True)
class ShardPicture:
    """A picture in a shard, read when it is asked for."""

    index: ShardIndex
    record: int

    def read_bytes(self) -> bytes:
        """The encoded file."""
        return Picture.parse(
            self.index.key(self.record), self.index.read_record(self.record), self.index.path
        ).image


@dataclass(frozen=True, slots=True)
class KnownPicture:
    """What is known of a picture that takes part in pairs, without its bytes."""

    captions: tuple[str, ...]
    attributes: Mapping[str, float | str]
    class_name: str | None
    picture: HasBytes


class PairedPictures(RowSource):
    """Rows that are pairs of pictures of one set; subclasses say where the pictures are.

    Attributes:
        plan: Which pictures and which pairs.
        name: Keys of the rows start with it.
        seed: Decides which pictures and pairs, and their directions.
    """

    plan: PairPlan
    name: str
    seed: int

    @abstractmethod
    def _keys(self) -> list[str]:
        """Keys of all pictures, in a fixed order."""

    @abstractmethod
    def _describe_pictures(self, keys: Sequence[str]) -> dict[str, KnownPicture]:
        """What is known of the pictures that take part."""

    @cached_property
    def _known(self) -> dict[str, KnownPicture]:
        return self._describe_pictures(draw_pool(self._keys(), self.plan, self.seed))

    @cached_property
    def _pairs(self) -> Pairs:
        classes = {key: known.class_name for key, known in self._known.items()}
        return make_pairs(list(self._known), self.plan, self.seed, classes)

    def count(self) -> int:
        """As many as the plan says; twice that where it makes both directions."""
        return len(self._pairs)

    def rows(self, start: int = 0) -> Iterator[Row]:
        """The pairs in their drawn order."""
        known = self._known
        for number, (image1, image2) in enumerate(self._pairs.rows(start), start):
            a, b = known[image1], known[image2]
            yield Row(
                number,
                f"{self.name}-{number:08d}",
                image1,
                image2,
                a.captions,
                b.captions,
                a.attributes,
                b.attributes,
                a.picture,
                b.picture,
            )

    def describe(self) -> dict[str, Any]:
        """The settings, and the keys, captions and attributes of the pictures by their hash."""
        content = hashlib.sha256()
        for key, known in self._known.items():
            content.update(
                repr((key, known.captions, sorted(known.attributes.items()))).encode(errors="replace")
            )
        return super().describe() | {"content": content.hexdigest()[:16]}


@dataclass
class PicturePairs(PairedPictures):
    """Pairs of the pictures of a set of shards.

    Args:
        pictures: The picture set: a folder, a tar, a glob or a brace pattern.
        plan: Which pictures and which pairs.
        name: Keys of the rows start with it.
        seed: Decides which pictures and pairs, and their directions.
        note: The licence of the set, where its `set.json` does not say it.
    """

    incidental: ClassVar[tuple[str, ...]] = ("pictures", "note")

    pictures: str
    plan: PairPlan
    name: str
    seed: int = 0
    note: str = ""

    def licence(self) -> str:
        """As `note` or the set's card says."""
        file = Path(self.pictures) / SET_FILE
        if not self.note and file.is_file():
            return str(json.loads(file.read_bytes()).get("card", {}).get("licence") or super().licence())
        return self.note or super().licence()

    @cached_property
    def _places(self) -> dict[str, tuple[ShardIndex, int]]:
        indexes = [ShardIndex.load(path) for path in resolve_shards(self.pictures)]
        return {key: (index, at) for index in indexes for at, key in enumerate(index.keys)}

    def _keys(self) -> list[str]:
        return list(self._places)

    def _describe_pictures(self, keys: Sequence[str]) -> dict[str, KnownPicture]:
        known = {}
        for key in keys:
            index, at = self._places[key]
            picture = Picture.parse(key, index.read_record(at), index.path)
            known[key] = KnownPicture(
                picture.captions, picture.attributes, picture.class_name, ShardPicture(index, at)
            )
        return known


@dataclass
class RowFile(RowSource):
    """Rows from a file of JSON lines, made by any other program.

    Each line is an object with `key`, `image1`, `image2`, and where wanted `captions1`, `captions2` (lists),
    `attributes1`, `attributes2` (objects), `picture1`, `picture2` (paths, relative to the file) and `slots`.

    Args:
        path: The file.
        note: The licence of the pictures and captions.
    """

    incidental: ClassVar[tuple[str, ...]] = ("path", "note")

    path: str
    note: str = "not noted"

    def __post_init__(self) -> None:
        """Nothing is read yet."""
        self._content: tuple[int, str] | None = None

    def count(self) -> int:
        """The lines of the file."""
        return self._scan()[0]

    def rows(self, start: int = 0) -> Iterator[Row]:
        """The file's lines from line `start` (counted from 0) on."""
        folder = Path(self.path).parent
        with self._open() as file:
            for number, line in enumerate(itertools.islice(file, start, None), start):
                yield self._row(number, line, folder)

    def describe(self) -> dict[str, Any]:
        """The settings, and the file's content by its hash."""
        return super().describe() | {"content": self._scan()[1]}

    def licence(self) -> str:
        """As `note` says."""
        return self.note

    def _open(self) -> Any:
        try:
            return Path(self.path).open("rb")
        except OSError as error:
            raise PcclipError(
                f"{self.path}: cannot be read ({error.strerror}). Check 'rows.path'."
            ) from error

    def _scan(self) -> tuple[int, str]:
        if self._content is None:
            digest, lines, last = hashlib.sha256(), 0, b"\n"
            with self._open() as file:
                while block := file.read(1 << 20):
                    digest.update(block)
                    lines += block.count(b"\n")
                    last = block[-1:]
            self._content = (lines + (last != b"\n"), digest.hexdigest()[:16])
        return self._content

    def _row(self, number: int, line: bytes, folder: Path) -> Row:
        try:
            raw = json.loads(line)
            picture1, picture2 = (folder / p if p else None for p in map(raw.get, _PICTURES))
            return Row(
                number,
                str(raw["key"]),
                str(raw["image1"]),
                str(raw["image2"]),
                tuple(map(str, raw.get("captions1") or ())),
                tuple(map(str, raw.get("captions2") or ())),
                dict(raw.get("attributes1") or {}),
                dict(raw.get("attributes2") or {}),
                picture1,
                picture2,
                {name: str(value) for name, value in (raw.get("slots") or {}).items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PcclipError(
                f"{self.path}: line {number + 1} is no row ({error!r}). A row is a JSON object with 'key', "
                "'image1', 'image2'; mend the line or remove it."
            ) from error
