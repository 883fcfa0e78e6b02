"""The rows of the table: which metrics, in which order, by which label."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pcclip.errors import PcclipError

_SHOWN = 5  # names in an error

# Metrics in the table's order: a pattern, and the label with the pattern's groups in it. `_SELECTED` ones are
# what a table shows unless it is asked for more.
_SCORES = {
    "top1": "top-1",
    "top5": "top-5",
    "mean_per_class": "mean per class",
    "two_alternative": "two-alternative",
    "text_difference": "text difference (training-free)",
    "absolute": "absolute (training-free)",
    "image_to_text": "image to text",
    "text_to_image": "text to image",
    "spearman": "Spearman",
    "kendall": "Kendall",
    "text-difference": "text difference instead (training-free)",
    "random-pairs": "random pairs",
    "word_delta": "caption difference (training-free)",
    "nearest": "the picture alone",
    "sentence_alone": "the sentence alone",
    "caption_alone": "a caption alone",
    "image_direction": "mean picture difference",
    "-unseen": ", held-out words",
    "-unseen-combinations": ", held-out combinations",
    "w0": "no change",
    "words": "attribute in words instead (training-free)",
    "mean": "mean over weights",
}
_SELECTED = (
    (r"zero_shot/(.+?)(-unseen|-unseen-combinations)?/(top1|mean_per_class)", "{0}: zero-shot {2}{1}"),
    (r"difference/(.+)-mean(-unseen)?/(two_alternative|sign)", "{0}: differences, {2}{1}"),
    (r"difference/(.+)-mean/(text_difference|absolute)", "{0}: differences, {1}"),
    (r"ranking/(.+)-mean(-unseen)?/(sentence|direction)_(spearman)", "{0}: ranking by {2}, {3}{1}"),
    (r"ranking/(.+)-mean/(text_difference|absolute)_(spearman)", "{0}: ranking by {1}, {2}"),
    (r"comparative/(.+)-(before|after)/all_(top1)", "{0}: comparative prompting {1}, {2}"),
    (
        r"comparative/(.+)-(after|text-difference|random-pairs)/(all|confused)_gain",
        "{0}: comparative prompting, gain on {2} classes, {1}",
    ),
    (r"retrieval/(.+)/(image_to_text|text_to_image)_recall_at_(1|5|10)", "{0}: retrieval, {1}, R@{2}"),
    (
        r"difference_retrieval/(.+)-to-(picture|text)(-unseen)?/(.+)_(recall|precision)_at_(10)",
        "{0}: difference retrieval of the {1} by {3}, {4} at {5}{2}",
    ),
    (
        r"change_retrieval/(.+)-mean(-unseen)?/(.+)_recall_at_(1|10)",
        "{0}: changed picture by {2}, R@{3}{1}",
    ),
    (r"geometry/(.+?)(-unseen)?/comparison/text_(cosine)", "{0}: comparison text . class difference, {2}{1}"),
    (r"geometry/(.+?)(-unseen)?/comparison/text_(accuracy)", "{0}: comparison text, nearest difference{1}"),
    (r"geometry/(.+)/analogy/(accuracy)", "{0}: analogies, {1}"),
    (r"geometry/(.+?)(-unseen)?/linearity/(cosine)", "{0}: linearity, {2}{1}"),
    (r"geometry/(.+)/(anisotropy|drift)/(prompts|differences)", "{0}: {1} of {2}"),
    (r"linear_probe/(.+)/(top1)", "{0}: linear probe, {1}"),
    (r"arithmetic/(.+)/(w0|words|mean)/(.+)", "{0}: pictures from arithmetic, {2}, {1}"),
)
_OTHERS = (
    (r"zero_shot/(.+?)(-unseen)?/(top5)", "{0}: zero-shot {2}{1}"),
    (r"difference/(.+?)-([^-/]+)(-unseen)?/(sign|two_alternative|text_difference|absolute)",
     "{0}: {1}, {3}{2}"),
    (r"arithmetic/(.+)/w(.+)/(.+)", "{0}: pictures from arithmetic, {2}, weight {1}"),
    (r"arithmetic/(.+)/mean-(.+)/(.+)", "{0}, {1}: pictures from arithmetic, {2}"),
)  # fmt: skip
_WORDING = re.compile(r"difference/(.+?)-wording-(.+?)(-unseen)?/(.+)")
# Scores that are no shares, and whether more is better (1), worse (-1) or neither (0).
_NUMBERS = (
    (r".*(spearman|kendall)", 1),
    (r".*median_rank", -1),
    (r"geometry/.*/(comparison/.*_cosine|linearity/cosine|analogy/offset_cosine)", 1),
    (r"geometry/.*/(?!.*accuracy|.*nearest).*", 0),
    (r".*features_changed", 0),
)
_BASELINES = (
    (r"(difference/.+-mean)(?:-unseen)?/two_alternative", ("{0}/text_difference", "{0}/absolute")),
    (r"(ranking/.+-mean)(?:-unseen)?/(?:sentence|direction)_(spearman)",
     ("{0}/text_difference_{1}", "{0}/absolute_{1}")),
    (r"(change_retrieval/.+-mean)(?:-unseen)?/(?:sentence|direction)_(recall_at_\d+)",
     ("{0}/text_difference_{1}", "{0}/word_delta_{1}", "{0}/nearest_{1}", "{0}/caption_alone_{1}")),
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A metric as a table shows it.

    Attributes:
        metric: Its name.
        label: For people.
        share: Whether it is a share, shown in per cent; a plain number otherwise.
        better: 1 where more is better, -1 where less is, 0 where neither.
        baselines: Metrics of the base model that need no training and answer the same question.
    """

    metric: str
    label: str
    share: bool
    better: int
    baselines: tuple[str, ...]

    @property
    def unit(self) -> float:
        """What a value is shown in: a per cent, or 1."""
        return 0.01 if self.share else 1.0

    def number(self, value: float, sign: bool = False) -> str:
        """A value as it is shown."""
        digits = 1 if self.share else 3
        value *= 100 if self.share else 1  # not by 0.01, which turns 0.9365 into 93.64999
        if sign:  # a small loss stays one: -0.0
            return f"{value:+.{digits}f}"
        text = f"{value:.{digits}f}"
        return text if float(text) else text.removeprefix("-")


