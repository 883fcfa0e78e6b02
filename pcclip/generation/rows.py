"""What the writing job works on: rows, each a pair of pictures with what is known of them."""

from __future__ import annotations

import hashlib
import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pcclip.errors import PcclipError
from pcclip.untrusted import parse_json

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
            raw = parse_json(line)
            if not isinstance(raw, dict):
                raise ValueError(f"it is a {type(raw).__name__}")
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
            why = error if isinstance(error, ValueError) else repr(error)
            raise PcclipError(
                f"{self.path}: line {number + 1} is no row ({why}). A row is a JSON object with 'key', "
                "'image1', 'image2'; mend the line or remove it."
            ) from error
