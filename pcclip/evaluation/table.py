"""Before and after in one table: the runs of an experiment, averaged over their seeds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pcclip.data.files import write_named
from pcclip.errors import PcclipError
from pcclip.evaluation.finished import Summary, load_summaries
from pcclip.evaluation.statistics import Estimate, mean_over_seeds

COLUMNS = ("base", "text difference (base, training-free)", "absolute (base)", "tuned", "interpolated")
_WORDING = "held-out wording "
_SINGLE = 3
"""Single wordings that a terminal shows."""
_BASELINES = ("text_difference", "absolute")
_AFTER = {"tuned": "delta", "interpolated": "interpolated_delta"}
_LEGEND = (
    "Per cent, [95 % interval], (change against base in points). ▼ a loss, in bold where its interval "
    "excludes zero; ✗ below chance."
)


@dataclass(frozen=True)
class Cell:
    """One number of the table.

    Attributes:
        estimate: The score, as a fraction.
        change: Against the base model, if it is a model after training.
        chance: Score of a coin, where the metric has one.
    """

    estimate: Estimate
    change: Estimate | None = None
    chance: float | None = None

    @property
    def loss(self) -> bool:
        """Whether the model is worse than the base."""
        return self.change is not None and self.change.value < 0

    @property
    def sure_loss(self) -> bool:
        """Whether the interval of the change lies below zero."""
        return self.loss and self.change is not None and self.change.high < 0

    @property
    def below_chance(self) -> bool:
        """Whether a coin does better."""
        return self.chance is not None and self.estimate.value < self.chance

    def text(self) -> str:
        """As it stands in the table, without emphasis."""
        parts = [f"{100 * self.estimate.value:.1f}"]
        if self.estimate.low == self.estimate.low:  # NaN: no interval
            parts.append(f"[{100 * self.estimate.low:.1f}, {100 * self.estimate.high:.1f}]")
        if self.change is not None:
            parts.append(f"({'▼ ' if self.loss else ''}{100 * self.change.value:+.1f})")
        return " ".join(parts + ["✗"] * self.below_chance)


Row = tuple[str, tuple[Cell | None, ...]]


@dataclass(frozen=True)
class ResultTable:
    """A table that can be printed.

    Attributes:
        title: Experiment and runs.
        rows: Label and one cell, or None, per column of `COLUMNS`.
        notes: What a reader must not overlook.
    """

    title: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    def markdown(self) -> str:
        """The table in Markdown."""
        lines = [f"**{self.title}**", "", "| | " + " | ".join(COLUMNS) + " |", "|---" * 6 + "|"]
        for label, cells in self.rows:
            lines.append(f"| {label} | " + " | ".join(map(_markdown, cells)) + " |")
        return "\n".join([*lines, "", _LEGEND, *(f"- {note}" for note in self.notes)]) + "\n"

    def rich(self, everything: bool = False) -> Table:
        """The table for a terminal: losses red.

        Args:
            everything: Every held-out wording; else those alone that the tuned model reads worst.
        """
        shown, left_out = (list(self.rows), []) if everything else _worst_wordings(self.rows)
        notes = [_LEGEND, *self.notes, *left_out]
        table = Table(title=self.title, caption="\n".join(notes), show_lines=False)
        table.add_column("")
        for name in COLUMNS:
            table.add_column(name, justify="right")
        for label, cells in shown:
            table.add_row(
                label, *(Text("") if cell is None else Text(cell.text(), _style(cell)) for cell in cells)
            )
        return table


def print_summaries(runs: Sequence[str], markdown: str | None = None, everything: bool = False) -> None:
    """Prints one table per experiment from the summaries of its runs, averaged over their seeds.

    Args:
        runs: Run folders (RUNS/EXPERIMENT/VERSION), or experiment folders, of which the newest finished run
            of each seed is taken.
        markdown: File to write the tables to as Markdown.
        everything: Print every held-out wording, as the Markdown has them.

    Raises:
        PcclipError: A folder has no summary, or the runs cannot be averaged.
    """
    experiments: dict[str, list[Summary]] = {}
    for summary in load_summaries(Path(run) for run in runs):
        experiments.setdefault(summary["experiment"], []).append(summary)
    tables = [build_table(summaries) for summaries in experiments.values()]
    console = Console() if Console().is_terminal else Console(width=160)  # files take whole rows
    for table in tables:
        console.print(table.rich(everything))
    if markdown is not None:
        write_named(Path(markdown), "\n".join(table.markdown() for table in tables).encode())


def build_table(summaries: Sequence[Summary]) -> ResultTable:
    """One table of the runs of one experiment.

    With several runs a cell is the mean over them with Student's t interval over seeds; with one run it is
    that run's value with its bootstrap interval over pictures.

    Args:
        summaries: Contents of `summary.json` files, at least one.

    Raises:
        PcclipError: A run was not evaluated before and after, or runs have different metrics.
    """
    names = _common_metrics(summaries)
    rows = [(label, _cells(summaries, name, baseline)) for label, name, baseline in _layout(names)]
    seeds = ", ".join(str(summary["seed"]) for summary in summaries)
    interval = "t over seeds" if len(summaries) > 1 else "bootstrap over pictures, one run"
    alphas = [summary["alpha"] for summary in summaries if summary.get("alpha") is not None]
    title = f"{summaries[0]['experiment']}: seed{'s' * (len(summaries) > 1)} {seeds}; intervals: {interval}"
    if alphas:
        title += f"; interpolated at alpha {', '.join(f'{alpha:g}' for alpha in alphas)}"
    return ResultTable(title, tuple(rows), tuple(_notes(rows)))


def _common_metrics(summaries: Sequence[Summary]) -> list[str]:
    for summary in summaries:
        for stage in ("base", "tuned", "delta"):
            if stage not in summary:
                raise PcclipError(
                    f"the run of {summary['experiment']} with seed {summary['seed']} has no '{stage}' in its "
                    "summary.json: it was not evaluated before and after a fit. Leave it out."
                )
        odd = sorted(summaries[0]["base"].keys() ^ summary["base"].keys())
        if odd:
            raise PcclipError(
                f"runs of {summary['experiment']} with seeds {summaries[0]['seed']} and {summary['seed']} "
                f"have different metrics ({odd[0]}, {len(odd)} in all): they cannot be averaged. Compare "
                "them one by one."
            )
    return list(summaries[0]["base"])


def _layout(names: Sequence[str]) -> list[tuple[str, str, str | None]]:
    """Label, metric, and the mean that its training-free baselines belong to, row by row."""
    rows: list[tuple[str, str, str | None]] = []
    present = set(names)
    sets = dict.fromkeys(match[1] for name in names if (match := re.fullmatch(r"zero_shot/(.+)/top1", name)))
    for name in sets:
        if name.endswith(("-unseen", "-unseen-combinations")):
            continue
        for suffix, label in (
            ("", "zero-shot top-1"),
            ("-unseen", "zero-shot top-1, held-out prompts"),
            ("-unseen-combinations", "zero-shot top-1, held-out combinations"),
        ):
            rows.append((f"{name}: {label}", f"zero_shot/{name}{suffix}/top1", None))
    for name in dict.fromkeys(match[1] for one in names if (match := re.match(r"retrieval/(.+)/[^/]+", one))):
        rows += [
            (f"{name}: retrieval, {way}, R@5", f"retrieval/{name}/{way.replace(' ', '_')}_recall_at_5", None)
            for way in ("image to text", "text to image")
        ]
    means = dict.fromkeys(
        match[1] for name in names if (match := re.match(r"difference/(.+)-mean(-unseen)?/", name))
    )
    for name in means:
        for score, label in (("two_alternative", "two-alternative"), ("sign", "sign")):
            for suffix, kind in (("", "seen"), ("-unseen", "held-out")):
                metric = f"difference/{name}-mean{suffix}/{score}"
                rows.append((f"{name}: {label}, {kind} wordings", metric, f"difference/{name}-mean"))
        wording = re.compile(rf"difference/{re.escape(name)}-wording-(.+)-unseen/two_alternative")
        rows += [
            (f"{name}: two-alternative, {_WORDING}{match[1]}", metric, None)
            for metric in names
            if (match := wording.fullmatch(metric))
        ]
    return [row for row in rows if row[1] in present]


def _cells(summaries: Sequence[Summary], metric: str, baseline: str | None) -> tuple[Cell | None, ...]:
    chance = 0.5 if metric.startswith("difference/") else None
    cells: list[Cell | None] = [Cell(_estimate(summaries, "base", metric), None, chance)]
    for score in _BASELINES:
        name = f"{baseline}/{score}"
        has = baseline is not None and name in summaries[0]["base"]
        cells.append(Cell(_estimate(summaries, "base", name), None, chance) if has else None)
    for stage, delta in _AFTER.items():
        if not all(metric in summary.get(stage, {}) for summary in summaries):
            cells.append(None)
            continue
        cells.append(
            Cell(_estimate(summaries, stage, metric), _change(summaries, stage, delta, metric), chance)
        )
    return tuple(cells)


def _estimate(summaries: Sequence[Summary], stage: str, metric: str) -> Estimate:
    found = [summary[stage][metric] for summary in summaries]
    if len(found) == 1:
        return Estimate(**found[0])
    mean = mean_over_seeds([one["value"] for one in found])
    # Student's t knows no bounds, but these are shares of right answers.
    return replace(mean, low=max(mean.low, 0.0), high=min(mean.high, 1.0))


def _change(summaries: Sequence[Summary], stage: str, delta: str, metric: str) -> Estimate:
    if len(summaries) == 1 and metric in summaries[0].get(delta, {}):
        return Estimate(**summaries[0][delta][metric])
    return mean_over_seeds(
        [summary[stage][metric]["value"] - summary["base"][metric]["value"] for summary in summaries]
    )


def _notes(rows: Sequence[Row]) -> list[str]:
    """Says where training did not beat what needs no training."""
    notes = []
    for label, cells in rows:
        if "two-alternative" not in label:
            continue
        for after, name in ((cells[3], "tuned"), (cells[4], "interpolated")):
            for baseline, column in ((cells[1], COLUMNS[1]), (cells[2], COLUMNS[2])):
                if after and baseline and after.estimate.value < baseline.estimate.value:
                    notes.append(
                        f"{label}: {name} ({100 * after.estimate.value:.1f}) does not reach {column} "
                        f"({100 * baseline.estimate.value:.1f})."
                    )
    return notes


def _worst_wordings(rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """The rows without most of the single wordings, and what these say together."""
    single = [row for row in rows if _WORDING in row[0] and row[1][3] is not None]
    if len(single) <= _SINGLE:
        return list(rows), []

    def tuned(row: Row) -> float:
        assert row[1][3] is not None
        return row[1][3].estimate.value

    ordered = sorted(single, key=tuned)
    kept = {row[0] for row in ordered[:_SINGLE]}
    below = sum(row[1][3].below_chance for row in single if row[1][3] is not None)
    note = (
        f"Of {len(single)} held-out wordings the tuned model reads {below} below chance; the {_SINGLE} that "
        f"it reads worst are shown, the best at {100 * tuned(ordered[-1]):.1f}. --all prints each."
    )
    return [row for row in rows if row not in single or row[0] in kept], [note]


def _markdown(cell: Cell | None) -> str:
    if cell is None:
        return ""
    return f"**{cell.text()}**" if cell.sure_loss or cell.below_chance else cell.text()


def _style(cell: Cell) -> str:
    if cell.sure_loss or cell.below_chance:
        return "bold red"
    return "red" if cell.loss else ""
