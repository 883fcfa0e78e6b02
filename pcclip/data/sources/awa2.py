"""Animals with Attributes 2: 50 animals and what each is like, for differences between classes by rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pcclip.data.records import Picture
from pcclip.data.sources.base import DescribedPictures
from pcclip.data.sources.listed import Entry, ListedPictures, digest_of, lines_of
from pcclip.errors import PcclipError
from pcclip.generation.vocabulary import Attribute, Category, NounPhrase, References

_LAYOUT = (
    "'root' is the folder of AwA2's lists (AwA2-base.zip): classes.txt, predicates.txt and "
    "predicate-matrix-binary.txt, whose row k is class k."
)
_FILES = ("classes.txt", "predicates.txt", "predicate-matrix-binary.txt")

_PARTS = ("patches", "spots", "stripes", "flippers", "hands", "hooves", "paws", "horns", "claws", "tusks")
# The predicates that can be seen in a picture, by name: what an animal has that has it, or lacks it.
VISUAL: dict[str, tuple[str, str]] = {
    **{
        colour: (f"{colour} fur or skin", f"no {colour} fur or skin")
        for colour in ("black", "white", "blue", "brown", "gray", "orange", "red", "yellow")
    },
    **{part: (part, f"no {part}") for part in _PARTS},
    "furry": ("a furry animal", "an animal without fur"),
    "hairless": ("a hairless animal", "an animal with hair"),
    "toughskin": ("tough skin", "soft skin"),
    "big": ("a big animal", "an animal that is not big"),
    "small": ("a small animal", "an animal that is not small"),
    "bulbous": ("a bulky body", "a body that is not bulky"),
    "lean": ("a lean body", "a body that is not lean"),
    "pads": ("padded feet", "feet without pads"),
    "longleg": ("long legs", "legs that are not long"),
    "longneck": ("a long neck", "a neck that is not long"),
    "tail": ("a tail", "no tail"),
    "bipedal": ("an animal on two legs", "an animal that does not stand on two legs"),
    "quadrapedal": ("an animal on four legs", "an animal that does not stand on four legs"),
}
_PLURALS = {*_PARTS, "pads", "longleg"}
_SINGULAR, _PLURAL = NounPhrase("{w}"), NounPhrase(None, "{w}")


@dataclass
class Awa2(ListedPictures, DescribedPictures):
    """The classes of AwA2 as if each were one picture: its name as caption and class, its visual attributes.

    There are no picture files, so this serves what needs words only: pairs of classes for the rule writer.
    Rows and columns of the matrix are joined by the NAMES of their numbers.

    Args:
        root: Folder of the lists.
    """

    root: str
    train: float = field(default=1.0, kw_only=True)
    validation: float = field(default=0.0, kw_only=True)
    with_images: bool = field(default=False, kw_only=True)

    name: ClassVar[str] = "awa2"
    licence: ClassVar[str] = "Animals with Attributes 2 (Xian et al. 2018), class attributes only"
    places: ClassVar[tuple[str, ...]] = ("root",)

    def __post_init__(self) -> None:
        """Refuses to look for pictures."""
        super().__post_init__()
        if self.with_images:
            raise PcclipError("awa2: these are classes without pictures; leave 'with_images' at false.")

    def material(self) -> dict[str, Any]:
        """The lists and the words."""
        return {"lists": digest_of(*(Path(self.root) / name for name in _FILES)), "words": VISUAL}

    def attributes(self) -> tuple[Attribute, ...]:
        """One attribute of kind for each predicate that can be seen."""
        return tuple(
            Category(name, words, (_PLURAL if name in _PLURALS else _SINGULAR,), "a photo of an animal: {w}")
            for name, words in VISUAL.items()
        )

    def references(self) -> tuple[References, ...]:
        """Not pictures but animals are compared."""
        return (
            References("the first animal", "the second animal", ("the first", "the second"), "the other"),
            References(
                "the first animal", "the second animal", ("the first", "the second"), "the other animal"
            ),
            References("animal one", "animal two"),
            References("the former", "the latter"),
        )

    def pictures(self, split: Any) -> Iterator[Picture]:
        """There are none."""
        raise PcclipError("awa2: has classes, no pictures; it serves texts about pairs of classes only.")

    def _list_file(self) -> Path:
        return Path(self.root) / _FILES[0]

    def _entries(self) -> Iterator[Entry]:
        for class_name, has in predicate_table(Path(self.root)).items():
            if lacking := set(VISUAL) - set(has):
                raise PcclipError(
                    f"{Path(self.root) / _FILES[1]}: lacks {', '.join(sorted(lacking))}. {_LAYOUT}"
                )
            attributes: dict[str, float | str] = {
                name: words[0 if has[name] else 1] for name, words in VISUAL.items()
            }
            spoken = class_name.replace("+", " ")
            yield Entry(class_name, None, [spoken], spoken, attributes, where=f"class {class_name}")


def predicate_table(folder: Path) -> dict[str, dict[str, bool]]:
    """By class name, by predicate name, whether the class has it.

    Args:
        folder: With AwA2's lists. Row k of the matrix is the class with the NUMBER k in classes.txt, which is
            not the place of its folder in the alphabet.

    Raises:
        PcclipError: A list is missing or off the layout.
    """
    classes, predicates = (_names(folder / name) for name in _FILES[:2])
    file = folder / _FILES[2]
    rows = [line.split() for _, line in lines_of(file, _LAYOUT)]
    if len(rows) != len(classes) or any(len(row) != len(predicates) for row in rows):
        raise PcclipError(
            f"{file}: is no matrix of {len(classes)} classes and {len(predicates)} predicates. {_LAYOUT}"
        )
    return {
        class_name: {name: rows[number - 1][column - 1] == "1" for name, column in predicates.items()}
        for class_name, number in classes.items()
    }


def _names(file: Path) -> dict[str, int]:
    """Names and their numbers, counted from 1, as a list of "NUMBER NAME" has them."""
    names: dict[str, int] = {}
    for line_number, line in lines_of(file, _LAYOUT):
        words = line.split()
        if len(words) != 2 or not words[0].isdigit() or words[1] in names:
            raise PcclipError(f"{file}: line {line_number} is {line.strip()!r}, not 'NUMBER NAME'. {_LAYOUT}")
        names[words[1]] = int(words[0])
    if sorted(names.values()) != list(range(1, len(names) + 1)):
        raise PcclipError(f"{file}: its numbers are not 1 to {len(names)}. {_LAYOUT}")
    return names
