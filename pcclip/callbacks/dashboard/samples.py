"""Texts of the training data, as a table of the Text tab."""

from __future__ import annotations

import html

from pcclip.callbacks.dashboard.sources import CAPTIONS, DIFFERENCES, Records
from pcclip.data.records import Picture, Triple


def difference_samples(records: Records, count: int) -> str:
    """Markdown: how the first picture differs from the second, keys of both, and who wrote it."""
    rows = ["| how the first differs from the second | first | second | writer |", "|---|---|---|---|"]
    for index, record in records.sampled(DIFFERENCES, count):
        triple = Triple.parse(index.key(record), index.read(record, "json"), index.path)
        cells = triple.difference, triple.image1, triple.image2, str(triple.source.get("writer", ""))
        rows.append(_row(*cells))
    return "\n".join(rows)


def caption_samples(records: Records, count: int) -> str:
    """Markdown: captions and the keys of their pictures."""
    rows = ["| caption | picture |", "|---|---|"]
    for index, record in records.sampled(CAPTIONS, count):
        picture = Picture.parse(index.key(record), index.read_record(record), index.path)
        rows.append(_row(next(iter(picture.captions), ""), picture.key))
    return "\n".join(rows)


def _row(*cells: str) -> str:
    plain = (html.escape(" ".join(cell.split()), quote=False).replace("|", "&#124;") for cell in cells)
    return f"| {' | '.join(plain)} |"
