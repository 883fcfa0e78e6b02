"""Pictures of one shape judged by the attributes that are read off them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pcclip.arithmetic.cases import Case
from pcclip.arithmetic.scorers import PictureScorer, Scores
from pcclip.data.sources.shapes import Shapes
from pcclip.demos.painter.reader import Reading, read
from pcclip.errors import PcclipError
from pcclip.generation.vocabulary import Degree

_MOVED = 0.25  # of the world's margin: more than the reader's error


@dataclass
class ShapesScorer(PictureScorer):
    """Scores of pictures of one shape, each 0 or 1 and in the mean a share.

    `as_asked`: shows the subject's colour and kind. `moved`: against the picture without change, the case's
    attribute is further in its direction, by a quarter of the margin from which the world speaks of a
    difference. `stayed`: kind and colour are as they were, and every other degree differs by less than that
    margin. `both`: moved and stayed. Where no shape is seen, nothing has moved or stayed. A case's attribute
    is one of the world's words for degrees: "larger", "darker", "right".

    Args:
        kinds: Whether the kind counts: not for a painter that does not paint kinds, where reading one off is
            chance.
    """

    kinds: bool = True

    def score(
        self,
        pictures: Sequence[Image.Image],
        cases: Sequence[Case],
        base_pictures: Sequence[Image.Image] | None,
    ) -> dict[str, Scores]:
        """See the class.

        Raises:
            PcclipError: A case asks for what the world does not have.
        """
        changes = [change_of(case) for case in cases]
        seen = [read(picture) for picture in pictures]
        asked = [self._as_asked(one, *subject(case)) for one, case in zip(seen, cases, strict=True)]
        if base_pictures is None:
            nothing = np.full(len(seen), np.nan)
            return {"as_asked": np.array(asked, float), "moved": nothing, "stayed": nothing, "both": nothing}
        before = [read(picture) for picture in base_pictures]
        rows = [judged(*row, self.kinds) for row in zip(before, seen, changes, strict=True)]
        moved, stayed = np.array(rows, float).reshape(-1, 2).T
        return {"as_asked": np.array(asked, float), "moved": moved, "stayed": stayed, "both": moved * stayed}

    def _as_asked(self, seen: Reading, colour: str, kind: str) -> bool:
        return seen.colour == colour and (seen.kind == kind or not self.kinds)


def judged(before: Reading, after: Reading, change: tuple[str, int], kinds: bool = True) -> tuple[bool, bool]:
    """Whether the attribute moved the right way, and whether all else stayed.

    Args:
        before: Of the picture without the change.
        after: Of the changed picture.
        change: See `change_of`.
        kinds: Whether the kind must stay.
    """
    attribute, sign = change
    if before.kind is None or after.kind is None:
        return False, False
    steps = {name: after.degrees[name] - value for name, value in before.degrees.items()}
    moved = sign * steps[attribute] >= _MOVED * _MARGINS[attribute]
    same = before.colour == after.colour and (before.kind == after.kind or not kinds)
    stayed = same and all(abs(step) < _MARGINS[name] for name, step in steps.items() if name != attribute)
    return moved, stayed


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


def subject(case: Case) -> tuple[str, str]:
    """Colour and kind that a case asks for.

    Raises:
        PcclipError: The world has no such.
    """
    if case.subject not in _CLASSES:
        raise PcclipError(f"case {case.name}: {case.subject!r} is no colour and kind of the shapes world.")
    colour, kind = case.subject.split()
    return colour, kind


_DEGREES = [attribute for attribute in Shapes().attributes() if isinstance(attribute, Degree)]
_MARGINS = {degree.name: degree.margin for degree in _DEGREES}
_CHANGES = {
    word: (degree.name, sign)
    for degree in _DEGREES
    for word, sign in ((degree.terms[0].more, 1), (degree.terms[0].less, -1))
}
_CLASSES = set(Shapes().classes())
