"""What a prepared folder was made from: the resolved recipe, its fingerprint, and the parts that it makes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

from pcclip.data.files import write_atomically
from pcclip.data.sources.base import SPLITS, CaptionedPictures, DescribedPictures, Source
from pcclip.data.triples import Differences
from pcclip.errors import PcclipError
from pcclip.generation import rules
from pcclip.generation.pairs import PairPlan
from pcclip.generation.questions import questions
from pcclip.untrusted import parse_json

SCHEMA = 1
_ALWAYS = ("pictures", "pairs", "method")


def claim(
    folder: Path, source: CaptionedPictures, differences: Differences | None, records_per_shard: int
) -> list[str]:
    """Notes the recipe in a folder, and lists the parts that it makes there, CARD.md last.

    Raises:
        PcclipError: The folder holds the data of another recipe.
    """
    recipe = json.loads(json.dumps(recipe_of(source, differences, records_per_shard)))
    file = folder / "recipe.json"
    splits = list(SPLITS)
    if file.exists():
        try:
            noted = parse_json(file.read_bytes())
            made, splits = dict(noted["recipe"]), list(noted.get("splits", splits))
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
        about = {"schema": SCHEMA, "fingerprint": _hash(recipe), "recipe": recipe}
        if not isinstance(source, Source):
            splits = about["splits"] = [split for split in SPLITS if source.count(split)]
            if differences is not None and not {"train", "validation"} <= set(splits):
                raise PcclipError(
                    f"{source.name}: differences are written for train and validation pictures, but it has "
                    f"only {' and '.join(splits)} pictures. Set 'train' and 'validation' to other shares."
                )
        folder.mkdir(parents=True, exist_ok=True)
        write_json(file, about)
    parts = [f"pictures/{split}" for split in splits]
    parts += [] if differences is None else [f"triples/{split}" for split in SPLITS[:2]]
    parts += ["evaluation.json"] if isinstance(source, Source) else []
    return [*parts, "CARD.md"]


def recipe_of(
    source: CaptionedPictures, differences: Differences | None, records_per_shard: int
) -> dict[str, Any]:
    """The resolved recipe, with a hash of every word and template that it draws on.

    Places (where files lie) are left out: the same data in another folder is the same data.
    """
    if not is_dataclass(source) or isinstance(source, type):
        raise PcclipError(
            f"{type(source).__name__}: a source must be a dataclass, whose fields are settings."
        )
    settings = {name: value for name, value in asdict(source).items() if name not in source.places}
    material: dict[str, Any] = {"source": source.material()}
    if isinstance(source, DescribedPictures):
        material |= {
            "attributes": [asdict(attribute) for attribute in source.attributes()],
            "references": [asdict(names) for names in source.references()],
            "rules": rules.material(),
            "questions": questions(source.attributes()),
        }
    return {
        "source": f"{type(source).__module__}.{type(source).__qualname__}",
        **{f"source.{name}": value for name, value in settings.items()},
        **_differences(differences),
        "records_per_shard": records_per_shard,
        "words": _hash(material),
    }


def write_json(file: Path, value: dict[str, Any]) -> None:
    """Writes a file of JSON, whole or not at all."""
    write_atomically(file, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def _differences(differences: Differences | None) -> dict[str, Any]:
    if differences is None:
        return {"differences": None}
    told = {f"differences.{name}": value for name, value in asdict(differences).items()}
    plans = {"train": differences.train, "validation": differences.validation}
    return told | {f"differences.{split}": _plan(plan) for split, plan in plans.items()}


def _plan(plan: PairPlan) -> dict[str, Any]:
    """A plan without the settings at their default, so that data made before there were such stays valid."""
    told = {field.name: (getattr(plan, field.name), field.default) for field in fields(plan)}
    return {name: value for name, (value, default) in told.items() if value != default or name in _ALWAYS}


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
