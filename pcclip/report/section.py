"""A piece of a report, as each part of the package gives its own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """One section of a report, in the three forms in which it is written.

    Attributes:
        title: Plain text of its heading, which the report itself writes (as h2) and escapes; unique.
        html: What stands under the heading. No scripts, no style attributes, nothing fetched: pictures are
            `data:` addresses or inline SVG, everything that a user named is escaped (`html.escape`). Headings
            inside begin at h3. A table stands in `<div class="wide">` (it scrolls sideways by itself on a
            phone), has a caption and `th scope`; a picture has `alt`, an SVG `role="img"` and `aria-label`.
            `<p class="note">` is small print; `<b class="gain">` and `<b class="loss">` mark numbers, beside
            a sign or a word that says the same. `tables.Table` writes such tables.
        markdown: The same for Markdown, without the heading (headings inside begin at ###); "" for nothing.
        csv: The section's table with its header line; "" for none. It becomes a file of its own beside that
            of `--csv FILE.csv`: `FILE-TITLE.csv`.
    """

    title: str
    html: str
    markdown: str = ""
    csv: str = ""
