"""`pcclip report`."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pcclip import __version__
from pcclip.data.files import write_named
from pcclip.data.progress import progress_bar
from pcclip.errors import PcclipError
from pcclip.evaluation.measured import FIT
from pcclip.report.page import file_name, markdown, page
from pcclip.report.section import Section

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

_SWEEP = "sweep.db"


def report(
    runs: Sequence[str],
    out: str = "report.html",
    markdown_file: str | None = None,
    csv_file: str | None = None,
    suite: str = FIT,
    stage: Literal["tuned", "interpolated"] = "tuned",
) -> None:
    """Writes what there is to say of runs as one page that opens anywhere, without a network.

    Args:
        runs: Run folders, experiment folders (the newest finished run of each seed is taken), result folders
            of models (OUT/SUITE/LABEL), or folders of sweeps.
        out: The page. A file of that name is replaced.
        markdown_file: File to write the verdict and the tables to as Markdown.
        csv_file: File to write the table of results to; other tables go beside it (`NAME-cost.csv` ...).
        suite: What was evaluated.
        stage: Which weights.

    Raises:
        PcclipError: Something is missing; the message says what makes it.
    """
    files = [Path(file) for file in (out, markdown_file, csv_file) if file is not None]
    for file in files:
        if file.is_dir():
            raise PcclipError(f"{file}: is a folder. Name a file in it.")
    folders = [Path(run) for run in runs]
    sweeps = [folder for folder in folders if (folder / _SWEEP).is_file()]
    rest = [run for run, folder in zip(runs, folders, strict=True) if folder not in sweeps]
    sections = [section for folder in sweeps if (section := _of_sweep(folder)) is not None]
    names = [folder.resolve().name for folder in sweeps]
    if rest:
        from pcclip.report.runs import sections_of_runs

        with progress_bar() as bar:
            found = sections_of_runs(rest, suite, stage, bar)
        sections = [*found.first, *sections, *found.rest]
        names = [*found.names, *names]
    if not sections:
        raise PcclipError(f"{', '.join(runs)}: nothing has ended yet that a report could tell of.")
    heading = f"Report: {', '.join(names)}"
    split = " on the test split" if suite == FIT else ""
    measured = f" Evaluations: {suite}, {stage} weights{split}." if rest else ""
    about = f"pcclip {__version__}, {datetime.date.today().isoformat()}.{measured}"
    _write(Path(out), page(heading, about, sections))
    if markdown_file is not None:
        _write(Path(markdown_file), markdown(heading, about, sections).encode())
    if csv_file is not None:
        _write_tables(Path(csv_file), sections)


def parser() -> ArgumentParser:
    """The verb's command line."""
    from pcclip.parsing import Parser

    made = Parser(prog="pcclip report", description="One page on runs: what improved, what it cost, and why.")
    add = made.add_argument
    add("runs", nargs="+", help="run, experiment (newest run of each seed), model result or sweep folders; "
        "one column per experiment")  # fmt: skip
    add("--out", default="report.html", metavar="FILE.html", help="the page (default: report.html)")
    add("--markdown", metavar="FILE.md", help="write verdict and tables there as Markdown")
    add("--csv", metavar="FILE.csv", help="write the results there, other tables beside it")
    add("--suite", default=FIT, help="by which evaluations (default: fit, those of the fits themselves)")
    add("--stage", choices=("tuned", "interpolated"), default="tuned", help="which weights")
    return made


def run(arguments: list[str]) -> None:
    """The verb."""
    words = parser().parse_args(arguments)
    report(words.runs, words.out, words.markdown, words.csv, words.suite, words.stage)


def _of_sweep(folder: Path) -> Section | None:
    from pcclip.sweep.report import sweep_section

    return sweep_section(folder)


def _write_tables(file: Path, sections: Sequence[Section]) -> None:
    named = [section for section in sections if section.csv]
    for number, section in enumerate(named):
        beside = file.with_name(f"{file.stem}-{file_name(section.title)}{file.suffix}")
        _write(beside if number else file, section.csv.encode())


def _write(file: Path, data: bytes) -> None:
    write_named(file, data)
    print(file)
