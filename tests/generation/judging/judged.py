"""Written sets with known faults, a server that rates them by rules, and recipes of judges."""

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from jobs import PROMPTS, server
from parrot import Misbehaviour, Parrot, completion
from PIL import Image

from pcclip.data.records import Picture, Triple
from pcclip.data.shards import ShardSetWriter

PLACES = re.compile(r"Captions of the (\w+) picture:\n(.*?)\n(?=Captions of|Text to check)", re.DOTALL)
TEXT = re.compile(r"Text to check[^\n]*:\n(.*)", re.DOTALL)


Start = Callable[[Misbehaviour | None], Parrot]


def number(row: dict[str, str]) -> int:
    """The number of the text that a CSV's row is about."""
    return int(row["key"].removeprefix("t-"))


def truth(number: int) -> dict[str, str]:
    """What is true of the text of a number."""
    candle, turned = number % 7 == 3, number % 5 == 2
    return {
        "follows": "no" if candle or turned else "yes",
        "direction": "reversed" if turned else "right",
        "specific": str(1 + number % 5),
        "hallucinated": "yes" if candle else "no",
    }


def triple(number: int) -> Triple:
    """A text about a red and a blue thing, with the faults that `truth` tells."""
    facts = truth(number)
    one, two = f"red thing {number}", f"blue thing {number}"
    if facts["direction"] == "reversed":
        one, two = two, one
    text = f"The first picture has a {one}, the second a {two}" + ", plainly" * int(facts["specific"])
    text += ", and a candle." if facts["hallucinated"] == "yes" else "."
    captions = [f"a red thing {number}", f"a blue thing {number}"]
    return Triple(
        f"t-{number:04d}",
        f"p{number % 20:03d}",
        f"p{number % 20 + 1:03d}",
        text,
        {"writer": "x", "captions": captions},
    )


def write_set(folder: Path, triples: list[Triple], pixels: bool = False) -> Path:
    with ShardSetWriter(folder, "triples", 64, {"licence": "CC0"}) as shards:
        for one in triples:
            images = (jpeg(one.image1), jpeg(one.image2)) if pixels else ()
            shards.write_triple(one, *images)
    return folder


def write_pictures(folder: Path, keys: list[str], captions: tuple[str, ...] = ()) -> Path:
    with ShardSetWriter(folder, "pictures", 64) as shards:
        for key in keys:
            shards.write_picture(Picture(key, jpeg(key), captions=captions))
    return folder


def jpeg(key: str) -> bytes:
    buffer = io.BytesIO()
    shade = sum(key.encode(errors="replace")) % 256
    Image.new("RGB", (64, 48), (shade, 90, 255 - shade)).save(buffer, "JPEG")
    return buffer.getvalue()


def rate(body: dict[str, Any]) -> dict[str, Any]:
    """Rates a text by its captions alone, whichever picture's come first."""
    question = body["messages"][-1]["content"]
    captions = {name: text.removeprefix("- a ") for name, text in PLACES.findall(question)}
    (text,) = TEXT.findall(question)
    right = f"first picture has a {captions['first']}," in text
    candle = "candle" in text
    return {
        "reason": "by the captions",
        "objects": ["candle"] if candle else [],
        "follows": "yes" if right and not candle else "no",
        "direction": "right" if right else "reversed",
        "specific": text.count("plainly"),
        "hallucinated": "yes" if candle else "no",
    }


def rules(body: dict[str, Any], _: int) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, completion(json.dumps(rate(body)))


def judge_recipe(folder: Path, path: Path, *urls: str, **more: Any) -> Path:
    settings = {
        "texts": {"path": str(path), "count": more.pop("count", 60), "seed": 1},
        "writers": [server(url) for url in urls],
        "prompt": str(PROMPTS / "judge_captions.yaml"),
        "out": str(folder / "judged"),
        "chunk_rows": 10,
        "progress": False,
    } | more
    file = folder / "judge.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


def read(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"), newline="")))
