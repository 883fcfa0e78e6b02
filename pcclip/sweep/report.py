"""What a sweep found, as files beside it and as a section of `pcclip report`."""

from __future__ import annotations

import base64
from pathlib import Path

from pcclip.data.files import write_atomically
from pcclip.report.section import Section
from pcclip.report.tables import Table, bullets
from pcclip.sweep.choosing import Found, found
from pcclip.sweep.lines import columns, csv_text, importances, notes, table
from pcclip.sweep.plot import draw

PLOT = "pareto.png"
MARKDOWN = "sweep.md"
TABLE = "trials.csv"
_ALT = "Each trial's gain against its cost, with 95 % intervals; the chosen trial is a star"


def sweep_section(folder: Path) -> Section | None:
    """A sweep's table, choice and Pareto plot.

    Args:
        folder: Of the sweep, RUNS/NAME.

    Returns:
        None where the folder is no sweep, or no trial has ended.

    Raises:
        PcclipError: Its storage, or results of a trial, cannot be read.
    """
    sweep = found(folder)
    return None if sweep is None or not sweep.trials else section(sweep, draw(sweep))


def write_report(sweep: Found) -> None:
    """Writes `SWEEP/trials.csv`, `sweep.md` and `pareto.png`, each whole."""
    picture = draw(sweep)
    whole = section(sweep, picture)
    text = f"# {whole.title}\n\n{whole.markdown}\n![Pareto plot]({PLOT})\n"
    write_atomically(sweep.folder / TABLE, whole.csv.encode())
    write_atomically(sweep.folder / MARKDOWN, text.encode())
    write_atomically(sweep.folder / PLOT, picture)


def section(sweep: Found, picture: bytes) -> Section:
    """The section of what was read.

    Args:
        sweep: What was found.
        picture: Its Pareto plot as PNG.
    """
    rows = tuple(line.cells for line in table(sweep))
    trials = Table("Trials by their gain on validation data", tuple(columns(sweep)), (("", rows),))
    said = [*notes(sweep), *([shares] if (shares := importances(sweep)) else [])]
    address = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    said_html, said_markdown = bullets(said)
    return Section(
        f"Sweep {sweep.folder.name}: {len(sweep.complete)} trials",
        f'{trials.html()}{said_html}<figure class="chart"><img src="{address}" alt="{_ALT}"></figure>\n',
        f"{trials.markdown()}\n{said_markdown}",
        csv_text(sweep),
    )
