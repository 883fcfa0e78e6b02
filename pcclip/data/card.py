"""CARD.md: what a prepared data set is, in words and samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pcclip.data.files import write_atomically
from pcclip.data.records import Picture, Triple
from pcclip.data.sets import ShardSet
from pcclip.data.shards import ShardIndex, resolve_shards
from pcclip.data.sources.base import CaptionedPictures, DescribedPictures
from pcclip.generation.compositions import CATEGORY_COMPOSED, DEGREE_COMPOSED
from pcclip.generation.questions import questions
from pcclip.generation.vocabulary import Attribute, Degree
from pcclip.generation.wordings import CATEGORY_TRAINING, DEGREE_TRAINING

_SAMPLES = 12
_LONG = 300


def write_card(
    folder: Path, source: CaptionedPictures, attributes: Sequence[Attribute], parts: Sequence[str]
) -> None:
    """Writes CARD.md from the finished parts of a data set.

    Args:
        folder: With pictures/ and perhaps triples/ in it.
        source: Where the pictures came from.
        attributes: What differences speak of, margins in units of the values.
        parts: The sets in the folder.
    """
    lines = [
        f"# {source.name}",
        "",
        f"Made by `pcclip prepare`; the recipe is in `recipe.json`. {source.licence}.",
        "",
        "| part | records | payload | rejected pairs |",
        "|---|---|---|---|",
    ]
    for part in parts:
        made = ShardSet.load(folder / part)
        rejected = made.card.get("rejected")
        told = "" if rejected is None else ", ".join(f"{n} {why}" for why, n in rejected.items()) or "none"
        lines.append(f"| {part} | {made.records} | {made.payload or ''} | {told} |")
    if skipped := ShardSet.load(folder / parts[0]).card.get("skipped"):
        lines += [
            "",
            "Left out of the source: " + "; ".join(f"{why}: {n}" for why, n in skipped.items()) + ".",
        ]
    triples = [part for part in parts if part.startswith("triples/")]
    if triples and isinstance(source, DescribedPictures):
        lines += _about_differences(attributes, len(source.references()))
    lines += ["", "## Samples", "", *_picture_samples(folder / parts[0])]
    if triples:
        lines += ["", *_triple_samples(folder / triples[0])]
    write_atomically(folder / "CARD.md", ("\n".join(lines) + "\n").encode())


def _about_differences(attributes: Sequence[Attribute], references: int) -> Iterator[str]:
    yield from ("", "## What differs", "")
    yield from ("| attribute | kind | talked about where it differs by |", "|---|---|---|")
    for attribute in attributes:
        if isinstance(attribute, Degree):
            yield f"| {attribute.name} | degree | {attribute.margin:g} |"
        else:
            yield f"| {attribute.name} | one of {len(attribute.values)} | any |"
    degrees = len(DEGREE_TRAINING) + len(DEGREE_COMPOSED)
    kinds = len(CATEGORY_TRAINING) + len(CATEGORY_COMPOSED)
    yield from (
        "",
        f"Differences are written by rules: {degrees} frames for degrees, {kinds} for kinds, "
        f"{references} ways to call the two pictures, either of them as the subject. These "
        "wordings are kept for evaluation, some for the validation pictures and others for the test "
        "pictures, and occur in no difference (`-1` and `-2`: which picture is the subject):",
        "",
    )
    told_kinds: set[str] = set()
    for question in questions(attributes):
        if question["kind"] not in told_kinds:
            told_kinds.add(question["kind"])
            for wording in question["wordings"]:
                if wording["held_out"]:
                    yield f"- {wording['split']} `{wording['id']}`: {wording['text']}"


def _picture_samples(folder: Path) -> Iterator[str]:
    index = ShardIndex.load(resolve_shards(str(folder))[0])
    for at in range(min(_SAMPLES, len(index))):
        picture = Picture.parse(index.keys[at], index.read_record(at), index.path)
        kind = "" if picture.class_name is None else f" ({_line(picture.class_name)})"
        yield f"- {picture.key}{kind}: {' / '.join(map(_line, picture.captions))}"


def _triple_samples(folder: Path) -> Iterator[str]:
    index = ShardIndex.load(resolve_shards(str(folder))[0])
    for at in range(min(_SAMPLES, len(index))):
        triple = Triple.parse(index.keys[at], index.read(at, "json"), index.path)
        yield f"- {triple.image1} against {triple.image2}: {_line(triple.difference)}"


def _line(text: str) -> str:
    """A text on one line and not too long, whatever it holds."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= _LONG else text[: _LONG - 3] + "..."
