"""In plain words: what a run improved, what it cost, and whether training was needed for it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pcclip.evaluation.comparing.comparison import Change, Comparison
from pcclip.evaluation.comparing.output import interval
from pcclip.evaluation.comparing.rows import Row
from pcclip.report.results import COST, FOR, few_seeds, kind_of, kind_of_change, outcome, suspected
from pcclip.report.section import Section
from pcclip.report.tables import Kind, escaped, plain
from pcclip.report.training_free import Against

_PRIMARY = re.compile(
    r"difference/.+-mean(-unseen)?/two_alternative|ranking/.+-mean(-unseen)?/sentence_spearman"
    r"|change_retrieval/.+-mean(-unseen)?/sentence_recall_at_10|difference_retrieval/.+/text_recall_at_10"
    r"|comparative/.+-after/all_gain"
)
_OF_DIFFERENCES = re.compile("difference|ranking|change_retrieval|comparative|geometry|arithmetic")

_Changes = list[tuple[Row, float, float, Change]]
"""Row, score before, score after, change."""

_MANY = 8
"""Lines of one kind; of more, those that are no clear change are only counted."""


@dataclass(frozen=True)
class Line:
    """A line of a verdict: a sentence, and whether it tells of a gain or of a loss."""

    kind: Kind
    text: str


@dataclass(frozen=True)
class Verdict:
    """What is to be said of one experiment.

    Attributes:
        experiment: Its name.
        headline: One sentence.
        lines: The numbers behind it: differences, training-free baselines, single pictures.
    """

    experiment: str
    headline: str
    lines: tuple[Line, ...]


def verdicts(comparison: Comparison, against: Sequence[Against]) -> list[Verdict]:
    """One verdict per experiment.

    Args:
        comparison: The rows that a table shows first.
        against: The same models against training-free baselines.
    """
    mean = [row for row in comparison.rows if kind_of(row) == FOR]
    primary = [row for row in mean if _PRIMARY.fullmatch(row.metric)] or mean
    single = [row for row in comparison.rows if kind_of(row) == COST and not _said_already(row, comparison)]
    found = []
    for one in comparison.experiments:
        gains, costs = (_changes(comparison, one.name, rows) for rows in (primary, single))
        free = _strongest([it for it in against if it.experiment == one.name and it.row in primary])
        headline = f"{_gained(gains)}{_needed(free)}. {_paid(costs)}"
        lines = [*_told(gains, "differences"), *map(_beside, free), *_told(costs, "single pictures")]
        found.append(Verdict(one.name, headline, tuple(lines)))
    return found


def verdict_section(
    found: Sequence[Verdict], comparison: Comparison, more: Mapping[str, Sequence[Line]]
) -> Section:
    """The verdicts, as they stand on top of a report.

    Args:
        found: One per experiment.
        comparison: That they are of.
        more: Further lines by experiment.
    """
    page, text = [], []
    for one in found:
        if len(found) > 1:
            page.append(f"<h3>{escaped(one.experiment)}</h3>\n")
            text.append(f"### {plain(one.experiment)}\n")
        page.append(f'<p class="verdict">{escaped(one.headline)}</p>\n<ul>\n')
        lines = [*one.lines, *more.get(one.experiment, ())]
        page += [f'<li class="{line.kind or "even"}">{escaped(line.text)}</li>\n' for line in lines]
        page.append("</ul>\n")
        text += [f"{plain(one.headline)}\n", "".join(f"- {plain(line.text)}\n" for line in lines)]
    notes = few_seeds(comparison)
    page += [f'<p class="note">{escaped(note)}</p>\n' for note in notes]
    text += [f"{plain(note)}\n" for note in notes]
    return Section("Verdict", "".join(page), "\n".join(text))


def _said_already(row: Row, comparison: Comparison) -> bool:
    """Whether it is the mean per class, where top-1 of the same answers stands too."""
    other = row.metric.replace("/mean_per_class", "/top1")
    return other != row.metric and any(one.metric == other for one in comparison.rows)


def _changes(comparison: Comparison, name: str, rows: Sequence[Row]) -> _Changes:
    return [
        (row, cell.value - cell.change.pictures.value, cell.value, cell.change)
        for row in rows
        if (cell := comparison.cells.get((row.metric, name))) is not None and cell.change is not None
    ]


def _count(changes: _Changes, kind: Kind) -> int:
    return sum(change.significant and kind_of_change(row, change) == kind for row, _, _, change in changes)


def _suspected(changes: _Changes) -> int:
    return sum(suspected(row, change) for row, _, _, change in changes)


def _gained(changes: _Changes) -> str:
    up, down, all_ = _count(changes, "gain"), _count(changes, "loss"), len(changes)
    if not all_:
        return "How well it reads differences was not measured"
    does = "reads differences" if all(_OF_DIFFERENCES.match(row.metric) for row, *_ in changes) else "does"
    if up == all_:
        return f"It {does} better than the base model"
    if down == all_:
        return f"It {does} worse than the base model"
    if not up and not down and not _suspected(changes):
        return f"Whether it {does} better than the base model cannot be told"
    worse = f", and worse on {down}" if down else ""
    worse += f", and perhaps worse on {_suspected(changes)}" if _suspected(changes) else ""
    return f"It {does} better than the base model on {up} of {all_} measures{worse}"


def _needed(free: Sequence[Against]) -> str:
    if not free:
        return ""
    behind = [one for one in free if kind_of_change(one.row, one.change) == "loss"]
    ahead = [one for one in free if kind_of_change(one.row, one.change) == "gain"]
    names = " and ".join(dict.fromkeys(one.baseline for one in (behind or free)))
    if behind:
        return (
            f"; but the base model without any finetuning, by the {names}, is better still on {len(behind)} "
            f"of {len(free)} measures"
        )
    if len(ahead) == len(free):
        return f", and better than the base model does without finetuning by the {names}"
    return (
        f"; it is clearly ahead of what the base model does without finetuning, by the {names}, on "
        f"{len(ahead)} of {len(free)} measures"
    )


def _paid(costs: _Changes) -> str:
    up, down, all_ = _count(costs, "gain"), _count(costs, "loss"), len(costs)
    if not all_:
        return "What that cost on single pictures was not measured."
    lower = sum(change.pictures.value * row.better < 0 for row, _, _, change in costs)
    doubt = _suspected(costs)
    if down:
        perhaps = f", and perhaps on {doubt} more" if doubt else ""
        return f"On single pictures it lost on {down} of {all_} measures{perhaps}."
    if doubt:
        return (
            f"On single pictures it may have lost on {doubt} of {all_} measures: by the 95 % interval, "
            "though not after correction for the number of tests."
        )
    gained = f" and gained on {up}" if up else ""
    if lower:
        return (
            f"On single pictures it is lower on {lower} of {all_} measures, on none of them clearly{gained}."
        )
    return f"On single pictures it lost on none of {all_} measures{gained}."


def _told(changes: _Changes, what: str) -> Iterator[Line]:
    kinds = [kind_of_change(row, change) for row, _, _, change in changes]
    hidden = 0
    for kind, (row, base, value, change) in zip(kinds, changes, strict=True):
        if len(changes) > _MANY and not kind:
            hidden += 1
            continue
        yield Line(kind, f"{row.label}: {_numbers(row, base, value, change)}: {outcome(row, change)}.")
    if hidden:
        yield Line("", f"{hidden} further measure{'s' * (hidden > 1)} of {what}: no clear change.")


def _beside(one: Against) -> Line:
    row, change = one.row, one.change
    values = f"{row.number(one.value)} against {row.number(one.free)}{' %' * row.share}"
    text = (
        f"{row.label}, against the {one.baseline} of the base model, which needs no training: {values}, "
        f"{_by(row, change)}: {outcome(row, change, ('ahead', 'behind'))}."
    )
    return Line(kind_of_change(row, change), text)


def _numbers(row: Row, base: float, value: float, change: Change) -> str:
    return f"{row.number(base)} → {row.number(value)}{' %' * row.share}, {_by(row, change)}"


def _by(row: Row, change: Change) -> str:
    seeds = f", over seeds {interval(row, change.seeds, '')}" if change.seeds.n > 1 else ""
    return (
        f"{row.number(change.pictures.value, sign=True)} {interval(row, change.pictures, '')}{seeds}".strip()
    )


def _strongest(free: Sequence[Against]) -> list[Against]:
    """Of each row's baselines the best."""
    best: dict[str, Against] = {}
    for one in free:
        if one.row.metric not in best or one.free > best[one.row.metric].free:
            best[one.row.metric] = one
    return list(best.values())
