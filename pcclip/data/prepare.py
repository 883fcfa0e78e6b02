"""`pcclip prepare`: from a recipe to pictures, differences and an evaluation, each written once.

OUT/pictures/{train,validation,test}/, OUT/triples/{train,validation}/, OUT/evaluation.json, OUT/recipe.json
and, last, OUT/CARD.md. Every part is whole or absent, so that a run that was stopped goes on at the part that
is missing.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from pcclip.data.card import write_card
from pcclip.data.files import write_atomically
from pcclip.data.progress import progress_bar
from pcclip.data.shards import SET_FILE, ShardIndex, ShardSetWriter, resolve_shards
from pcclip.data.sources.base import SPLITS, Source, Split
from pcclip.data.triples import Differences, Pool, TripleJob
from pcclip.errors import PcclipError
from pcclip.generation import wordings
from pcclip.generation.pairs import PairPlan
from pcclip.generation.questions import questions
from pcclip.generation.rules import RuleWriter
from pcclip.generation.vocabulary import Attribute, Degree

_SCHEMA = 1


def prepare(
    source: Source, out: str, differences: Differences, records_per_shard: int = 1000, progress: bool = True
) -> None:
    """Makes the data of a recipe: pictures, differences, evaluation.

    Args:
        source: Where pictures, captions and attributes come from.
        out: Folder to make; may hold an unfinished run of the same recipe, which is then finished.
        differences: Which differences to write.
        records_per_shard: Records per tar file.
        progress: Show progress bars.

    Raises:
        PcclipError: `out` holds the data of another recipe, or the source has too few pictures.
    """
    start = time.perf_counter()
    folder = Path(out)
    if not _claim(folder, source, differences, records_per_shard):
        print(f"{folder}: already made by this recipe; delete the folder to make it again")
        return
    for split in SPLITS:
        part = folder / "pictures" / split
        if _missing(part):
            _write_pictures(part, source, split, records_per_shard, progress)
    attributes = _with_margins(source.attributes(), folder / "pictures" / "train")
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
            pool = Pool(folder / "pictures" / split, plan, differences.seed)
            job = TripleJob(source.name, split, plan, differences, writer)
            job.run(part, pool, records_per_shard, progress)
    _write_json(folder / "evaluation.json", _evaluation(source, attributes))
    write_card(folder, source, attributes)
    print(f"{folder}: made in {time.perf_counter() - start:.0f} s; see {folder / 'CARD.md'}")


def recipe_of(source: Source, differences: Differences, records_per_shard: int) -> dict[str, Any]:
    """The resolved recipe, with a hash of every word and template that it draws on.

    Places (where files lie) are left out: the same data in another folder is the same data.
    """
    fields = {name: value for name, value in asdict(source).items() if name not in source.places}
    material = {
        "source": source.material(),
        "attributes": [asdict(attribute) for attribute in source.attributes()],
        "references": [asdict(names) for names in source.references()],
        "frames": [
            [asdict(frame) for frame in frames]
            for frames in (wordings.DEGREE_TRAINING, wordings.CATEGORY_TRAINING)
        ],
        "lists": wordings.LIST_TRAINING,
        "questions": questions(source.attributes()),
    }
    return {
        "source": f"{type(source).__module__}.{type(source).__qualname__}",
        **{f"source.{name}": value for name, value in fields.items()},
        **{f"differences.{name}": value for name, value in asdict(differences).items()},
        "records_per_shard": records_per_shard,
        "words": _hash(material),
    }


def _claim(folder: Path, source: Source, differences: Differences, records_per_shard: int) -> bool:
    """Notes the recipe in the folder; False where all of it has been made already."""
    recipe = json.loads(json.dumps(recipe_of(source, differences, records_per_shard)))
    file = folder / "recipe.json"
    if file.exists():
        try:
            made = dict(json.loads(file.read_bytes())["recipe"])
        except (ValueError, KeyError, TypeError) as error:
            raise PcclipError(
                f"{file}: cannot be read ({error}). Delete {folder} and prepare again."
            ) from error
        names = [name for name in recipe | made if recipe.get(name) != made.get(name)]
        if names:
            told = "; ".join(f"{name}: {made.get(name)!r} there, {recipe.get(name)!r} now" for name in names)
            raise PcclipError(
                f"{folder}: holds data of another recipe (fingerprint {_hash(made)}, this one has "
                f"{_hash(recipe)}): {told}. Give another 'out', or delete the folder."
            )
    else:
        folder.mkdir(parents=True, exist_ok=True)
        _write_json(file, {"schema": _SCHEMA, "fingerprint": _hash(recipe), "recipe": recipe})
    parts = [folder / "pictures" / split for split in SPLITS]
    parts += [folder / "triples" / split for split in SPLITS[:2]]
    files = (folder / "evaluation.json", folder / "CARD.md")
    return any(_missing(part) for part in parts) or not all(f.exists() for f in files)


def _missing(part: Path) -> bool:
    return not (part / SET_FILE).exists()


def _write_pictures(part: Path, source: Source, split: Split, records_per_shard: int, progress: bool) -> None:
    card = {"source": source.name, "split": split, "licence": source.licence}
    with progress_bar(progress) as bar, ShardSetWriter(part, "pictures", records_per_shard, card) as writer:
        task = bar.add_task(f"{source.name}: {split} pictures", total=source.count(split))
        for picture in source.pictures(split):
            writer.write_picture(picture)
            bar.advance(task)


def _with_margins(attributes: tuple[Attribute, ...], folder: Path) -> tuple[Attribute, ...]:
    """Margins given in standard deviations become margins in units of the values."""
    relative = {a.name for a in attributes if isinstance(a, Degree) and a.margin_unit == "deviation"}
    if not relative:
        return attributes
    values: dict[str, list[float]] = {name: [] for name in relative}
    for path in resolve_shards(str(folder)):
        index = ShardIndex.load(path)
        for at in range(len(index)):
            known = json.loads(index.read(at, "json"))["attributes"]
            for name in relative:
                values[name].append(float(known[name]))
    return tuple(
        replace(a, margin=round(a.margin * float(np.std(values[a.name])), 6), margin_unit="value")
        if isinstance(a, Degree) and a.name in relative
        else a
        for a in attributes
    )


def _evaluation(source: Source, attributes: tuple[Attribute, ...]) -> dict[str, Any]:
    return {
        "schema": _SCHEMA,
        "name": source.name,
        "classes": source.classes(),
        "prompts": source.prompts(),
        "questions": questions(attributes),
        "splits": {"validation": "pictures/validation", "test": "pictures/test"},
        **source.notes(),
    }


def _write_json(file: Path, value: dict[str, Any]) -> None:
    write_atomically(file, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
