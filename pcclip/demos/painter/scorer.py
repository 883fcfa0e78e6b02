"""Pictures of the shapes world judged by their attributes, as a reader reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pcclip.arithmetic.cases import Case
from pcclip.arithmetic.scorers import PictureScorer, Scores
from pcclip.data.sources.shapes import Shapes
from pcclip.errors import PcclipError
from pcclip.generation.vocabulary import Degree

if TYPE_CHECKING:
    from pcclip.demos.painter.reader import Reader, Reading

_MOVED = 0.25  # of the world's margin: about the reader's error, so that an equal picture has not moved
_BATCH = 256


@dataclass
class ShapesScorer(PictureScorer):
    """Scores of shapes pictures, each 0 or 1 and in the mean a share.

    `as_asked`: shows the subject's colour and kind. `moved`: against the picture without the change, the
    case's attribute is further in its direction, by a quarter of the margin from which the world speaks of a
    difference. `stayed`: every other attribute is as it was; degrees differ by less than that margin. `both`:
    moved and stayed. A case's attribute is one of the world's words for degrees: "larger", "darker", "right".

    Args:
        reader: Folder that `python -m pcclip.demos.painter.reader` made.
        ignored: Attributes that need not stay.
    """

    reader: str = "runs/shapes-reader"
    ignored: list[str] = field(default_factory=list)

    def score(
        self,
        pictures: Sequence[Image.Image],
        cases: Sequence[Case],
        base_pictures: Sequence[Image.Image] | None,
    ) -> dict[str, Scores]:
        """See the class.

        Raises:
            PcclipError: There is no reader, or a case asks for what the world does not have.
        """
        from pcclip.demos.painter.reader import Reader

        reader = Reader.load(Path(self.reader))
        changes = [change_of(case) for case in cases]
        subjects = [_subject(case) for case in cases]
        read = _read_all(reader, pictures)
        found = {
            "as_asked": np.array(
                [(r.choices["colour"], r.choices["kind"]) == s for r, s in zip(read, subjects, strict=True)],
                dtype=np.float64,
            )
        }
        names = ("moved", "stayed", "both")
        if base_pictures is None:
            return found | {name: np.full(len(read), np.nan) for name in names}
        before = _read_all(reader, base_pictures)
        rows = [
            self._judged(one, two, change) for one, two, change in zip(before, read, changes, strict=True)
        ]
        return found | {name: np.array([row[name] for row in rows]) for name in names}

    def _judged(self, before: Reading, after: Reading, change: tuple[str, int]) -> dict[str, float]:
        attribute, sign = change
        step = after.degrees[attribute] - before.degrees[attribute]
        moved = sign * step >= _MOVED * _MARGINS[attribute]
        left = {attribute, *self.ignored}
        stayed = all(
            after.choices[name] == value for name, value in before.choices.items() if name not in left
        ) and all(
            abs(after.degrees[name] - value) < _MARGINS[name]
            for name, value in before.degrees.items()
            if name not in left
        )
        return {"moved": float(moved), "stayed": float(stayed), "both": float(moved and stayed)}


def change_of(case: Case) -> tuple[str, int]:
    """The attribute that a case asks to change, and 1 for more of it or -1 for less.

    Raises:
        PcclipError: The world has no such words.
    """
    if case.attribute not in _CHANGES:
        raise PcclipError(
            f"case {case.name}: the shapes world has no degree {case.attribute!r}; it has "
            f"{', '.join(_CHANGES)}."
        )
    return _CHANGES[case.attribute]


def _subject(case: Case) -> tuple[str, str]:
    if case.subject not in _CLASSES:
        raise PcclipError(f"case {case.name}: {case.subject!r} is no colour and kind of the shapes world.")
    colour, kind = case.subject.split()
    return colour, kind


def _read_all(reader: Reader, pictures: Sequence[Image.Image]) -> list[Reading]:
    return [
        reading
        for start in range(0, len(pictures), _BATCH)
        for reading in reader.read(list(pictures[start : start + _BATCH]))
    ]


_DEGREES = [attribute for attribute in Shapes().attributes() if isinstance(attribute, Degree)]
_MARGINS = {degree.name: degree.margin for degree in _DEGREES}
_CHANGES = {
    word: (degree.name, sign)
    for degree in _DEGREES
    for word, sign in ((degree.terms[0].more, 1), (degree.terms[0].less, -1))
}
_CLASSES = set(Shapes().classes())
