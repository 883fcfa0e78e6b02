"""CARD.md: what a prepared data set is, in words and samples."""

from __future__ import annotations

from pathlib import Path

from pcclip.data.files import write_atomically
from pcclip.data.records import Picture, Triple
from pcclip.data.sets import ShardSet
from pcclip.data.shards import ShardIndex, resolve_shards
from pcclip.data.sources.base import SPLITS, Source
from pcclip.generation.compositions import CATEGORY_COMPOSED, DEGREE_COMPOSED
from pcclip.generation.questions import questions
from pcclip.generation.vocabulary import Attribute, Degree
from pcclip.generation.wordings import CATEGORY_TRAINING, DEGREE_TRAINING

_SAMPLES = 12


def write_card(folder: Path, source: Source, attributes: tuple[Attribute, ...]) -> None:
    """Writes CARD.md from the finished parts of a data set.

    Args:
        folder: With pictures/ and triples/ in it.
        source: Where the pictures came from.
        attributes: What differences speak of, margins in units of the values.
    """
    lines = [
        f"# {source.name}",
        "",
        f"Made by `pcclip prepare`; the recipe is in `recipe.json`. {source.licence}.",
    ]
    lines += ["", "| part | records | payload | rejected pairs |", "|---|---|---|---|"]
    for part in [f"pictures/{split}" for split in SPLITS] + ["triples/train", "triples/validation"]:
        made = ShardSet.load(folder / part)
        rejected = made.card.get("rejected")
        told = "" if rejected is None else ", ".join(f"{n} {why}" for why, n in rejected.items()) or "none"
        lines.append(f"| {part} | {made.records} | {made.payload or ''} | {told} |")
    lines += [
        "",
        "## What differs",
        "",
        "| attribute | kind | talked about where it differs by |",
        "|---|---|---|",
    ]
    for attribute in attributes:
        if isinstance(attribute, Degree):
            lines.append(f"| {attribute.name} | degree | {attribute.margin:g} |")
        else:
            lines.append(f"| {attribute.name} | one of {len(attribute.values)} | any |")
    degrees = len(DEGREE_TRAINING) + len(DEGREE_COMPOSED)
    kinds = len(CATEGORY_TRAINING) + len(CATEGORY_COMPOSED)
    lines += [
        "",
        f"Differences are written by rules: {degrees} frames for degrees, {kinds} for kinds, "
        f"{len(source.references())} ways to call the two pictures, either of them as the subject. These "
        "wordings are kept for evaluation, some for the validation pictures and others for the test "
        "pictures, and occur in no difference (`-1` and `-2`: which picture is the subject):",
        "",
    ]
    asked = questions(attributes)
    told_kinds: set[str] = set()
    for question in asked:
        if question["kind"] not in told_kinds:
            told_kinds.add(question["kind"])
            lines += [
                f"- {w['split']} `{w['id']}`: {w['text']}" for w in question["wordings"] if w["held_out"]
            ]
    lines += ["", "## Samples", ""]
    index = ShardIndex.load(resolve_shards(str(folder / "pictures" / "train"))[0])
    for at in range(min(_SAMPLES, len(index))):
        picture = Picture.parse(index.keys[at], index.read_record(at), index.path)
        lines.append(f"- {picture.key} ({picture.class_name}): {' / '.join(picture.captions)}")
    lines.append("")
    index = ShardIndex.load(resolve_shards(str(folder / "triples" / "train"))[0])
    for at in range(min(_SAMPLES, len(index))):
        triple = Triple.parse(index.keys[at], index.read(at, "json"), index.path)
        lines.append(f"- {triple.image1} against {triple.image2}: {triple.difference}")
    write_atomically(folder / "CARD.md", ("\n".join(lines) + "\n").encode())
