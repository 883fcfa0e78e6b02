"""The before and after of a run, for its model card."""

from __future__ import annotations

from dataclasses import replace

from pcclip.errors import PcclipError
from pcclip.evaluation.finished import Summary
from pcclip.evaluation.table import COLUMNS, Cell, ResultTable, build_table

_WORDING = "held-out wording "


def results_section(summary: Summary, stage: str) -> list[str]:
    """The table of `pcclip compare RUN`, single wordings folded away.

    Args:
        summary: The run's.
        stage: Which weights are exported.
    """
    try:
        table = build_table([summary])
    except PcclipError:
        return [
            "The run was not evaluated before and after its training: nothing is known of what it changed."
        ]
    if not table.rows:
        return ["The run's evaluations are not of the kinds that this table shows; see its `summary.json`."]
    single = tuple(row for row in table.rows if _WORDING in row[0])
    main = replace(table, rows=tuple(row for row in table.rows if _WORDING not in row[0]))
    said = {"base": "base", "tuned": "tuned", "interpolated": "interpolated"}[stage]
    lines = [f"These files are the column **{said}**. {_seed(table)}", "", *main.markdown().splitlines()[2:]]
    if single:
        lines += ["", _worst(single, COLUMNS.index(said))]
        every = replace(table, rows=single, notes=()).markdown().splitlines()[2:]
        lines += ["", "<details><summary>Every held-out wording</summary>", "", *every, "", "</details>"]
    return lines


def _seed(table: ResultTable) -> str:
    return f"One run ({table.title})."


def _worst(rows: tuple[tuple[str, tuple[Cell | None, ...]], ...], column: int) -> str:
    scores = [(cells[column], label.split(_WORDING)[1]) for label, cells in rows if cells[column] is not None]
    if not scores:
        return ""
    below = sum(cell.below_chance for cell, _ in scores if cell is not None)
    worst = min(scores, key=lambda one: one[0].estimate.value if one[0] is not None else 1.0)
    assert worst[0] is not None
    return (
        f"Of {len(scores)} held-out wordings it reads {below} below chance; the worst is `{worst[1]}` "
        f"({100 * worst[0].estimate.value:.1f})."
    )
