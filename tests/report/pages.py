"""A report's page as a reader's program sees it: its elements, its text, whether it keeps to itself."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "img", "br", "hr", "link", "input", "wbr"}
ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "header", "main", "nav", "section", "div", "span", "p",
    "a", "h1", "h2", "h3", "h4", "ul", "ol", "li", "table", "caption", "thead", "tbody", "tr", "th", "td",
    "b", "small", "details", "summary", "pre", "figure", "figcaption", "img",
}  # fmt: skip


class Page(HTMLParser):
    """The elements in their order as (tag, attributes), and the text outside of the style."""

    def __init__(self, file: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.pieces: list[str] = []
        self.style = ""
        self._open: list[str] = []
        self.source = file.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data):
        if self._open[-1:] == ["style"]:
            self.style += data
        else:
            self.pieces.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.pieces).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def assert_keeps_to_itself(page: Page) -> None:
    """No element that does anything, nothing fetched, and a policy that would forbid both."""
    assert {tag for tag, _ in page.elements} <= ALLOWED
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") or name in ("style", "srcset", "action") for name in attributes)
        if (source := attributes.get("src")) is not None:
            assert re.match(r"data:image/(jpeg|png|svg\+xml);base64,", source)
        if (link := attributes.get("href")) is not None:
            assert link.startswith("#"), tag
    assert "url(" not in page.style
    assert "@import" not in page.style
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith(f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'")
    assert len(page.source.encode()) < 5_000_000


def assert_can_be_read_aloud(page: Page) -> None:
    """Headings one level at a time, texts for pictures, headings in tables, links that lead somewhere."""
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= level + 1 for level, later in itertools.pairwise(levels))
    assert all(picture.get("alt") for picture in page.all("img"))
    assert all(cell.get("scope") in ("col", "row", "rowgroup") for cell in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    marks = {attributes.get("id") for _, attributes in page.elements}
    assert {str(link["href"])[1:] for link in page.all("a")} <= marks
    assert page.all("html")[0]["lang"] == "en"
