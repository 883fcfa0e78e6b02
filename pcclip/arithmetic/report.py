"""What an evaluation of pictures says: a table with paired changes, JSON and CSV."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pcclip.arithmetic.drawing import Cost
from pcclip.arithmetic.measuring import TowerScores
from pcclip.arithmetic.plan import UNCHANGED, WORDS, Plan, cell_title
from pcclip.data.files import write_atomically
from pcclip.evaluation.protocol import Results
from pcclip.evaluation.statistics import Estimate, Observations
from pcclip.evaluation.table import Cell

JSON, CSV, PICTURES_CSV = "arithmetic.json", "arithmetic.csv", "pictures.csv"
_BASE = "base"
_LEGEND = (
    "Per cent, [95 % interval over cases, seeds averaged], (paired change against base). ▼ a loss, bold "
    "where its interval excludes zero."
)


@dataclass(frozen=True)
class Report:
    """All numbers of one evaluation.

    Attributes:
        title: What was evaluated.
        name: Of the cases.
        plan: What was drawn.
        results: By tower; the first is the base.
        costs: Of drawing, by tower.
    """

    title: str
    name: str
    plan: Plan
    results: Mapping[str, Results]
    costs: Mapping[str, Cost]

    def against(self, tower: str, cell: str, of: str | None = None) -> Results | None:
        """Paired changes of a tower's pictures with arithmetic against those of one cell.

        Args:
            tower: Whose arithmetic.
            cell: What it is compared with: `w0` or `words`.
            of: The tower that drew those; None for the same.

        Returns:
            None where no score has that cell.
        """
        mine, theirs = self.results[tower], self.results[of or tower]
        groups: dict[str, Observations] = {}
        for group, seen in mine.groups.items():
            if cell in seen.scores:
                other = theirs.groups[group].scores[cell]
                changes = {column: seen.scores[column] - other for column in self.plan.changed}
                groups[group] = Observations(seen.first, None, changes)
        metrics = {
            metric: parts
            for metric, parts in mine.metrics.items()
            if all(group in groups and column in self.plan.changed for group, column in parts)
        }
        return replace(mine, groups=groups, metrics=metrics, change=True) if metrics else None

    def comparisons(self) -> Iterator[tuple[str, dict[str, Estimate]]]:
        """Every set of numbers with its name: `tuned`, `tuned_delta`, `tuned_over_words` and so on."""
        for tower, results in self.results.items():
            yield tower, results.estimates()
            if tower != _BASE and _BASE in self.results:
                yield f"{tower}_delta", results.minus(self.results[_BASE]).estimates()
            first = next(iter(self.results))
            for cell, of, label in ((WORDS, first, "over_words"), (UNCHANGED, None, "over_no_change")):
                if (changes := self.against(tower, cell, of)) is not None:
                    yield f"{tower}_{label}", changes.estimates()


def write(
    report: Report, scores: Mapping[str, TowerScores], folder: Path, settings: Mapping[str, Any]
) -> None:
    """Writes `arithmetic.json`, `arithmetic.csv` and the scores of every picture, `pictures.csv`.

    Args:
        report: The numbers.
        scores: Of the pictures.
        folder: Where.
        settings: What made the pictures, for the JSON.
    """
    found = dict(report.comparisons())
    whole = {
        "settings": settings,
        "costs": {tower: _cost(cost) for tower, cost in report.costs.items()},
        **{name: {metric: one.as_dict() for metric, one in part.items()} for name, part in found.items()},
    }
    write_atomically(folder / JSON, json.dumps(whole, indent=1).encode())
    rows = [
        [name, metric, one.value, one.low, one.high, one.n]
        for name, part in found.items()
        for metric, one in part.items()
    ]
    write_atomically(folder / CSV, _csv(["what", "metric", "value", "low", "high", "cases"], rows))
    write_atomically(folder / PICTURES_CSV, _csv(*_pictures(report.plan, scores)))


def show(report: Report) -> None:
    """Prints the table and what a reader must not overlook."""
    console = Console() if Console().is_terminal else Console(width=160)  # files take whole rows
    console.print(_table(report))
    for line in (*_notes(report), *_cost_lines(report)):
        console.print(Text(line), soft_wrap=True)


def _table(report: Report) -> Table:
    table = Table(title=Text(report.title), caption=_LEGEND, title_justify="left")
    table.add_column("")
    for tower in report.results:
        table.add_column(tower, justify="right")
    estimates = {tower: results.estimates() for tower, results in report.results.items()}
    changes = {
        tower: results.minus(report.results[_BASE]).estimates()
        for tower, results in report.results.items()
        if tower != _BASE and _BASE in report.results
    }
    for score in _scores(report):
        for cell in (*report.plan.cells, "mean"):
            metric = f"arithmetic/{report.name}/{cell}/{score}"
            cells = [
                Cell(estimates[tower][metric], changes.get(tower, {}).get(metric))
                for tower in report.results
                if metric in estimates[tower]
            ]
            if cells:
                title = "mean over weights" if cell == "mean" else cell_title(cell)
                table.add_row(Text(f"{score}, {title}"), *map(_text, cells), end_section=cell == "mean")
    return table


def _text(cell: Cell) -> Text:
    return Text(cell.text(), "bold red" if cell.sure_loss else "red" if cell.loss else "")


def _signed(change: Estimate) -> str:
    """A change in points, losses marked."""
    interval = f" [{100 * change.low:+.1f}, {100 * change.high:+.1f}]" if change.low == change.low else ""
    return f"{'▼ ' * (change.value < 0)}{100 * change.value:+.1f}{interval}"


def _scores(report: Report) -> list[str]:
    start = f"arithmetic/{report.name}/mean/"
    metrics = next(iter(report.results.values())).metrics
    return [metric.removeprefix(start) for metric in metrics if metric.startswith(start)]


def _notes(report: Report) -> Iterator[str]:
    """Arithmetic against what needs none."""
    first = next(iter(report.results))
    for tower in report.results:
        for cell, of, what in (
            (WORDS, first, f"{first}'s pictures of the attribute in words"),
            (UNCHANGED, None, "its pictures without change"),
        ):
            compared = report.against(tower, cell, of)
            changes = {} if compared is None else compared.estimates()
            told = [
                f"{score} {_signed(changes[metric])}"
                for score in _scores(report)
                if (metric := f"arithmetic/{report.name}/mean/{score}") in changes
            ]
            if told:
                yield f"{tower}, mean over weights, minus {what}: {'; '.join(told)}."
    seeds = ", ".join(map(str, report.plan.seeds))
    yield (
        f"{len(report.plan.cases)} cases, seeds of the noise {seeds}, shared by all towers. Without change "
        "each tower reads the plain prompt its own way, so these pictures differ too."
    )


def _cost_lines(report: Report) -> Iterator[str]:
    for tower, cost in report.costs.items():
        if cost.pictures:
            peak = cost.peak_memory_gib
            memory = "" if peak is None else f", peak memory {peak:.2f} GiB"
            each = cost.seconds / cost.pictures
            yield f"{tower}: {cost.pictures:,} pictures drawn, {each:.3f} s per picture{memory}."


def _cost(cost: Cost) -> dict[str, Any]:
    per_picture = cost.seconds / cost.pictures if cost.pictures else None
    return {**vars(cost), "seconds_per_picture": per_picture}


def _pictures(plan: Plan, scores: Mapping[str, TowerScores]) -> tuple[list[str], list[list[Any]]]:
    names = list(dict.fromkeys(name for by_score in scores.values() for name in by_score))
    rows = []
    for (tower, by_score), cell in itertools.product(scores.items(), plan.cells):
        for (at, case), (turn, seed) in itertools.product(enumerate(plan.cases), enumerate(plan.seeds)):
            values = [float(by_score[name][cell][at, turn]) for name in names]
            rows.append([tower, case.subject, case.attribute, cell, seed, *values])
    return ["tower", "subject", "attribute", "cell", "seed", *names], rows


def _csv(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return stream.getvalue().encode()
