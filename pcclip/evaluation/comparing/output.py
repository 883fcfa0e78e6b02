"""A comparison as a table for the terminal, as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from pcclip.evaluation.comparing.comparison import LEVEL, SEEDS, Cell, Change, Comparison
from pcclip.evaluation.comparing.experiments import Experiment
from pcclip.evaluation.comparing.notes import notes_on
from pcclip.evaluation.comparing.rows import Row
from pcclip.evaluation.statistics import Estimate


@dataclass(frozen=True)
class Lines:
    """What stands in a cell.

    Attributes:
        value: The value and its change.
        pictures: Interval over pictures.
        seeds: Interval over seeds; empty where there is none.
        style: For rich: a loss is red, and bold if it is significant.
    """

    value: str
    pictures: str = ""
    seeds: str = ""
    style: str = ""


def rich_table(comparison: Comparison) -> Table:
    """The table for a terminal; `explanation` belongs below it."""
    table = Table(title=Text(_title(comparison)))
    table.add_column("", ratio=1, min_width=20)
    table.add_column("base", justify="right")
    for one in comparison.experiments:
        table.add_column(Text(header(comparison, one).replace("; ", "\n")), justify="right")
    for row in comparison.rows:
        cells = [Text(_base(comparison, row))]
        for one in comparison.experiments:
            found = lines(row, comparison.cells.get((row.metric, one.name)))
            cells.append(
                Text("\n".join(filter(None, (found.value, found.pictures, found.seeds))), found.style)
            )
        table.add_row(Text(row.label), *cells)
    return table


def markdown(comparison: Comparison) -> str:
    """The table in Markdown."""
    names = ["", "base", *(header(comparison, one) for one in comparison.experiments)]
    out = [f"**{_title(comparison)}**", "", f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for row in comparison.rows:
        cells = [row.label, _base(comparison, row)]
        for one in comparison.experiments:
            found = lines(row, comparison.cells.get((row.metric, one.name)))
            value = f"**{found.value}**" if "bold" in found.style else found.value
            cells.append("<br>".join(filter(None, (value, found.pictures, found.seeds))))
        out.append(f"| {' | '.join(cells)} |")
    return "\n".join([*out, "", *(f"- {line}" for line in explanation(comparison))]) + "\n"


def csv_text(comparison: Comparison) -> str:
    """Everything that is known, one line per metric and experiment, as fractions."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    fields = ("change", "low", "high", "seeds_low", "seeds_high", "test", "p_pictures", "p_holm", "p_seeds",
              "p_seeds_holm", "significant")  # fmt: skip
    writer.writerow(
        ["metric", "label", "suite", "stage", "experiment", "seeds", "base", "base_low", "base_high", "value"]
        + list(fields)
        + [f"over_{comparison.reference.name}_{field}" for field in fields]
    )
    for row in comparison.rows:
        base = comparison.base.get(row.metric)
        for one in comparison.experiments:
            cell = comparison.cells.get((row.metric, one.name))
            if cell is not None:
                writer.writerow(
                    [row.metric, row.label, comparison.suite, comparison.stage, one.name, _seeds(one)]
                    + ([base.value, base.low, base.high] if base else [""] * 3)
                    + [cell.value, *_fields(cell.change), *_fields(cell.over_reference)]
                )
    return stream.getvalue()


def lines(row: Row, cell: Cell | None) -> Lines:
    """A cell's text."""
    if cell is None:
        return Lines("")
    if cell.change is None:
        return Lines(row.number(cell.value))
    change, over = cell.change, cell.over_reference
    loss = change.pictures.value * row.better < 0
    marks = "*" * change.significant
    if over is not None and over.significant:
        marks += "†↑" if over.pictures.value > 0 else "†↓"
    value = f"{row.number(cell.value)} ({'▼ ' * loss}{row.number(change.pictures.value, sign=True)}){marks}"
    style = "red" if loss else ""
    return Lines(
        value,
        interval(row, change.pictures, ""),
        interval(row, change.seeds, "seeds ") if change.seeds.n > 1 else "",
        f"bold {style}".strip() if loss and change.significant else style,
    )


