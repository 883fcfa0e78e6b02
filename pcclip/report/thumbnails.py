"""The pictures of a report: small enough that all of them together can be mailed."""

from __future__ import annotations

import base64
import io
from functools import cache
from pathlib import Path

from PIL import Image

from pcclip.data.decoding import open_picture
from pcclip.report.tables import escaped

_BY_COUNT = ((160, 160), (450, 128), (1000, 96))
"""Up to so many pictures, so many pixels of the longer side."""
_SMALL = 96  # pixels below which a picture is shown by its pixels rather than blurred


class Thumbnails:
    """Makes `img` elements that carry their picture.

    Args:
        count: How many the report will show, about.
    """

    def __init__(self, count: int) -> None:
        self._side = next((side for most, side in _BY_COUNT if count <= most), 80)
        self._data = cache(self._encode)

    def img(self, file: Path, alt: str) -> str:
        """A picture; a text in its place where the file is gone or damaged."""
        try:
            data, small = self._data(file)
        except Exception:  # Pillow reads with whatever exception comes of it
            return f'<span class="gone">{escaped(alt)}: its thumbnail cannot be read</span>'
        kind = ' class="small"' if small else ""
        return f'<img{kind} alt="{escaped(alt)}" src="{data}">'

    def _encode(self, file: Path) -> tuple[str, bool]:
        data = file.read_bytes()
        with open_picture(data) as picture:
            small, kind = max(picture.size) <= _SMALL, f"image/{(picture.format or 'JPEG').lower()}"
            if max(picture.size) > self._side:
                made = picture.convert("RGB")
                made.thumbnail((self._side, self._side), Image.Resampling.LANCZOS)
                buffer = io.BytesIO()
                made.save(buffer, "JPEG", quality=82, optimize=True)
                data, kind = buffer.getvalue(), "image/jpeg"
        return data_address(data, kind), small


def data_address(data: bytes, kind: str) -> str:
    """Bytes as an address that fetches nothing."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
