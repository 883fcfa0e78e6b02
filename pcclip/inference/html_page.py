"""Orders of pictures as one static page: thumbnails inside, no script, nothing fetched."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
from collections.abc import Sequence
from pathlib import Path
from string import Template

from PIL import Image

from pcclip.data.decoding import upright
from pcclip.errors import PcclipError
from pcclip.inference.pictures import read_file
from pcclip.inference.results import Ordered, shown, write_file

_FILES = Path(__file__).parent / "page"
_SIDE = 256  # pixels of a thumbnail's longer side: two per CSS pixel of a phone's column
_SMALL = 96  # pixels below which a picture is shown by its pixels rather than blurred


def write_page(
    file: Path, orders: Sequence[Ordered], heading: str, about: str, top: int, start: Path | None = None
) -> None:
    """Writes the page; orders stand side by side.

    Args:
        file: Of the page.
        orders: One per model.
        heading: What was asked.
        about: A line of text under it.
        top: Pictures of each order.
        start: A picture to be shown above: that of a search.

    Raises:
        PcclipError: The file cannot be written.
    """
    style = Template(_read("order.css")).substitute(count=len(orders))
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    first = "" if start is None else _figure(start, _name(start.name))
    page = Template(_read("order.html")).substitute(
        policy=f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'",
        style=style,
        heading=html.escape(heading),
        about=html.escape(about),
        start=first,
        columns="\n".join(_column(order, top, titled=len(orders) > 1) for order in orders),
    )
    write_file(file, page.encode())


def thumbnail(file: Path, side: int = _SIDE) -> tuple[bytes, tuple[int, int]]:
    """A picture as a JPEG of at most `side` pixels, upright, and the size of the original.

    Raises:
        PcclipError: The picture cannot be read.
    """
    picture = upright(read_file(file))
    size = picture.size
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    fine = {"quality": 95, "subsampling": 0} if max(size) <= _SMALL else {"quality": 82}
    picture.save(buffer, "JPEG", optimize=True, **fine)
    return buffer.getvalue(), size


def _column(order: Ordered, top: int, titled: bool) -> str:
    items = []
    for rank, one in enumerate(order.placed[:top], start=1):
        caption = f"<span>{one.score:.3f}</span><b>{rank}</b> {_name(str(one.picture))}"
        items.append(f"<li>{_figure(order.gallery.path(one.number), caption)}</li>")
    heading = f"<h2>{html.escape(order.title)}</h2>\n" if titled else ""
    note = f"<p>This model {html.escape(order.note)}</p>\n" if order.note else ""
    return f"<section><div>{heading}{note}</div><ol>\n" + "\n".join(items) + "\n</ol></section>"


def _name(name: str) -> str:
    """A file's name, to be broken at its marks, over that of its folder; the whole where one points at it."""
    folder, slash, last = shown(name).rpartition("/")
    broken = re.sub(r"([-_.])", r"\1<wbr>", html.escape(last))
    below = f"<small>{html.escape(folder + slash)}</small>" if folder else ""
    return f'<i title="{html.escape(shown(name))}">{broken}</i>{below}'


def _figure(file: Path, caption: str) -> str:
    try:
        data, size = thumbnail(file)
    except PcclipError:  # gone since it was embedded
        return f'<figure><div class="gone">cannot be read</div><figcaption>{caption}</figcaption></figure>'
    small = ' class="small"' if max(size) <= _SMALL else ""
    source = base64.b64encode(data).decode()
    image = f'<img{small} alt="" src="data:image/jpeg;base64,{source}">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def _read(name: str) -> str:
    return (_FILES / name).read_text(encoding="utf-8")
