"""The pages of shipped configurations, from their headers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pcclip.docs.making.text import escaped, page

_INTRO = "What stands at the head of each file; its settings are in the file."


def configs_page(folder: Path, title: str) -> str:
    """The headers of all YAML files of a folder, by the folder that they lie in."""
    body: list[str] = []
    for inner in sorted({file.parent for file in folder.glob("**/*.yaml")}):
        body += [f"## {inner.relative_to(folder.parent).as_posix()}", ""]
        for file in sorted(inner.glob("*.yaml")):
            body += [f"### {file.relative_to(folder.parent).as_posix()}", "", *_paragraphs(_header(file)), ""]
    return page(title, _INTRO, body)


def _header(file: Path) -> list[str]:
    lines = []
    for line in file.read_text().splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").removeprefix(" "))
    return lines


def _paragraphs(lines: list[str]) -> Iterator[str]:
    """Words as words, commands with their continued lines as code."""
    code, previous = False, ""
    for line in lines:
        stripped = line.strip()
        begins = stripped.startswith(("pcclip ", "make ", "aws ", "RUN=", "python -m ", ".venv"))
        here = begins or (code and (line.startswith("  ") or previous.endswith("\\")))
        if here != code:
            yield from ("", "```text") if here else ("```", "")
        code, previous = here, line
        yield escaped(stripped) if not here else stripped if begins else f"  {stripped}"
    if code:
        yield "```"
