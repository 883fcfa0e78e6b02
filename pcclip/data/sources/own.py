"""Your own pictures as a whole world: a folder, a table, and words for what its columns tell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from pcclip.data.records import Picture
from pcclip.data.sources.base import SPLITS, Source, Split
from pcclip.data.sources.table import Table
from pcclip.errors import PcclipError
from pcclip.generation.vocabulary import (
    Attribute,
    Category,
    Degree,
    NounPhrase,
    References,
    Term,
    references,
)

_DEVIATIONS = 0.5
_WITH = ("the one with {w}", "the ones with {w}")


@dataclass
class DegreeWords:
    """Words for a column of numbers.

    Args:
        more: Comparative for the picture with the larger number: "brighter", or "more people".
        less: Its opposite: "darker", "fewer people".
        much: Caption of a picture with a large number, for the training-free baselines: "a bright photo".
        little: Caption of one with a small number: "a dark photo".
        has: The picture has it ("more people"), rather than is it ("brighter").
        margin: Smallest difference that is spoken of, in the column's units; null: half a standard deviation
            over the training pictures.
    """

    more: str
    less: str
    much: str
    little: str
    has: bool = False
    margin: float | None = None

    def attribute(self, name: str) -> Degree:
        """What the rules write with and the evaluations ask by."""
        if self.has:
            shown = (NounPhrase("{w}"), NounPhrase("{w} in it"))
            term = Term(self.more, self.less, shown, one=_WITH, possessive=True)
        else:
            term = Term(self.more, self.less, (NounPhrase("a {w} scene"), NounPhrase("a {w} view")))
        relative = self.margin is None
        margin = _DEVIATIONS if self.margin is None else self.margin
        return Degree(
            name,
            (term,),
            self.much,
            self.little,
            margin=margin,
            margin_unit="deviation" if relative else "value",
        )


@dataclass
class OwnPictures(Table, Source):  # type: ignore[misc]  # the name of a table is a setting
    """Pictures of a folder that a table names, with all that training and evaluation need of them.

    The settings of `Table`, and words for its columns. `pcclip prepare` makes pictures in three splits,
    differences by rules where a column has words, and an evaluation: retrieval by captions, classification
    where there is a column of classes, ranking and difference-based classification where one has words.

    Args:
        degrees: Words for columns of numbers, by column.
        kinds: Caption with `{w}` for the value, for columns of a few words each, by column: `weather: a photo
            taken in {w}`.
        prompts_of_classes: Zero-shot prompts with `{}` for the class.
        train: Share of the pictures in the train split, where the table has no column of splits.
        validation: Share in the validation split; the rest is the test split.
        name: Of the set.
        licence: Of pictures and captions, for the cards of sets made from them.
    """

    degrees: dict[str, DegreeWords] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    prompts_of_classes: list[str] = field(default_factory=lambda: ["a photo of a {}", "a picture of a {}"])
    # By name only: `Source` has these two of its own, which would put them before what must be given.
    name: str = field(default="your-own", kw_only=True)  # type: ignore[misc]
    licence: str = field(default=Table.licence, kw_only=True)  # type: ignore[misc]
    train: float = field(default=0.7, kw_only=True)
    validation: float = field(default=0.15, kw_only=True)

    def __post_init__(self) -> None:
        """Words are for columns: they are read as attributes."""
        self.degrees = {
            name: DegreeWords(**words) if isinstance(words, dict) else words
            for name, words in self.degrees.items()
        }
        if both := self.degrees.keys() & self.kinds.keys():
            raise PcclipError(
                f"{self.name}: {sorted(both)} have words as 'degrees' and as 'kinds'; keep one."
            )
        self.attribute_columns = list(dict.fromkeys([*self.attribute_columns, *self.degrees, *self.kinds]))
        super().__post_init__()

    def count(self, split: Split) -> int:
        """How many pictures the split has.

        Raises:
            PcclipError: It has none: training and evaluation need all three.
        """
        if not (found := super().count(split)):
            counts = ", ".join(f"{name} {super(OwnPictures, self).count(name)}" for name in SPLITS)
            raise PcclipError(
                f"{self.table}: has no {split} pictures ({counts}). Give more pictures, other shares "
                "('source.train', 'source.validation'), or all three in the column of splits."
            )
        return found

    def pictures(self, split: Split) -> Iterator[Picture]:
        """The pictures of a split, checked to have a class each where one has."""
        for picture in super().pictures(split):
            if self.label_column is not None and not picture.class_name:
                raise PcclipError(
                    f"{self.table}: picture {picture.key!r} has nothing in the column {self.label_column!r}. "
                    "Give every picture a class, or set 'label_column' to null."
                )
            yield picture

    def attributes(self) -> tuple[Attribute, ...]:
        """The columns that have words.

        Raises:
            PcclipError: A column of `degrees` is not of numbers.
        """
        return (
            *(words.attribute(name) for name, words in self.degrees.items() if self._numbers(name)),
            *(
                Category(name, tuple(map(str, self._values[name])), (NounPhrase("{w}"),), caption)
                for name, caption in self.kinds.items()
            ),
        )

    def references(self) -> tuple[References, ...]:
        """By "picture", "image" and "photo"."""
        return references(("picture", "image", "photo"))

    def classes(self) -> list[str]:
        """What stands in the column of classes; nothing without one."""
        if self.label_column is None:
            return []
        return sorted({picture.class_name or "" for split in SPLITS for picture in self.texts(split)})

    def prompts(self) -> dict[str, list[str]]:
        """The prompts of the recipe; none is held out."""
        return {"seen": list(self.prompts_of_classes)} if self.label_column is not None else {}

    def _numbers(self, name: str) -> bool:
        for value in self._values[name]:
            if not isinstance(value, float):
                raise PcclipError(
                    f"{self.table}: the column {name!r} holds {value!r}, but 'degrees' are for numbers. Mend "
                    "the cell (empty where it is not known), or give the column words under 'kinds'."
                )
        return True

    @cached_property
    def _values(self) -> dict[str, list[float | str]]:
        """The different values of each column, sorted as texts."""
        found: dict[str, set[float | str]] = {name: set() for name in self.attribute_columns}
        for split in SPLITS:
            for picture in self.texts(split):
                for name, value in picture.attributes.items():
                    found[name].add(value)
        return {name: sorted(values, key=str) for name, values in found.items()}
