"""The table of a report: base and tuned models, their paired changes, and whether these are significant."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from pcclip.evaluation.comparing.comparison import SEEDS, Change, Comparison
from pcclip.evaluation.comparing.comparison import Cell as Compared
from pcclip.evaluation.comparing.output import header, interval
from pcclip.evaluation.comparing.rows import Row
from pcclip.report.tables import Cell, Kind, Table, csv_of
from pcclip.report.training_free import Against, name_of_baseline

FOR, COST, BASELINES, OTHER = range(4)
_SINGLE = ("zero_shot", "retrieval", "linear_probe")
_FREE = re.compile(
    r"/(text_difference|absolute|word_delta|nearest|caption_alone|sentence_alone|image_direction|chance)(_|$)"
    r"|-(text-difference|random-pairs)/|/w0/|/words/"
)
_TITLES = {
    (FOR, False): "Differences, wordings seen in training",
    (FOR, True): "Differences, held-out wordings",
    (COST, False): "Single pictures (what it may cost)",
    (COST, True): "Single pictures, held-out prompts and combinations",
    (BASELINES, False): "Baselines without finetuning (after: the same by the tuned model)",
    (BASELINES, True): "Baselines, held-out wordings",
    (OTHER, False): "Neither better nor worse",
    (OTHER, True): "Neither better nor worse, held-out wordings",
}


def kind_of(row: Row) -> int:
    """What a row tells: what the method is `FOR`, its `COST`, `BASELINES`, or `OTHER` things."""
    if _FREE.search(row.metric):
        return BASELINES
    if row.better == 0:
        return OTHER
    return COST if row.metric.partition("/")[0] in _SINGLE else FOR


def results_table(comparison: Comparison, caption: str) -> Table:
    """One experiment's numbers in columns of their own; of several, each experiment's in one."""
    one = comparison.experiments[0] if len(comparison.experiments) == 1 else None
    groups: dict[tuple[int, bool], list[tuple[Cell | str, ...]]] = {key: [] for key in _TITLES}
    free = any(row.baselines for row in comparison.rows)
    seeds = one is not None and len(one.after) > 1
    for row in comparison.rows:
        base = comparison.base.get(row.metric)
        shown = Cell(row.number(base.value), "", (interval(row, base, "", sign=False),)) if base else ""
        cells: list[Cell | str] = [row.label, shown, *([_free(comparison, row)] if free else [])]
        if one is not None:
            cells += _columns(row, comparison.cells.get((row.metric, one.name)), seeds)
        else:
            cells += [
                _stacked(row, comparison.cells.get((row.metric, each.name)))
                for each in comparison.experiments
            ]
        groups[kind_of(row), "-unseen" in row.metric].append(tuple(cells))
    after = "tuned" if comparison.stage == "tuned" else comparison.stage
    names = (
        [
            after,
            "change",
            "95 % over pictures",
            *(["95 % over seeds"] if seeds else []),
            "p (Holm)",
            "so it is",
        ]
        if one is not None
        else [header(comparison, each) for each in comparison.experiments]
    )
    head = ("", "base", *(["training-free"] if free else []), *names)
    return Table(caption, head, tuple((_TITLES[key], tuple(rows)) for key, rows in groups.items()))


def against_table(found: Sequence[Against], caption: str) -> Table:
    """Models against training-free baselines."""
    several = len({one.experiment for one in found}) > 1
    seeds = any(one.change.seeds.n > 1 for one in found)
    rows: dict[str, list[tuple[Cell | str, ...]]] = {}
    for one in found:
        number = one.row.number
        rows.setdefault(one.experiment if several else "", []).append((
            one.row.label,
            Cell(number(one.free), "", (one.baseline,)),
            number(one.value),
            Cell(number(one.change.pictures.value, sign=True), kind_of_change(one.row, one.change)),
            interval(one.row, one.change.pictures, ""),
            *([interval(one.row, one.change.seeds, "")] if seeds else []),
            _tests(one.change),
            outcome(one.row, one.change, ("ahead", "behind")),
        ))  # fmt: skip
    head = ("", "training-free, base", "finetuned", "ahead by", "95 % over pictures",
            *(["95 % over seeds"] if seeds else []), "p (Holm)", "so it is")  # fmt: skip
    return Table(caption, head, tuple((name, tuple(of)) for name, of in rows.items()))


def record_of_change(change: Change) -> dict[str, object]:
    """A change as columns of CSV: fractions, not per cent."""
    return {
        "change": change.pictures.value,
        "low": change.pictures.low,
        "high": change.pictures.high,
        "seeds_low": change.seeds.low,
        "seeds_high": change.seeds.high,
        "p_pictures": change.p_pictures,
        "p_holm": change.p_holm,
        "p_seeds": change.p_seeds,
        "significant": int(change.significant),
    }


def against_csv(found: Sequence[Against]) -> str:
    """The numbers of `against_table`."""
    return csv_of(
        [
            {
                "experiment": one.experiment,
                "metric": one.row.metric,
                "label": one.row.label,
                "baseline": one.baseline,
                "training_free": one.free,
                "finetuned": one.value,
                **record_of_change(one.change),
                "outcome": outcome(one.row, one.change, ("ahead", "behind")),
            }
            for one in found
        ]
    )


def kind_of_change(row: Row, change: Change) -> Kind:
    """How a change is coloured: a gain where it is significant, a loss also where it is but `suspected`."""
    good = change.pictures.value * row.better
    if good < 0:
        return "loss" if change.significant or suspected(row, change) else ""
    return "gain" if change.significant and good else ""


def suspected(row: Row, change: Change) -> bool:
    """Whether a loss has an interval of its own without zero, yet is not significant among so many tests.

    The correction keeps chance from being sold as a gain; it is no reason to pass over what may be lost.
    """
    if change.significant or change.pictures.value * row.better >= 0:
        return False
    return any(
        max(one.low * row.better, one.high * row.better) < 0 for one in (change.pictures, change.seeds)
    )


def outcome(row: Row, change: Change, words: tuple[str, str] = ("better", "worse")) -> str:
    """A change in words, with the sign that says the same; "not clearly" is not significant.

    "Uncorrected" is a loss that is `suspected`.

    Args:
        row: What changed.
        change: By how much.
        words: For a gain and for a loss.
    """
    good = change.pictures.value * row.better
    if not change.pictures.value:
        return "no change"
    if not row.better:
        return "changed" if change.significant else "changed, not clearly"
    if not change.significant:
        if good > 0:
            return "no clear gain"
        return f"▼ {words[1]}, {'uncorrected' if suspected(row, change) else 'not clearly'}"
    return f"▲ {words[0]}" if good > 0 else f"▼ {words[1]}"


def p_value(p: float) -> str:
    """As a table shows it."""
    return "" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _tests(change: Change) -> Cell:
    """Both p-values that decide, where there are two."""
    over_seeds = (f"seeds {p_value(change.p_seeds)}",) if change.seeds.n >= SEEDS else ()
    return Cell(p_value(change.p_holm), "", over_seeds)


def _free(comparison: Comparison, row: Row) -> Cell | str:
    """The best training-free score of the base model."""
    known = [(found.value, name) for name in row.baselines if (found := comparison.base.get(name))]
    if not known:
        return ""
    value, name = max(known)
    return Cell(row.number(value), "", (name_of_baseline(name),))


def _columns(row: Row, cell: Compared | None, seeds: bool) -> list[Cell | str]:
    if cell is None:
        return [""] * (5 + seeds)
    if (change := cell.change) is None:
        return [row.number(cell.value), *[""] * (3 + seeds), "not of the same pictures"]
    return [
        row.number(cell.value),
        Cell(row.number(change.pictures.value, sign=True), kind_of_change(row, change)),
        interval(row, change.pictures, ""),
        *([interval(row, change.seeds, "")] if seeds else []),
        _tests(change),
        outcome(row, change),
    ]


def _stacked(row: Row, cell: Compared | None) -> Cell | str:
    if cell is None or cell.change is None:
        return "" if cell is None else row.number(cell.value)
    change = cell.change
    more = [interval(row, change.pictures, "")]
    if change.seeds.n > 1:
        more.append(interval(row, change.seeds, "seeds "))
    p_values = _tests(change)
    more.append(f"p {', '.join((p_values.text, *p_values.more))}: {outcome(row, change)}")
    if (over := cell.over_reference) is not None and over.significant:
        word = outcome(row, over, ("ahead of", "behind"))
        more.append(f"{word} the first column")
    text = f"{row.number(cell.value)} ({row.number(change.pictures.value, sign=True)})"
    return Cell(text, kind_of_change(row, change), tuple(more))


def few_seeds(comparison: Comparison) -> list[str]:
    """What nothing is known of, where seeds are few."""
    few = [one.name for one in comparison.experiments if 0 < len(one.after) < SEEDS and len(one.folders)]
    if not few:
        return []
    return [
        f"{', '.join(few)}: fewer than {SEEDS} seeds. That a change is significant over pictures says "
        "nothing about what another seed would give."
    ]
