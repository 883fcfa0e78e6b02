"""Pictures of a world in the order of one sentence, by its base and its tuned model (`make docs-figures`).

Which sentence is shown is a rule's choice: of all sentences that ask for more of a measured attribute, in
every wording, seen and held out, the one whose Spearman correlation with the attribute gains most, and the
one that gains least or loses most.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pcclip.evaluation.bench import Bench
from pcclip.evaluation.encoding.features import FeatureCache
from pcclip.evaluation.encoding.models import NamedModel
from pcclip.evaluation.evaluate import run_target
from pcclip.evaluation.exhibits.kinds import STAGES, Ends, Placed, RankedByText
from pcclip.evaluation.exhibits.making import Both, ranked_by_text
from pcclip.evaluation.finished import finished_runs
from pcclip.evaluation.protocols.contrasts import Contrast
from pcclip.evaluation.sets import EvaluationSet
from pcclip.evaluation.sources.prepared import Prepared
from pcclip.evaluation.statistics import Doubles

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

_SHOWN = 4
"""Pictures of each stretch."""
_GAP = 0.45
"""Between stretches, in widths of a picture."""
_BAR = 0.13
_ROW = 1.38
_LEFT = 2.0
_INK, _GREY, _FILL, _EMPTY = "#1f2328", "#59636e", "#2b5fab", "#d8dde3"


@dataclass(frozen=True)
class Shown:
    """A sentence and what two models make of it.

    Attributes:
        ranked: The ends of both orders.
        data: The pictures.
        values: (n,) the attribute of all pictures that have it.
        held_out: Whether training never read this wording.
        asked: How many sentences the rule chose from.
    """

    ranked: RankedByText
    data: EvaluationSet
    values: Doubles
    held_out: bool
    asked: int

    @property
    def gain(self) -> float:
        """Spearman of the tuned model less that of the base model."""
        return (self.ranked.tuned.spearman or 0.0) - (self.ranked.base.spearman or 0.0)

    def told(self) -> str:
        """One line about it."""
        base, tuned = self.ranked.base.spearman, self.ranked.tuned.spearman
        wording = "held-out" if self.held_out else "seen"
        return (
            f"“{self.ranked.text}” ({self.ranked.attribute}, {wording} wording, of {self.asked} sentences): "
            f"Spearman base {base:+.3f}, tuned {tuned:+.3f}"
        )


def extremes(run: Path, data: Path, cache: Path | None) -> tuple[Shown, Shown]:
    """The sentence with the largest gain, and that with the smallest one.

    Args:
        run: A finished run.
        data: Folder made by `pcclip prepare`; its test split is ranked.
        cache: Where embeddings are kept; None keeps them in memory only.

    Raises:
        PcclipError: No such run or data, or its base model is not kept.
    """
    (finished,) = finished_runs([run])
    stages = run_target(finished, "fit").stages
    base, tuned = (NamedModel(stages[stage], "cpu", cache).model() for stage in STAGES)
    bench, source = Bench(FeatureCache(cache)), Prepared(str(data), allow_empty_classes=True)
    both = Both(bench.subject(source, "test", base), bench.subject(source, "test", tuned, base))
    found = sorted(_all(both), key=lambda one: one.gain)
    return found[-1], found[0]


def _all(both: Both) -> Iterator[Shown]:
    contrasts = [Contrast.of(both.data, one) for one in both.data.questions if one.kind == "degree"]
    asked = sum(len(one.question.wordings) for one in contrasts)
    for subject in both.subjects():  # at once: one by one they take long
        subject.encoders.texts([text for one in contrasts for text in one.texts()])
    for one in contrasts:
        for wording in one.question.wordings:
            yield Shown(ranked_by_text(both, one, wording), both.data, one.values, wording.held_out, asked)


def strips(shown: Shown) -> Figure:
    """One row per model: the first pictures, those in the middle and the last ones, each over its bar.

    Args:
        shown: A sentence. A bar is as long as the share of pictures that have less of the attribute.
    """
    from matplotlib.figure import Figure

    wide = _LEFT + 3 * _SHOWN + 2 * _GAP
    title = _balanced(f"“{shown.ranked.text}”", 62)
    top = 0.5 * len(title) + 0.62
    high = top + 2 * _ROW
    figure = Figure(figsize=(8, 8 * high / wide), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, wide), ylim=(high, 0))
    for at, line in enumerate(title):
        axes.text(wide / 2, 0.06 + 0.5 * at, line, ha="center", va="top", fontsize=14, color=_INK)
    for number, name in enumerate(("first", "middle", "last")):
        middle = _LEFT + number * (_SHOWN + _GAP) + _SHOWN / 2
        axes.text(middle, top - 0.1, name, ha="center", va="bottom", fontsize=12, color=_GREY)
    axes.add_patch(_bar(0.1, top - 0.3, 0.3, _FILL))
    axes.text(0.5, top - 0.1, shown.ranked.attribute, va="bottom", fontsize=12, color=_FILL)
    for row, stage in enumerate(STAGES):
        _row(axes, top + row * _ROW, stage, getattr(shown.ranked, stage), shown)
    return figure


def _row(axes: Any, y: float, stage: str, ends: Ends, shown: Shown) -> None:
    axes.text(0.1, y + 0.28, stage, va="center", fontsize=14, fontweight="bold", color=_INK)
    rho = f"\N{GREEK SMALL LETTER RHO} {ends.spearman:+.2f}".replace("-", "\N{MINUS SIGN}")
    axes.text(0.1, y + 0.76, rho, va="center", fontsize=14, color=_INK)
    middle = (len(ends.middle) - _SHOWN) // 2
    stretches = (ends.top[:_SHOWN], ends.middle[middle : middle + _SHOWN], ends.bottom[-_SHOWN:])
    for number, stretch in enumerate(stretches):
        for column, placed in enumerate(stretch):
            _picture(axes, _LEFT + number * (_SHOWN + _GAP) + column, y, placed, shown)


def _picture(axes: Any, left: float, top: float, placed: Placed, shown: Shown) -> None:
    picture = shown.data.image(shown.data.keys.index(placed.key))
    axes.imshow(picture, extent=(left, left + 0.96, top + 0.96, top), interpolation="bilinear", aspect="auto")
    share = float(np.mean(shown.values < float(placed.value or 0)))
    for length, colour in ((0.96, _EMPTY), (0.96 * share, _FILL)):
        axes.add_patch(_bar(left, top + 1.02, length, colour))


def _bar(left: float, top: float, length: float, colour: str) -> Rectangle:
    from matplotlib.patches import Rectangle

    return Rectangle((left, top), length, _BAR, color=colour, linewidth=0)


def _balanced(text: str, most: int) -> list[str]:
    """A text on as few lines as fit, of about the same length."""
    lines = textwrap.wrap(text, most)
    return next(
        found
        for width in range(len(text) // len(lines), most + 1)
        if len(found := textwrap.wrap(text, width)) == len(lines)
    )
