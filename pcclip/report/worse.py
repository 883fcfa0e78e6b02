"""What got worse: all measures that fell, and the wordings that are read below chance."""

from __future__ import annotations

import re

from pcclip.evaluation.comparing.comparison import Cell as Compared
from pcclip.evaluation.comparing.comparison import Comparison
from pcclip.evaluation.comparing.output import interval
from pcclip.evaluation.comparing.rows import Row
from pcclip.report.results import BASELINES, kind_of, kind_of_change, outcome, p_value
from pcclip.report.section import Section
from pcclip.report.tables import Cell, Table, bullets

_SHOWN = 12
_WORDING = re.compile(r"difference[^/]*/.+-wording-(.+?)(-unseen)?/two_alternative")
_CHANCE = 0.5


def worse_section(every: Comparison) -> Section:
    """The losses of each experiment, the significant ones first.

    Args:
        every: All measures, single wordings too.
    """
    several = len(every.experiments) > 1
    lines: list[str] = []
    groups = []
    for one in every.experiments:
        cells = {
            row: cell for row in every.rows if (cell := every.cells.get((row.metric, one.name))) is not None
        }
        lines += [f"{one.name}: {line}" if several else line for line in _counts(cells)]
        groups.append((one.name if several else "", tuple(_lost(cells)[:_SHOWN])))
    table = Table(
        f"What fell (at most {_SHOWN} measures, the significant ones first), and by how much",
        ("", "before", "after", "change", "95 % over pictures", "p (Holm)", "so it is"),
        tuple(groups),
    )
    page, text = bullets(lines)
    if table.rows:
        page, text = page + table.html(), f"{text}\n{table.markdown()}"
    return Section("What got worse", page, text, table.csv())


def _counts(cells: dict[Row, Compared]) -> list[str]:
    changed = {row: cell.change for row, cell in cells.items() if cell.change is not None and row.better}
    lower = [row for row, change in changed.items() if change.pictures.value * row.better < 0]
    sure = [row for row in lower if kind_of_change(row, changed[row]) == "loss"]
    free = sum(kind_of(row) == BASELINES for row in sure)
    of_free = f" ({free} of them baselines, which the finetuned model now does worse)" if free else ""
    lines = [
        f"Of {len(changed)} measures {len(lower)} are lower than before, {len(sure)} of them "
        f"significantly{of_free} (Holm's correction over all {len(changed)})."
    ]
    read = {found: cell for row, cell in cells.items() if (found := _WORDING.fullmatch(row.metric))}
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


def _lost(cells: dict[Row, Compared]) -> list[tuple[Cell | str, ...]]:
    found = []
    for row, cell in cells.items():
        change = cell.change
        if change is None or change.pictures.value * row.better >= 0:
            continue
        size = abs(change.pictures.value) / row.unit
        line = (
            row.label,
            row.number(cell.value - change.pictures.value),
            row.number(cell.value),
            Cell(row.number(change.pictures.value, sign=True), kind_of_change(row, change)),
            interval(row, change.pictures, ""),
            p_value(change.p_holm),
            outcome(row, change),
        )
        found.append((not change.significant, -size, line))
    return [line for *_, line in sorted(found, key=lambda one: one[:2])]