def header(comparison: Comparison, one: Experiment) -> str:
    """Name of a column, with what it rests on."""
    reference = "; reference †" * (one is comparison.reference and len(comparison.experiments) > 1)
    if len(one.folders) == 1 and len(one.after) > 1:
        return f"{one.name}; a model as it is"
    alphas = f"; alpha {', '.join(f'{alpha:g}' for alpha in one.alphas.values())}"
    shown = alphas if comparison.stage == "interpolated" and one.alphas else ""
    return f"{one.name}; {_seeds(one)}{shown}{reference}"


def explanation(comparison: Comparison) -> list[str]:
    """What is shown and what exactly is tested, and the notes."""
    changes = [cell.change for cell in comparison.cells.values() if cell.change is not None]
    over = [cell.over_reference for cell in comparison.cells.values() if cell.over_reference is not None]
    out = [
        "Shares in per cent, other numbers as they are. Base: value [95 % interval over pictures], mean over "
        "the seeds of the first column that has it. Others: value (change against base), [95 % interval over "
        "pictures of the change, mean over the seeds at hand], and Student's t interval over seeds. ▼ a "
        "loss, in bold where it is significant.",
        f"* differs from base: {how_tested(changes)}",
    ]
    if over:
        out.append(
            f"†↑ †↓ its change differs from {comparison.reference.name}'s, seed by seed: {how_tested(over)}"
        )
    return [*out, *notes_on(comparison)]


def how_tested(changes: list[Change]) -> str:
    """When a change of a table counts as significant."""
    marked = [change for change in changes if change.significant]
    many = [change for change in marked if change.seeds.n >= SEEDS]
    kinds = {change.test for change in changes}
    how = {
        frozenset({"bootstrap"}): "paired bootstrap",
        frozenset({"McNemar"}): "McNemar's exact test",
    }.get(frozenset(kinds), "paired bootstrap, or McNemar's exact test for answers of a single seed")
    text = (
        f"p < {LEVEL:g} over pictures ({how}) after Holm's correction over these "
        f"{sum(change.p_pictures == change.p_pictures for change in changes)} tests"
    )
    if any(change.seeds.n >= SEEDS for change in changes):
        strict = sum(change.strictly for change in many)
        text += (
            f", and with {SEEDS} seeds or more also p < {LEVEL:g} by Student's t test over seeds, not "
            f"corrected (corrected too, {strict} of the {len(many)} would keep their mark)"
        )
    if any(change.seeds.n < SEEDS for change in changes):
        text += f". With fewer than {SEEDS} seeds a mark says nothing about other seeds"
    return text + "."


def _title(comparison: Comparison) -> str:
    return f"{comparison.suite}: base and {comparison.stage} models"


def _base(comparison: Comparison, row: Row) -> str:
    found = comparison.base.get(row.metric)
    if found is None:
        return ""
    return " ".join(filter(None, (row.number(found.value), interval(row, found, "", sign=False))))


def _seeds(one: Experiment) -> str:
    return f"seed{'s' * (len(one.after) > 1)} {', '.join(map(str, sorted(one.after)))}"


def interval(row: Row, found: Estimate, prefix: str, sign: bool = True) -> str:
    """The ends of an interval as a cell shows them; nothing where there is none."""
    if found.low != found.low:  # NaN: there is none
        return ""
    return f"{prefix}[{row.number(found.low, sign)}, {row.number(found.high, sign)}]"


def _fields(change: Change | None) -> list[object]:
    if change is None:
        return [""] * 11
    return [
        change.pictures.value, change.pictures.low, change.pictures.high, change.seeds.low, change.seeds.high,
        change.test, change.p_pictures, change.p_holm, change.p_seeds, change.p_seeds_holm,
        int(change.significant),
    ]  # fmt: skip
