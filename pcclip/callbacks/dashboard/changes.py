"""Changes against step 0: few headline metrics, with their paired intervals."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pcclip.evaluation.interpolation import curve_point
from pcclip.evaluation.measured import Measured
from pcclip.evaluation.statistics import Estimate

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

GAINS = (
    r"difference/.+-mean(-unseen)?/two_alternative",
    r"ranking/.+-mean(-unseen)?/sentence_spearman",
    r"comparative/.+-after/(all|confused)_gain",
    r"difference_retrieval/[^/]+/text_precision_at_10",
    r"change_retrieval/.+-mean(-unseen)?/sentence_recall_at_10",
    r"geometry/.+/comparison/text_cosine",
)
"""What the finetuning is for."""

COSTS = (
    r"zero_shot/[^/]+/top1",
    r"retrieval/.+_recall_at_(1|10)",
    r"linear_probe/.+/top1",
)
"""What the model could do before."""

CHANGE = "change/{}"
LOW = "interval/{}/low"
HIGH = "interval/{}/high"


def chosen(names: Iterable[str], patterns: tuple[str, ...]) -> list[str]:
    """The names that one of the patterns matches, in their order."""
    return [name for name in names if any(re.fullmatch(pattern, name) for pattern in patterns)]


def headline_changes(measured: Measured, base: Measured) -> dict[str, Estimate]:
    """Paired changes of the headline metrics, with 95 % intervals.

    Args:
        measured: By the model as it is.
        base: At step 0; sets that only one of both has are left out.
    """
    found = {
        name: one for results in measured.minus(base).values() for name, one in results.estimates().items()
    }
    return {name: found[name] for name in chosen(found, GAINS + COSTS)}


def log_changes(writer: SummaryWriter, changes: dict[str, Estimate], step: int) -> None:
    """Writes each change and the ends of its interval."""
    for name, change in changes.items():
        for tag, value in ((CHANGE, change.value), (LOW, change.low), (HIGH, change.high)):
            writer.add_scalar(tag.format(name), value, step)


def nothing_changed(base: Measured) -> dict[str, Estimate]:
    """The changes at step 0."""
    names = chosen(base.values_by_name(), GAINS + COSTS)
    return {name: Estimate(0.0, 0.0, 0.0, 0) for name in names}


def means(measured: Measured, base: Measured) -> dict[str, float]:
    """Mean changes of differences and zero-shot over all sets, as fractions; what was not measured is absent.

    They are the axes of the interpolation curve.
    """
    both = [name for name in base if name in measured]
    before, after = ([model[name] for name in both] for model in (base, measured))
    if not both:
        return {}
    start, end = curve_point(0.0, before, before), curve_point(1.0, after, before)
    found = {
        "difference": end.difference - start.difference,
        "zero_shot": end.zero_shot - start.zero_shot,
    }
    return {name: value for name, value in found.items() if value == value}
