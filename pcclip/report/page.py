"""Sections as one page that fetches nothing, and as Markdown."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from string import Template

from pcclip.report.section import Section
from pcclip.report.tables import escaped, plain

_FILES = Path(__file__).parent / "style"


def page(heading: str, about: str, sections: Sequence[Section]) -> bytes:
    """The page.

    Args:
        heading: Its title.
        about: A line below it.
        sections: In their order.
    """
    style = _read("report.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    marks = [f"s{number}" for number in range(len(sections))]
    links = "".join(
        f'<li><a href="#{mark}">{escaped(one.title)}</a></li>'
        for mark, one in zip(marks, sections, strict=True)
    )
    body = "".join(
        f'<section id="{mark}" class="part">\n<h2>{escaped(one.title)}</h2>\n{one.html}</section>\n'
        for mark, one in zip(marks, sections, strict=True)
    )
    made = Template(_read("report.html")).substitute(
        policy=f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; "
        "form-action 'none'",
        style=style,
        heading=escaped(heading),
        about=escaped(about),
        links=links,
        body=body,
    )
    return made.encode()


def markdown(heading: str, about: str, sections: Sequence[Section]) -> str:
    """The same without pictures."""
    parts = [f"# {plain(heading)}\n", f"{plain(about)}\n"]
    for one in sections:
        if one.markdown:
            parts += [f"## {plain(one.title)}\n", one.markdown.rstrip("\n") + "\n"]
    return "\n".join(parts)


def file_name(title: str) -> str:
    """A section's title as part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _read(name: str) -> str:
    return (_FILES / name).read_text(encoding="utf-8")
