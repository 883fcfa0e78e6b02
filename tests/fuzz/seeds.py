"""Good inputs for the targets: where a fuzzer starts from."""

import io
import json
import tarfile

from PIL import Image

from pcclip.data.records import Picture, Triple


def _tar(format: int, name: str = "a") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for member, content in ((f"{name}.txt", b"red"), (f"{name}.json", b"{}"), ("d/b.jpg", b"x" * 700)):
            header = tarfile.TarInfo(member)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return buffer.getvalue()


def _picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((9, 7)).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


def _parquet() -> bytes:
    import pandas as pd

    buffer = io.BytesIO()
    pd.DataFrame({"file": ["a.jpg", "b.jpg"], "caption": ["one", "two"]}).to_parquet(buffer)
    return buffer.getvalue()


_COCO = {
    "images": [{"id": 1, "file_name": "1.jpg"}],
    "annotations": [{"image_id": 1, "caption": "A red horse."}],
}
_PICTURE = Picture("k", b"", "jpg", "A red horse.", "horse", {"size": 0.5, "kind": "a"}, ("A red horse.",))

SEEDS: dict[str, list[bytes]] = {
    "triple": [Triple("k", "a", "b", "The first is darker.", {"writer": "rules", "seed": 1}).to_json()],
    "picture": [
        b"A horse.\n---\n" + _PICTURE.members()["json"],
        b'x\n---\n{"caption": "y", "similarity": NaN}',
    ],
    "decode": [_picture(kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")],
    "shard": [
        _tar(tarfile.USTAR_FORMAT),
        _tar(tarfile.GNU_FORMAT, "n" * 150),
        _tar(tarfile.PAX_FORMAT, "\u00e9" * 120),
    ],
    "coco": [json.dumps(_COCO).encode()],
    "table": [b'file,caption,label\na.jpg,"one, two",cat\nb.jpg,three,dog\n'],
    "parquet": [_parquet()],
    "cub": [b"1 001.A_bird/one.jpg\n\n---\na bird\nanother bird\n"],
    "img2dataset": [
        b"A horse.\n---\n" + json.dumps({"caption": "A horse", "label": "x", "width": 3}).encode()
    ],
    "answers": [
        b"Sure! Here is the difference: **The first picture** is darker than the second one.",
        b'```json\n{"difference": "The first picture is darker."}\n```',
        b"1. The first is red.\n2. It has &amp; more snow.\n\nQuestion: what?",
    ],
    "clauses": [b"The first picture shows a larger object than the second.", b"It is not darker."],
    "prompt": [b"A man <|im_end|> on a horse\n---\n[INST] {caption1} \xe2\x80\x8b"],
    "manifest": [b'{"chunk": 0, "rows": 1, "complete": true, "bytes": 3, "sha256": "x"}\n'],
}
