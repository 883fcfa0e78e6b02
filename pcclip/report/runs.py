"""The sections of a report on runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress

from pcclip.errors import PcclipError
from pcclip.evaluation.comparing.comparison import Comparison, compare_experiments
from pcclip.evaluation.comparing.experiments import Experiment, load_experiments
from pcclip.evaluation.comparing.notes import notes_on
from pcclip.evaluation.comparing.output import csv_text, how_tested
from pcclip.evaluation.comparing.rows import Row, choose_rows
from pcclip.evaluation.exhibits.files import read_exhibits
from pcclip.evaluation.exhibits.kinds import SetExhibits
from pcclip.evaluation.finished import Finished, finished_runs
from pcclip.report.briefly import fell_lines, measured_line, took_line
from pcclip.report.cost import cost_section
from pcclip.report.figures import Curve, curves, read_scalars
from pcclip.report.pictures import count_pictures, exhibits_part
from pcclip.report.recorded import recorded_part, title_of
from pcclip.report.results import against_csv, against_table, results_table
from pcclip.report.section import Section
from pcclip.report.tables import bullets, escaped, folded, plain
from pcclip.report.thumbnails import Thumbnails
from pcclip.report.training_free import Against, against_free
from pcclip.report.verdict import Line, verdict_section, verdicts
from pcclip.report.worse import worse_section

_PICTURES = 1200
"""Of a report: with more it could not be mailed."""
_NO_EXHIBITS = (
    "This run has no exhibits (pictures ranked, answers lost and won, confusions): an earlier version made "
    "it, or it measured validation data alone."
)
_TOO_MANY = (
    "The pictures of this run are left out: with them the page would be too large. Report it by itself."
)


@dataclass(frozen=True)
class Sections:
    """What is said of runs.

    Attributes:
        names: Of their experiments.
        first: Verdict, results, what got worse.
        rest: Each run, what all cost, every measure.
    """

    names: list[str]
    first: list[Section]
    rest: list[Section]


def sections_of_runs(runs: Sequence[str], suite: str, stage: str, bar: Progress) -> Sections:
    """Everything that a report says of runs.

    Args:
        runs: As `load_experiments` takes them.
        suite: What was evaluated.
        stage: Which weights.
        bar: Shows how far it is.

    Raises:
        PcclipError: Something is missing or damaged; the message says what makes it.
    """
    experiments = load_experiments(runs, suite, stage)
    folders = [folder for one in experiments for folder in one.folders]
    finished = [
        run for folder in folders if (folder / "summary.json").is_file() for run in finished_runs([folder])
    ]
    task = bar.add_task("report", total=3 + 2 * len(finished))

    main = compare_experiments(experiments, _first_rows(_names(experiments)), suite, stage)
    bar.advance(task)
    against = against_free(main)
    bar.advance(task)
    every = compare_experiments(experiments, choose_rows(_names(experiments), ["*"], False), suite, stage)
    bar.advance(task)
    scalars = []
    for run in finished:
        scalars.append(read_scalars(run.folder))
        bar.advance(task)
    logged = list(zip(finished, scalars, strict=True))
    more = {one.name: _briefly(one, every, main, logged) for one in every.experiments}
    first = [verdict_section(verdicts(main, against), main, more), _results_section(main)]
    if against:
        first.append(_against_section(against))
    first.append(worse_section(every))
    rest = []
    for section in _run_sections(finished, scalars):
        rest.append(section)
        bar.advance(task)
    if finished:
        rest.append(cost_section(finished, scalars))
    table = results_table(every, f"Every measure: {_what(every)}")
    page = folded(f"{len(every.rows)} measures, single wordings too", table.html())
    rest.append(Section("Every measure", page + _how(every)[0], table.markdown(), csv_text(every)))
    return Sections([one.name for one in main.experiments], first, rest)


def _briefly(
    one: Experiment, every: Comparison, main: Comparison, runs: Sequence[tuple[Finished, dict[str, Curve]]]
) -> list[Line]:
    took = took_line([(run, logged) for run, logged in runs if run.folder in one.folders])
    return [*fell_lines(every, main, one.name), measured_line(one, every), *([took] if took else [])]


def _names(experiments: Sequence[Experiment]) -> list[str]:
    return [
        name
        for one in experiments
        for measured in one.after.values()
        for results in measured.values()
        for name in results.values()
    ]


def _first_rows(names: Sequence[str]) -> list[Row]:
    """The usual selection; everything, where nothing usual was measured."""
    try:
        return choose_rows(names, None, everything=False)
    except PcclipError:
        return choose_rows(names, ["*"], everything=False)


def _results_section(main: Comparison) -> Section:
    table = results_table(main, f"Base model and {main.stage} model: {_what(main)}")
    page, text = _how(main)
    notes = bullets(list(notes_on(main)))
    return Section(
        "Results",
        table.html() + page + notes[0],
        "\n".join((table.markdown(), text, notes[1])),
        csv_text(main),
    )


def _what(comparison: Comparison) -> str:
    seeds = sorted({seed for one in comparison.experiments for seed in one.after})
    return f"{comparison.suite}, seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


_MEANT = (
    (r"difference/.*/two_alternative", "Two-alternative: a sentence fits the difference of two pictures "
     "better than the same sentence about the swapped pair does; chance is 50 %."),
    (r"difference/.*/sign", "Sign: the cosine of sentence and difference is positive; chance is 50 %."),
    (r"ranking/.*spearman", "Ranking: Spearman's correlation of the order by a sentence with the measured "
     "attribute; chance is 0."),
)  # fmt: skip


def _how(comparison: Comparison) -> tuple[str, str]:
    changes = [cell.change for cell in comparison.cells.values() if cell.change is not None]
    meant = [told for name, told in _MEANT if any(re.fullmatch(name, row.metric) for row in comparison.rows)]
    texts = [
        "Shares in per cent and their changes in points, other numbers as they are. Brackets: 95 % "
        "intervals, of changes from pairs of answers of both models about the same pictures.",
        *meant,
        f"Clearly is significantly: {how_tested(changes)}",
        "'Uncorrected' is a loss whose own interval lies below zero, but which is not significant among so "
        "many tests; of gains like that nothing is said.",
    ]
    text = " ".join(texts)
    return f'<p class="note">{escaped(text)}</p>\n', f"{plain(text)}\n"


def _against_section(against: Sequence[Against]) -> Section:
    table = against_table(against, "The finetuned model against the base model without finetuning")
    text = (
        "Text difference: the base model's embedding of one caption less that of another, in place of a "
        "sentence. Absolute score: each picture alone against a caption. Neither needs any training on "
        "differences. Intervals are paired, on the same pairs of pictures; p after Holm's correction over "
        f"the {len(against)} tests of this table."
    )
    page = f'<p class="note">{escaped(text)}</p>\n'
    return Section(
        "Against what needs no training",
        table.html() + page,
        f"{table.markdown()}\n{text}\n",
        against_csv(against),
    )


def _run_sections(finished: Sequence[Finished], scalars: Sequence[dict[str, Curve]]) -> list[Section]:
    exhibits = [read_exhibits(run.folder) for run in finished]
    counts = [count_pictures(of) for of in exhibits]
    shown = [sum(counts[: number + 1]) <= _PICTURES or not number for number in range(len(counts))]
    thumbnails = Thumbnails(sum(count for count, show in zip(counts, shown, strict=True) if show))
    return [
        _run_section(run, logged, of, show, thumbnails)
        for run, logged, of, show in zip(finished, scalars, exhibits, shown, strict=True)
    ]


def _run_section(
    run: Finished, logged: dict[str, Curve], exhibits: list[SetExhibits], show: bool, thumbnails: Thumbnails
) -> Section:
    facts, told = recorded_part(run)
    page = [f"<h3>What was run</h3>\n{facts}", f"<h3>Curves</h3>\n{curves(run.folder, logged)}"]
    text = [f"### What was run\n\n{told}"]
    if not exhibits or not show:
        line = _TOO_MANY if exhibits else _NO_EXHIBITS
        page.append(f'<p class="note">{line}</p>\n')
        text.append(f"{line}\n")
    else:
        html, lines = exhibits_part(Path(run.folder), exhibits, thumbnails)
        page.append(html)
        text.append(lines)
    return Section(title_of(run), "".join(page), "\n".join(text))
