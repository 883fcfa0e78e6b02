"""What a sweep found, as files beside it and as a section of `pcclip report`."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

from pcclip.data.files import write_atomically
from pcclip.report.section import Section
from pcclip.sweep.choosing import Found, found
from pcclip.sweep.lines import LOSS, Line, columns, csv_text, importances, notes, table
from pcclip.sweep.plot import draw

PLOT = "pareto.png"
MARKDOWN = "sweep.md"
TABLE = "trials.csv"


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
    return Section(
        f"Sweep {sweep.folder.name}: {len(sweep.complete)} trials",
        _html(sweep, picture),
        _markdown(sweep),
        csv_text(sweep),
    )


def _markdown(sweep: Found) -> str:
    heads = columns(sweep)
    out = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for line in table(sweep):
        cells = [cell.replace("|", "\\|") for cell in line.cells]
        if "chosen" in line.marks:
            cells = [f"**{cell}**" if cell else "" for cell in cells]
        out.append(f"| {' | '.join(cells)} |")
    return "\n".join([*out, "", *(f"- {note}" for note in _all_notes(sweep))]) + "\n"


def _html(sweep: Found, picture: bytes) -> str:
    heads = "".join(f'<th scope="col">{escape(head)}</th>' for head in columns(sweep))
    rows = "".join(_row(line) for line in table(sweep))
    said = "".join(f'<p class="note">{escape(note)}</p>' for note in _all_notes(sweep))
    address = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    what = "Each trial's gain against its cost, with 95 % intervals; the chosen trial is a star"
    return (
        f'<div class="wide"><table><caption>Trials by their gain on validation data</caption><thead>'
        f"<tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>{said}"
        f'<p><img src="{address}" alt="{what}"></p>'
    )


def _row(line: Line) -> str:
    number, *others = map(escape, line.cells)
    cells = "".join(f"<td>{_emphasised(cell, 'chosen' in line.marks)}</td>" for cell in others)
    return f'<tr><th scope="row">{number}</th>{cells}</tr>'


def _emphasised(cell: str, chosen: bool) -> str:
    if cell.startswith(LOSS):
        return f'<b class="loss">{cell}</b>'
    return f"<b>{cell}</b>" if chosen else cell


def _all_notes(sweep: Found) -> list[str]:
    return [*notes(sweep), *([shares] if (shares := importances(sweep)) else [])]
