"""`pcclip compare`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.text import Text

from pcclip.data.files import write_named
from pcclip.errors import PcclipError
from pcclip.evaluation.comparing.comparison import compare_experiments
from pcclip.evaluation.comparing.experiments import load_experiments
from pcclip.evaluation.comparing.output import csv_text, explanation, markdown, rich_table
from pcclip.evaluation.comparing.rows import choose_rows
from pcclip.evaluation.table import print_summaries

_COLUMN = 30
_LABELS = 60


def compare(
    runs: Sequence[str],
    suite: str | None = None,
    stage: Literal["tuned", "interpolated"] = "tuned",
    metrics: Sequence[str] | None = None,
    markdown_file: str | None = None,
    csv_file: str | None = None,
    plot_file: str | None = None,
    everything: bool = False,
) -> None:
    """Prints one table of all experiments, or, without a suite, one table per experiment.

    Args:
        runs: Run folders, experiment folders (the newest finished run of each seed is taken), or result
            folders of models (OUT/SUITE/LABEL).
        suite: What was evaluated; None prints what the fits themselves have found, from their summaries.
        stage: Which weights.
        metrics: Only metrics that one of these patterns matches.
        markdown_file: File to write the table to as Markdown.
        csv_file: File to write everything to as CSV.
        plot_file: Picture to draw the changes and the interpolation curves in.
        everything: All metrics but those of single wordings.

    Raises:
        PcclipError: Something is missing; the message says what makes it.
    """
    if suite is None:
        if metrics or csv_file or plot_file or stage != "tuned":
            raise PcclipError("--stage, --metrics, --csv and --plot need --suite NAME (`fit` or another)")
        print_summaries(runs, markdown_file, everything)
        return
    experiments = load_experiments(runs, suite, stage)
    names = [
        metric
        for one in experiments
        for measured in one.after.values()
        for results in measured.values()
        for metric in results.values()
    ]
    found = compare_experiments(experiments, choose_rows(names, metrics, everything), suite, stage)
    console = Console()
    if not console.is_terminal:  # files take whole rows
        console = Console(width=_LABELS + _COLUMN * (1 + len(found.experiments)))
    console.print(rich_table(found))
    console.print(Text("\n".join(explanation(found))), soft_wrap=True)  # commands stay whole
    for path, text in ((markdown_file, markdown), (csv_file, csv_text)):
        if path is not None:
            write_named(Path(path), text(found).encode())
    if plot_file is not None:
        from pcclip.evaluation.comparing.plot import plot

        plot(found, Path(plot_file))
