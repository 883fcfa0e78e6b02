"""`pcclip judge --people`: a page and a CSV by which people rate a sample of written texts."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

from PIL import Image

from pcclip.data.decoding import upright
from pcclip.data.files import write_atomically
from pcclip.data.records import ShardError, decode_picture
from pcclip.errors import PcclipError
from pcclip.generation.judging.criteria import CRITERIA, NAMES
from pcclip.generation.judging.files import SHEET, csv_bytes, safe_cell, visible
from pcclip.generation.judging.texts import TextSample, WrittenText
from pcclip.generation.rows import HasBytes

PAGE, TABLE = "rate.html", "rate.csv"
_FILES = Path(__file__).with_name("page")
_SIDE, _QUALITY = 480, 80


def make_page(people: str, out: str, pictures: str | None = None, count: int = 100, seed: int = 0) -> None:
    """Write a page and a CSV with which people rate texts; needs no model and no network.

    Raters see pictures, captions and texts, never a model's ratings. A sample is part of every larger one of
    the same seed, so that a judge who rates more texts with that seed rates these too.

    Args:
        people: The written set whose texts are rated: the `out` of `pcclip write`, or its shards.
        out: Folder for rate.html and rate.csv.
        pictures: The picture set that the texts' pairs are of; not needed for sets that carry their pictures.
        count: How many texts.
        seed: Decides which.

    Raises:
        PcclipError: The set cannot be read, or `out` holds another rate.csv, which someone may have filled.
    """
    texts = TextSample(people, pictures, count, seed).texts()
    rows = [_row(number, text) for number, text in enumerate(texts, 1)]
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    table = csv_bytes(SHEET, rows)
    if (folder / TABLE).exists() and (folder / TABLE).read_bytes() != table:
        raise PcclipError(
            f"{folder / TABLE}: is there already and is not what would be written: other texts, or ratings "
            "that someone entered. Give another --out, or rename the file."
        )
    page, missing = render_page(texts, rows)
    write_atomically(folder / TABLE, table)
    write_atomically(folder / PAGE, page.encode("utf-8", "replace"))
    told = f", {missing} of {2 * len(texts)} pictures missing" if missing else ""
    print(
        f"{folder / PAGE}, {folder / TABLE}: {len(texts)} texts{told}. Compare filled tables with: "
        "pcclip judge --import FILE.csv ... --ratings JUDGE_FOLDER"
    )


def render_page(texts: Sequence[WrittenText], rows: Sequence[Mapping[str, str]]) -> tuple[str, int]:
    """The page, and how many pictures it lacks."""
    cards, missing = [], 0
    for text, row in zip(texts, rows, strict=True):
        card, lacking = _card(text, row["number"])
        cards.append(card)
        missing += lacking
    identity = hashlib.sha256("".join(row["id"] for row in rows).encode()).hexdigest()[:12]
    sheet = {"page": identity, "columns": SHEET, "criteria": NAMES, "rows": rows}
    style, script = ((_FILES / name).read_text(encoding="utf-8") for name in ("rate.css", "rate.js"))
    policy = f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}"
    filled = Template((_FILES / PAGE).read_text(encoding="utf-8")).substitute(
        policy=policy,
        style=style,
        script=script,
        count=len(texts),
        cards="\n".join(cards),
        # Within a script element only "<" could end it, and JSON may write it so.
        sheet=json.dumps(sheet, ensure_ascii=True).replace("<", "\\u003c"),
    )
    return filled, missing


def _row(number: int, text: WrittenText) -> dict[str, str]:
    triple = text.triple
    return {
        "number": str(number),
        "id": text.id,
        "key": safe_cell(triple.key),
        "image1": safe_cell(triple.image1),
        "image2": safe_cell(triple.image2),
        "text": safe_cell(triple.difference),
    }


def _card(text: WrittenText, number: str) -> tuple[str, int]:
    triple = text.triple
    one, lacks_one = _figure("First", triple.image1, text.picture1, text.captions1)
    two, lacks_two = _figure("Second", triple.image2, text.picture2, text.captions2)
    questions = "\n".join(_question(at, number) for at in range(len(CRITERIA)))
    card = f"""<article data-id="{text.id}" hidden>
<div class="pair">{one}{two}</div>
<blockquote dir="auto">{_escape(triple.difference)}</blockquote>
{questions}
<div class="words">
<label>Objects that are in neither picture, with ; between them
<input data-column="objects" autocomplete="off" maxlength="300"></label>
<label>Note <input data-column="note" autocomplete="off" maxlength="500"></label>
</div>
<nav><button type="button" data-go="-1">← Back</button><button type="button" data-go="1">Next →</button></nav>
</article>"""
    return card, lacks_one + lacks_two


def _question(at: int, number: str) -> str:
    criterion = CRITERIA[at]
    options = "".join(
        f"<label>{f'<kbd>{key}</kbd>' if value != str(key) else ''}"
        f'<input type="radio" name="{criterion.name}-{number}" value="{value}" '
        f'data-criterion="{criterion.name}">{value} <small>{_escape(words)}</small></label>'
        for key, (value, words) in enumerate(zip(criterion.values, criterion.words, strict=True), 1)
    )
    legend = f"<legend>{_escape(criterion.question)}</legend>"
    return f'<fieldset>{legend}<div class="options">{options}</div></fieldset>'


def _figure(place: str, key: str, picture: HasBytes | None, captions: Sequence[str]) -> tuple[str, bool]:
    """A picture with its captions, and whether the picture is missing."""
    url = problem = None
    if picture is None:
        problem = "is not in the picture set"
    else:
        try:
            url = _thumbnail(picture.read_bytes(), key)
        except (ShardError, OSError):
            problem = "cannot be decoded"
    shown = (
        f'<img src="{url}" alt="{place} picture" loading="lazy">'
        if url
        else f'<span class="missing">picture {_escape(key)} {problem}</span>'
    )
    told = "".join(f'<li dir="auto">{_escape(caption)}</li>' for caption in captions if caption.strip())
    opened = "" if url else " open"
    noted = f'<details class="captions"{opened}><summary>captions</summary><ul>{told}</ul></details>'
    title = f"<h3><b>{place}</b> picture</h3>"
    return f'<figure>{title}<div class="shown">{shown}</div>{noted if told else ""}</figure>', url is None


def _thumbnail(data: bytes, key: str) -> str:
    picture = upright(decode_picture(data, key, "picture set"))
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _escape(text: str) -> str:
    return html.escape(" ".join(visible(text).split()))