def choose_rows(metrics: Iterable[str], globs: Sequence[str] | None, everything: bool) -> list[Row]:
    """The rows of a table.

    Args:
        metrics: All names that there are, in their order.
        globs: Only metrics that one of these matches; None for the selection.
        everything: All metrics but those of single wordings instead of the selection.

    Raises:
        PcclipError: No metric is left.
    """
    there = list(dict.fromkeys(metrics))
    if globs:
        chosen = [name for name in there if any(fnmatchcase(name, glob) for glob in globs)]
    elif everything:
        chosen = [name for name in there if not _WORDING.fullmatch(name)]
    else:
        chosen = [name for name in there if _place(name) < len(_SELECTED)]
    if not chosen:
        wanted = (
            f"match {' or '.join(globs)}" if globs else "belong to the usual selection (--all shows them)"
        )
        names = ", ".join(there[:_SHOWN]) + (" ..." if len(there) > _SHOWN else "")
        raise PcclipError(f"none of the {len(there)} metrics {wanted}; there are {names or 'none'}")
    return [describe(name) for name in sorted(chosen, key=_place)]


def describe(metric: str) -> Row:
    """The row of a metric; one that is not known is called by its name and taken for a share."""
    place = _place(metric)
    label = metric
    if place < len(_SELECTED + _OTHERS):
        pattern, template = (_SELECTED + _OTHERS)[place]
        found = re.fullmatch(pattern, metric)
        words = [_SCORES.get(word or "", word or "") for word in found.groups()] if found else []
        label = template.format(*words).replace(", , ", ", ")
    elif one := _WORDING.fullmatch(metric):
        label = f"{one[1]}: wording {one[2]}, {_SCORES.get(one[4], one[4])}{_SCORES.get(one[3] or '', '')}"
    better = next((sign for pattern, sign in _NUMBERS if re.fullmatch(pattern, metric)), None)
    baselines = [
        name.format(*found.groups())
        for pattern, names in _BASELINES
        if (found := re.fullmatch(pattern, metric))
        for name in names
    ]
    return Row(metric, label, better is None, 1 if better is None else better, tuple(baselines))


def _place(metric: str) -> int:
    """Where a metric stands among the known ones; behind them if it is not."""
    if _WORDING.fullmatch(metric):
        return len(_SELECTED + _OTHERS)
    known = enumerate(pattern for pattern, _ in _SELECTED + _OTHERS)
    return next((n for n, pattern in known if re.fullmatch(pattern, metric)), len(_SELECTED + _OTHERS))
