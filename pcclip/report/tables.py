"""A table in the three forms in which a report is written."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["", "gain", "loss"]

_FEW = 3
"""Columns that have room on a telephone; rows of more become cards there."""


@dataclass(frozen=True)
class Cell:
    """What stands in a cell.

    Attributes:
        text: First line. A gain or a loss says by a sign or a word that it is one: not all see colours.
        kind: Of what the cell tells; it is set in bold, and coloured.
        more: Lines below, in small print.
    """

    text: str
    kind: Kind = ""
    more: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table with a heading for each column and each row.

    Attributes:
        caption: What it shows.
        head: Names of the columns, that of the rows' names first.
        groups: Rows under a common name, which may be "": each a cell per column, a string for plain ones.
        numbers: Whether the columns but the first hold numbers, and stand to the right.
    """

    caption: str
    head: tuple[str, ...]
    groups: tuple[tuple[str, tuple[tuple[Cell | str, ...], ...]], ...]
    numbers: bool = True

    @property
    def rows(self) -> list[tuple[Cell | str, ...]]:
        """The rows of all groups."""
        return [row for _, rows in self.groups for row in rows]

    def html(self) -> str:
        """The table as a report's page takes it."""
        head = "".join(f'<th scope="col">{escaped(name)}</th>' for name in self.head)
        body = "".join(self._html_group(name, rows) for name, rows in self.groups if rows)
        kind = ("numbers few" if len(self.head) <= _FEW else "numbers") if self.numbers else "words"
        return (
            f'<div class="wide" tabindex="0" role="region" aria-label="{escaped(self.caption)}">'
            f'<table class="{kind}"><caption>{escaped(self.caption)}</caption>'
            f"<thead><tr>{head}</tr></thead>{body}</table></div>\n"
        )

    def _html_group(self, name: str, rows: Sequence[Sequence[Cell | str]]) -> str:
        columns = len(self.head)
        title = f'<tr><th colspan="{columns}" scope="rowgroup">{escaped(name)}</th></tr>\n' if name else ""
        lines = [
            f'<tr><th scope="row">{_html_cell(row[0])}</th>'
            + "".join(
                f'<td data-label="{escaped(name)}">{_html_cell(cell)}</td>'
                for name, cell in zip(self.head[1:], row[1:], strict=True)
            )
            + "</tr>"
            for row in rows
        ]
        return f"<tbody>{title}" + "\n".join(lines) + "</tbody>\n"

    def markdown(self) -> str:
        """The table in Markdown."""
        lines = [f"**{plain(self.caption)}**", "", _line(self.head), "|---" * len(self.head) + "|"]
        for name, rows in self.groups:
            if name and rows:
                lines.append(_line([f"*{plain(name)}*", *[""] * (len(self.head) - 1)], raw=True))
            lines += [_line([_markdown_cell(cell) for cell in row], raw=True) for row in rows]
        return "\n".join(lines) + "\n"


def csv_of(records: Sequence[Mapping[str, object]]) -> str:
    """Records as CSV: numbers as such, whatever a page shows; empty where one has none of a column or NaN."""
    stream = io.StringIO()
    names = list(dict.fromkeys(name for record in records for name in record))
    writer = csv.DictWriter(stream, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: "" if one != one else one for name, one in record.items()} for record in records)
    return stream.getvalue()


def escaped(text: object) -> str:
    """Any text as HTML: whatever it holds, it is shown and does nothing."""
    return html.escape(printable(str(text)))


def plain(text: object) -> str:
    """Any text as Markdown on one line: no mark up, no link, no HTML."""
    line = " ".join(printable(str(text)).split())
    return re.sub(r"([\\`*<|]|(?<=\])\()", r"\\\1", line)


def printable(text: str) -> str:
    """A text that can be written as UTF-8: what is no character is replaced, tabs and line ends stay."""
    return "".join(
        letter if letter.isprintable() or letter in "\n\t" else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


def bullets(lines: Sequence[str]) -> tuple[str, str]:
    """Lines of plain text as a list, in HTML and in Markdown."""
    if not lines:
        return "", ""
    inner = "".join(f"<li>{escaped(line)}</li>\n" for line in lines)
    return f"<ul>\n{inner}</ul>\n", "".join(f"- {plain(line)}\n" for line in lines)


def folded(summary: str, inner: str) -> str:
    """HTML that opens by a click on its summary, a plain text."""
    return f"<details><summary>{escaped(summary)}</summary>\n{inner}</details>\n"


def _html_cell(cell: Cell | str) -> str:
    if isinstance(cell, str):
        return escaped(cell)
    text = f'<b class="{cell.kind}">{escaped(cell.text)}</b>' if cell.kind else escaped(cell.text)
    return text + "".join(f"<small>{escaped(line)}</small>" for line in cell.more if line)


def _markdown_cell(cell: Cell | str) -> str:
    if isinstance(cell, str):
        return plain(cell)
    text = f"**{plain(cell.text)}**" if cell.kind == "loss" else plain(cell.text)
    return "<br>".join([text, *(plain(line) for line in cell.more if line)])


def _line(cells: Sequence[str], raw: bool = False) -> str:
    return f"| {' | '.join(cells if raw else map(plain, cells))} |"
