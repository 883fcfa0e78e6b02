"""Which pictures an evaluation needs, what each is drawn from, and where its file lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pcclip.arithmetic.cases import Case, slug
from pcclip.arithmetic.vectors import Arithmetic
from pcclip.errors import PcclipError

WORDS = "words"
"""The cell of the pictures that are drawn without arithmetic, from a prompt that names the attribute."""
UNCHANGED = "w0"
"""The cell of the pictures of the subject alone."""


@dataclass(frozen=True)
class Wanted:
    """One picture.

    Attributes:
        file: Relative to the folder of its tower.
        seed: Of the noise.
        prompt: That the arithmetic starts from, or that is drawn as it is.
        change: Text that is added; None where there is no arithmetic.
        subtracted: Text that is subtracted from the change; None for none.
        weight: Of the change; 0 where there is no arithmetic.
    """

    file: str
    seed: int
    prompt: str
    change: str | None = None
    subtracted: str | None = None
    weight: float = 0.0


class Plan:
    """All pictures of one tower: cases x (no change, weights, attribute in words) x seeds.

    A picture without change is that of all cases of its subject. It is drawn anew for each tower, since a
    tuned tower also reads the plain prompt otherwise.

    Args:
        cases: What is changed in what.
        weights: Above 0.
        seeds: Of the noise; the same for all cells and towers.
        arithmetic: Says whether something is subtracted from the change.

    Raises:
        PcclipError: Weights or seeds are missing, doubled or of no use; a case has no opposite to subtract.
    """

    def __init__(
        self, cases: Sequence[Case], weights: Sequence[float], seeds: Sequence[int], arithmetic: Arithmetic
    ) -> None:
        """See the class."""
        if not cases or not weights or not seeds or not all(weight > 0 for weight in weights):
            raise PcclipError(
                f"picture arithmetic: {len(cases)} cases, weights {list(weights)}, seeds {list(seeds)}: give "
                "at least one of each, and weights above 0 (weight 0 is always drawn)."
            )
        if len(set(weights)) < len(weights) or len(set(seeds)) < len(seeds):
            raise PcclipError("picture arithmetic: a weight or a seed is named twice. Keep one.")
        lacking = [case.name for case in cases if case.opposite is None]
        if arithmetic.relative_to == "opposite" and lacking:
            raise PcclipError(
                f"the case {lacking[0]} has no 'opposite', which relative_to: opposite subtracts. Give it "
                "one, or set relative_to: empty or nothing."
            )
        self.cases = tuple(cases)
        self.weights = tuple(sorted(weights))
        self.seeds = tuple(seeds)
        self._relative_to = arithmetic.relative_to

    @property
    def cells(self) -> tuple[str, ...]:
        """Names of the kinds of picture: `w0`, one for each weight, `words`."""
        return (UNCHANGED, *map(cell_name, self.weights), WORDS)

    @property
    def changed(self) -> tuple[str, ...]:
        """Names of the cells with arithmetic."""
        return tuple(map(cell_name, self.weights))

    def wanted(self, cell: str) -> list[Wanted]:
        """The pictures of a cell, each once, in a fixed order."""
        rows = (self.picture(case, cell, seed) for case in self.cases for seed in self.seeds)
        return list({one.file: one for one in rows}.values())

    def picture(self, case: Case, cell: str, seed: int) -> Wanted:
        """The picture of a case."""
        if cell == UNCHANGED:
            return Wanted(f"{slug(case.subject)}/{UNCHANGED}-s{seed}.png", seed, case.base)
        file = f"{case.name}/{cell}-s{seed}.png"
        if cell == WORDS:
            return Wanted(file, seed, case.target)
        weight = self.weights[self.changed.index(cell)]
        subtracted = {"nothing": None, "opposite": case.opposite, "empty": ""}[self._relative_to]
        return Wanted(file, seed, case.base, case.change, subtracted, weight)

    def files(self, folder: Path, cell: str) -> list[Path]:
        """The files of all cases x seeds, seeds fastest."""
        return [folder / self.picture(case, cell, seed).file for case in self.cases for seed in self.seeds]


def cell_name(weight: float) -> str:
    """The cell of a weight: `w1.5`."""
    return f"w{weight:g}"


def cell_title(cell: str) -> str:
    """A cell for people."""
    if cell in (WORDS, UNCHANGED):
        return {WORDS: "in words", UNCHANGED: "no change"}[cell]
    return f"weight {cell[1:]}"
