"""`pcclip prepare`: from a recipe to pictures, differences and an evaluation, each written once.

OUT/pictures/{train,validation,test}/, OUT/triples/{train,validation}/, OUT/evaluation.json, OUT/recipe.json
and, last, OUT/CARD.md. Every part is whole or absent, so that a run that was stopped goes on at the part that
is missing. A recipe without differences makes the pictures of the splits that its source has, and the
evaluation where the source is a whole world.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pcclip.data.card import write_card
from pcclip.data.progress import progress_bar
from pcclip.data.recipe import SCHEMA, claim, write_json
from pcclip.data.sets import is_finished
from pcclip.data.shards import ShardSetWriter, load_indexes, resolve_shards
from pcclip.data.sources.base import SPLITS, CaptionedPictures, DescribedPictures, Source, Split
from pcclip.data.triples import Differences, Pool, TripleJob
from pcclip.errors import PcclipError
from pcclip.generation.pairs import PairPlan
from pcclip.generation.questions import questions
from pcclip.generation.rules import RuleWriter
from pcclip.generation.vocabulary import Attribute, Degree
from pcclip.untrusted import parse_json


def prepare(
    source: CaptionedPictures,
    out: str,
    differences: Differences | None = None,
    records_per_shard: int = 1000,
    progress: bool = True,
) -> None:
    """Makes the data of a recipe: pictures, differences, evaluation.

    Args:
        source: Where pictures, captions and attributes come from.
        out: Folder to make; may hold an unfinished run of the same recipe, which is then finished.
        differences: Which differences to write by rules, for sources with attributes; null: pictures only.
        records_per_shard: Records per tar file.
        progress: Show progress bars.

    Raises:
        PcclipError: `out` holds the data of another recipe, or the source has too few pictures, or no
            attributes to write differences from.
    """
    start = time.perf_counter()
    folder = Path(out)
    if not out.strip() or records_per_shard < 1:
        raise PcclipError(
            f"out={out!r}, records_per_shard={records_per_shard}: give the name of a folder, and at least 1."
        )
    if differences is not None and not isinstance(source, DescribedPictures):
        raise PcclipError(
            f"{source.name}: has no attributes to write differences from. Set 'differences: null' to make "
            "its pictures only; a language model can write their differences."
        )
    parts = claim(folder, source, differences, records_per_shard)
    if not any(_missing(folder / part) for part in parts):
        print(f"{folder}: already made by this recipe; delete the folder to make it again")
        return
    for split in SPLITS:
        part = f"pictures/{split}"
        if part in parts and _missing(folder / part):
            _write_pictures(folder / part, source, split, records_per_shard, progress)
    attributes: tuple[Attribute, ...] = ()
    if isinstance(source, DescribedPictures):
        attributes = _with_margins(source.attributes(), folder / "pictures" / "train", progress)
        if differences is not None:
            _write_triples(folder, source, attributes, differences, records_per_shard, progress)
    if isinstance(source, Source):
        write_json(folder / "evaluation.json", _evaluation(source, attributes))
    write_card(folder, source, attributes, [part for part in parts if "/" in part])
    print(f"{folder}: made in {time.perf_counter() - start:.0f} s; see {folder / 'CARD.md'}")


def _missing(part: Path) -> bool:
    return not (part.exists() if part.suffix else is_finished(part))


def _write_pictures(
    part: Path, source: CaptionedPictures, split: Split, records_per_shard: int, progress: bool
) -> None:
    card: dict[str, Any] = {"source": source.name, "split": split, "licence": source.licence}
    total = source.count(split)  # before the bar: it may have a bar, or a warning, of its own
    if skipped := source.skipped():
        card["skipped"] = skipped
    with progress_bar(progress) as bar, ShardSetWriter(part, "pictures", records_per_shard, card) as writer:
        task = bar.add_task(f"{source.name}: {split} pictures", total=total)
        for picture in source.pictures(split):
            writer.write_picture(picture)
            bar.advance(task)


def _write_triples(
    folder: Path,
    source: DescribedPictures,
    attributes: tuple[Attribute, ...],
    differences: Differences,
    records_per_shard: int,
    progress: bool,
) -> None:
    writer = RuleWriter(
        attributes,
        source.references(),
        differences.seed,
        differences.clause_shares,
        differences.category_weight,
    )
    plans: tuple[tuple[Split, PairPlan], ...] = (
        ("train", differences.train),
        ("validation", differences.validation),
    )
    for split, plan in plans:
        part = folder / "triples" / split
        if _missing(part):
            pool = Pool(folder / "pictures" / split, plan, differences.seed, progress)
            job = TripleJob(source.name, split, plan, differences, writer)
            job.run(part, pool, records_per_shard, progress)


def _with_margins(attributes: tuple[Attribute, ...], folder: Path, progress: bool) -> tuple[Attribute, ...]:
    """Margins given in standard deviations become margins in units of the values."""
    relative = {a.name for a in attributes if isinstance(a, Degree) and a.margin_unit == "deviation"}
    if not relative:
        return attributes
    values: dict[str, list[float]] = {name: [] for name in relative}
    indexes = load_indexes(resolve_shards(str(folder)), progress=progress)
    with progress_bar(progress, transient=True) as bar:
        task = bar.add_task("reading attributes", total=sum(map(len, indexes)))
        for index in indexes:
            for at in range(len(index)):
                known = parse_json(index.read(at, "json"))["attributes"]
                for name in relative & known.keys():
                    values[name].append(float(known[name]))
                bar.advance(task)
    return tuple(
        replace(a, margin=round(a.margin * float(np.std(values[a.name])), 6), margin_unit="value")
        if isinstance(a, Degree) and a.name in relative
        else a
        for a in attributes
    )


def _evaluation(source: Source, attributes: tuple[Attribute, ...]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "name": source.name,
        "classes": source.classes(),
        "prompts": source.prompts(),
        "questions": questions(attributes),
        "splits": {"validation": "pictures/validation", "test": "pictures/test"},
        **source.notes(),
    }
