"""Rows about classes instead of pictures: a description of each, or how each differs from another."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import yaml  # type: ignore[import-untyped]

from pcclip.data.shards import SET_FILE, ShardSet
from pcclip.data.sources.base import SPLITS, CaptionedPictures
from pcclip.errors import PcclipError
from pcclip.generation.picture_texts import picture_texts
from pcclip.generation.rows import Row, RowSource
from pcclip.untrusted import parse_json

Known = dict[str, Mapping[str, float | str]]
"""Class names and what is known of each."""


@dataclass
class ClassTextRows(RowSource):
    """Rows about classes. They fill a prompt's slots `class1`, `class2` (of pairs) and `domain`.

    Args:
        name: Keys of the rows start with it.
        classes: Names in a list; a text file, one a line; a JSON file with `classes`, such as a prepared
            set's `evaluation.json`; a YAML file with `names` by label, such as those of the evaluation sets;
            or a picture set, whose classes are taken.
        source: Instead of `classes`: a source of pictures, whose classes come with their attributes, for the
            rule-based writer.
        domain: What all classes are kinds of, such as "bird", for prompts that say it.
        texts: How many texts are written for each.
        note: The licence of the classes, where their source does not say it.
    """

    incidental: ClassVar[tuple[str, ...]] = ("classes", "source", "note")

    name: str
    classes: list[str] | str | None = None
    source: CaptionedPictures | None = None
    domain: str = ""
    texts: int = 1
    note: str = ""

    def __post_init__(self) -> None:
        """Refuses to write nothing, or about two lists of classes."""
        if (self.classes is None) == (self.source is None):
            raise PcclipError("rows: give 'classes' or 'source', one of them.")
        if self.texts < 1:
            raise PcclipError(f"rows: 'texts' is {self.texts}; give 1 or more.")

    def count(self) -> int:
        """Classes or pairs, times `texts`."""
        return self.subjects() * self.texts

    def rows(self, start: int = 0) -> Iterator[Row]:
        """All texts of a class or a pair come one after the other."""
        nothing: Mapping[str, float | str] = {}
        for number in range(start, self.count()):
            one, two = self.subject(number // self.texts)
            yield Row(
                number,
                f"{self.name}-{number:08d}",
                one,
                two,
                attributes1=self._known[one],
                attributes2=self._known.get(two, nothing),
                slots={"class1": one, "class2": two, "domain": self.domain},
            )

    def describe(self) -> dict[str, Any]:
        """The settings, and the classes and their attributes by their hash."""
        content = repr([(name, sorted(known.items())) for name, known in self._known.items()])
        digest = hashlib.sha256(content.encode(errors="replace")).hexdigest()[:16]
        return super().describe() | {"content": digest}

    def licence(self) -> str:
        """As `note`, the source or the set's card says."""
        if self.note:
            return self.note
        if self.source is not None:
            return self.source.licence
        if isinstance(self.classes, str) and (Path(self.classes) / SET_FILE).is_file():
            return str(ShardSet.load(Path(self.classes)).card.get("licence") or super().licence())
        return super().licence()

    @abstractmethod
    def subjects(self) -> int:
        """How many classes or pairs are written about."""

    @abstractmethod
    def subject(self, at: int) -> tuple[str, str]:
        """A class and "", or a class and the one that it is compared with."""

    @cached_property
    def _known(self) -> Known:
        return classes_of(self.source) if self.source is not None else read_classes(self.classes or [])

    @cached_property
    def _names(self) -> list[str]:
        return list(self._known)


@dataclass
class ClassRows(ClassTextRows):
    """A description of each class, for prompts with more than the class's name."""

    def subjects(self) -> int:
        """All classes."""
        return len(self._names)

    def subject(self, at: int) -> tuple[str, str]:
        """Class number `at`."""
        return self._names[at], ""


@dataclass
class ClassPairRows(ClassTextRows):
    """How one class differs from another, for comparative prompting.

    Args:
        pairs: Ordered pairs `[a, b]`, a being told from b; null: all of them, in both orders.
    """

    pairs: list[list[str]] | None = None

    def subjects(self) -> int:
        """All ordered pairs, or those that are listed."""
        if self.pairs is not None:
            self._check(self.pairs)
            return len(self.pairs)
        return len(self._names) * (len(self._names) - 1)

    def subject(self, at: int) -> tuple[str, str]:
        """Pair number `at`: pairs with the same first class come together."""
        if self.pairs is not None:
            return self.pairs[at][0], self.pairs[at][1]
        one, two = divmod(at, len(self._names) - 1)
        return self._names[one], self._names[two + (two >= one)]

    def _check(self, pairs: Sequence[Sequence[str]]) -> None:
        for pair in pairs:
            if len(pair) != 2 or pair[0] == pair[1] or not set(pair) <= set(self._known):
                raise PcclipError(
                    f"rows: 'pairs' holds {list(pair)!r}; a pair is two different names of 'classes' "
                    f"({', '.join(self._names[:5])}{', ...' if len(self._names) > 5 else ''})."
                )
        if len({tuple(pair) for pair in pairs}) < len(pairs):
            raise PcclipError("rows: 'pairs' names a pair twice. Raise 'texts' for more than one text.")


def classes_of(source: CaptionedPictures) -> Known:
    """The classes of a source's pictures, each with the attributes of its first picture."""
    known: Known = {}
    for split in SPLITS:
        for picture in source.texts(split) if source.count(split) else ():
            if picture.class_name is not None:
                known.setdefault(picture.class_name, picture.attributes)
    return _enough(known, source.name)


def read_classes(classes: list[str] | str) -> Known:
    """The classes that a setting names (see `ClassTextRows`).

    Raises:
        PcclipError: There are fewer than two, or a name comes twice in a list.
    """
    if isinstance(classes, list):
        return _of_names(classes, "'classes'")
    path = Path(classes)
    if path.is_file() and path.suffix != ".tar":
        return _of_names(_listed(path), classes)
    found = {p.class_name for p in picture_texts(classes) if p.class_name is not None}
    return _enough({name: {} for name in sorted(found)}, classes)


def _listed(path: Path) -> list[str]:
    try:
        if path.suffix == ".yaml":
            return [str(name) for name in yaml.safe_load(path.read_bytes())["names"].values()]
        if path.suffix != ".json":
            return [line for line in path.read_bytes().decode().splitlines() if line.strip()]
        raw = parse_json(path.read_bytes())
        return [str(name) for name in (raw["classes"] if isinstance(raw, dict) else raw)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise PcclipError(
            f"{path}: cannot be read as a list of classes ({error!r}). Give a text file with a name a line, "
            "a JSON file with a list 'classes', or a YAML file with names by label in 'names'."
        ) from error


def _of_names(names: Sequence[str], where: str) -> Known:
    known: Known = {}
    for name in map(str.strip, names):
        if not name or name in known:
            raise PcclipError(f"{where}: the class {name!r} is empty or comes twice. Name each class once.")
        known[name] = {}
    return _enough(known, where)


def _enough(known: Known, where: str) -> Known:
    if len(known) < 2:
        raise PcclipError(f"{where}: names {len(known)} classes; two or more are needed.")
    return known
