"""What a reader of a comparison must not overlook."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pcclip.evaluation.comparing.comparison import Cell, Comparison
from pcclip.evaluation.comparing.experiments import evaluate_command
from pcclip.evaluation.comparing.rows import Row
from pcclip.evaluation.measured import Measured


def notes_on(comparison: Comparison) -> Iterator[str]:
    """Says what is missing, what is not comparable, and where no training would have done better."""
    reference = comparison.reference
    for one in comparison.experiments:
        cells = {row.metric: comparison.cells.get((row.metric, one.name)) for row in comparison.rows}
        missing = [metric for metric, cell in cells.items() if cell is None]
        if missing:
            yield (
                f"{one.name} lacks {len(missing)} of {len(cells)} rows ({missing[0]}"
                f"{', ...' * (len(missing) > 1)}). If its sets and protocols were others, evaluate again: "
                f"{evaluate_command(comparison.suite, one.folders, again=True)}"
            )
        odd = [metric for metric, cell in cells.items() if cell is not None and cell.change is None]
        if odd:
            yield f"{one.name}: {len(odd)} rows ({odd[0]}, ...) are not of the same pictures as the base's."
        if set(one.after) != set(reference.after):
            common = sorted(set(one.after) & set(reference.after))
            yield (
                f"{one.name} has the seeds {_list(one.after)}, {reference.name} {_list(reference.after)}: "
                + (f"the two are compared on {_list(common)}." if common else "the two are not compared.")
            )
        shared = [seed for seed in one.before if seed in reference.before]
        names = {row.metric for row in comparison.rows}
        if any(_differ(one.before[seed], reference.before[seed], names) for seed in shared):
            yield f"{one.name} starts from other weights than {reference.name}: changes are from its own."
        for row in comparison.rows:
            yield from _short_of(comparison, row, one.name, cells[row.metric])


def _short_of(comparison: Comparison, row: Row, name: str, cell: Cell | None) -> Iterator[str]:
    better = [
        f"{baseline.rpartition('/')[2]} ({row.number(free.value)})"
        for baseline in row.baselines
        if (free := comparison.base.get(baseline)) and cell is not None and cell.value < free.value
    ]
    if better and cell is not None:
        yield (
            f"{row.label}: {name} ({row.number(cell.value)}) does not reach the base model's training-free "
            f"{' and '.join(better)}."
        )


def _differ(one: Measured, other: Measured, names: set[str]) -> bool:
    mine, theirs = one.values_by_name(), other.values_by_name()
    return any(abs(mine[name] - theirs[name]) > 1e-4 for name in names & mine.keys() & theirs.keys())


def _list(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(seeds)))
