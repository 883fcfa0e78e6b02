"""What the published evaluation gets wrong of AwA2 and Flowers102, to stand beside the truth."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

from pcclip.errors import PcclipError
from pcclip.evaluation.sets import EvaluationSet
from pcclip.evaluation.sources.asked import Asked, Values
from pcclip.evaluation.sources.attribute_tables import plain
from pcclip.evaluation.sources.sheets import QuestionSheet

T = TypeVar("T")

Mistake = Literal["alphabetical_rows", "ignored_off_by_one", "size_inverted", "class_ids_off_by_one"]


@dataclass
class PublishedMistakes(Asked):
    """A set that is asked with the published mistakes; its name is SET-SHEET-published.

    Never the default, and no result of it says anything about a model: it is there to be reported beside the
    same sheet through `Asked`.

    - `alphabetical_rows` (AwA2): row k of the attribute matrix, which is class k of classes.txt, is given to
      the k-th class by alphabet, so that attributes belong to the wrong animals.
    - `ignored_off_by_one` (AwA2): instead of each attribute that is left out, the next one of the sheet is.
      That the published list is off by one is known; that it is off to this side is our reading (numbers
      counted from 1, used as positions counted from 0).
    - `size_inverted` (AwA2): "small" is read as "big", so that both ends of every question change places.
    - `class_ids_off_by_one` (Flowers102): instead of each class that the sheet names, the next one of the set
      gets its value. The published ids are not copied: this is a mistake of their kind, not the same one.

    Args:
        mistakes: which of them; at least one.
    """

    mistakes: list[Mistake] = field(default_factory=list)

    def load(self, split: str) -> EvaluationSet:
        """Reads the split, and gets it wrong.

        Raises:
            PcclipError: No mistakes are named; and as `Asked.load`.
        """
        if not self.mistakes:
            raise PcclipError(f"{self.questions}: no published mistakes are named; use Asked for none")
        data = super().load(split)
        return replace(data, name=f"{data.name}-published")

    def _data(self, split: str) -> EvaluationSet:
        return replace(super()._data(split), attributes=())  # a set that knows better would contradict

    def _sheet(self, split: str, classes: Sequence[str]) -> QuestionSheet:
        sheet = super()._sheet(split, classes)
        if "ignored_off_by_one" in self.mistakes:
            names = [one.attribute for one in sheet.questions]
            following = dict(itertools.pairwise(names))
            sheet = replace(
                sheet, left_out=tuple(following[one] for one in sheet.left_out if one in following)
            )
        if "size_inverted" in self.mistakes:
            sheet = replace(sheet, classes=_inverted(sheet.classes), derived=_inverted(sheet.derived))
        if "class_ids_off_by_one" in self.mistakes:
            following = {plain(one): after for one, after in itertools.pairwise(classes)}
            moved = {
                attribute: {
                    value: tuple(following.get(plain(one), one) for one in names)
                    for value, names in of.items()
                }
                for attribute, of in sheet.classes.items()
            }
            sheet = replace(sheet, classes=moved)
        return sheet

    def _rows(self, classes: Values) -> Values:
        if "alphabetical_rows" not in self.mistakes:
            return classes
        return dict(zip(sorted(classes), classes.values(), strict=True))


def _inverted(of: Mapping[str, Mapping[str, T]]) -> dict[str, dict[str, T]]:
    """Values in the opposite order for the same conditions."""
    return {
        name: dict(zip(values, reversed(list(values.values())), strict=True)) for name, values in of.items()
    }
