"""What got worse: all measures that fell, and the wordings that are read below chance."""

from __future__ import annotations

from pcclip.evaluation.comparing.comparison import Cell as Compared
from pcclip.evaluation.comparing.comparison import Change, Comparison
from pcclip.evaluation.comparing.output import interval
from pcclip.evaluation.comparing.rows import Row
from pcclip.report.briefly import WORDING
from pcclip.report.results import (
    BASELINES,
    kind_of,
    kind_of_change,
    outcome,
    p_value,
    record_of_change,
    suspected,
)
from pcclip.report.section import Section
from pcclip.report.tables import Cell, Table, bullets, csv_of

_SHOWN = 12
_CHANCE = 0.5


def worse_section(every: Comparison) -> Section:
    """The losses of each experiment, the significant ones first.

    Args:
        every: All measures, single wordings too.
    """
    several = len(every.experiments) > 1
    lines: list[str] = []
    groups = []
    records: list[dict[str, object]] = []
    for one in every.experiments:
        cells = {
            row: cell for row in every.rows if (cell := every.cells.get((row.metric, one.name))) is not None
        }
        lines += [f"{one.name}: {line}" if several else line for line in _counts(cells)]
        lost = _lost(cells)
        groups.append((one.name if several else "", tuple(_line(*each) for each in lost[:_SHOWN])))
        records += [_record(one.name, *each) for each in lost]
    table = Table(
        f"What fell (at most {_SHOWN} measures, the significant ones first), and by how much",
        ("", "before", "after", "change", "95 % over pictures", "p (Holm)", "so it is"),
        tuple(groups),
    )
    page, text = bullets(lines)
    if table.rows:
        page, text = page + table.html(), f"{text}\n{table.markdown()}"
    return Section("What got worse", page, text, csv_of(records) if records else "")


def _counts(cells: dict[Row, Compared]) -> list[str]:
    changed = {row: cell.change for row, cell in cells.items() if cell.change is not None and row.better}
    lower = [row for row, change in changed.items() if change.pictures.value * row.better < 0]
    sure = [row for row in lower if changed[row].significant]
    maybe = [row for row in lower if suspected(row, changed[row])]
    free = sum(kind_of(row) == BASELINES for row in sure)
    of_free = f" ({free} of them baselines, which the finetuned model now does worse)" if free else ""
    lines = [
        f"Of {len(changed)} measures {len(lower)} are lower than before, {len(sure)} of them "
        f"significantly{of_free} (Holm's correction over all {len(changed)})."
        + (
            f" {len(maybe)} more have an interval of their own without zero (marked 'uncorrected'); by "
            f"chance, without any change, about {0.025 * len(changed):.0f} would."
            if maybe
            else ""
        )
    ]
    read = {found: cell for row, cell in cells.items() if (found := WORDING.fullmatch(row.metric))}
    below = {found: cell.value for found, cell in read.items() if cell.value < _CHANCE}
    if read:
        worst = sorted(below, key=lambda found: below[found])
        named = "; ".join(
            f"{found[1]} {100 * below[found]:.1f} % ({'held out' if found[2] else 'seen in training'})"
            for found in worst[:_SHOWN]
        )
        lines.append(
            f"Of {len(read)} single wordings {len(below)} are read below chance after the finetuning"
            + (f": {named}{', ...' * (len(worst) > _SHOWN)}." if below else ".")
        )
    return lines


def _lost(cells: dict[Row, Compared]) -> list[tuple[Row, Compared, Change]]:
    """The significant ones first, then the suspected ones, the largest of each first."""
    found = [
        (row, cell, change)
        for row, cell in cells.items()
        if (change := cell.change) is not None and change.pictures.value * row.better < 0
    ]

    def order(one: tuple[Row, Compared, Change]) -> tuple[bool, bool, float]:
        row, _, change = one
        return not change.significant, not suspected(row, change), -abs(change.pictures.value) / row.unit

    return sorted(found, key=order)


def _line(row: Row, cell: Compared, change: Change) -> tuple[Cell | str, ...]:
    return (
        row.label,
        row.number(cell.value - change.pictures.value),
        row.number(cell.value),
        Cell(row.number(change.pictures.value, sign=True), kind_of_change(row, change)),
        interval(row, change.pictures, ""),
        p_value(change.p_holm),
        outcome(row, change),
    )


def _record(name: str, row: Row, cell: Compared, change: Change) -> dict[str, object]:
    return {
        "experiment": name,
        "metric": row.metric,
        "label": row.label,
        "before": cell.value - change.pictures.value,
        "after": cell.value,
        **record_of_change(change),
        "outcome": outcome(row, change),
    }
