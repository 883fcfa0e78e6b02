"""Exhibits in a run's folder: `RUN/exhibits/` with `exhibits.json`, thumbnails and vectors."""

from __future__ import annotations

import hashlib
import io
import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image
from rich.progress import Progress

from pcclip.checksums import check_seal, seal
from pcclip.data.progress import progress_bar
from pcclip.errors import PcclipError
from pcclip.evaluation.bench import Bench, Evaluation
from pcclip.evaluation.encoding.models import Model
from pcclip.evaluation.exhibits.kinds import STAGES, Answers, Confusion, SetExhibits
from pcclip.evaluation.exhibits.making import Both, classes_exhibits, question_exhibits, shown_keys
from pcclip.evaluation.exhibits.vectors import Vectors, vectors_of
from pcclip.evaluation.sets import EvaluationSet
from pcclip.folders import whole_folder
from pcclip.typed import read_as
from pcclip.untrusted import parse_json

FOLDER = "exhibits"
_FILE = "exhibits.json"
_SCHEMA = 1
_SIDE = 192
"""Pixels of a thumbnail's longer side."""


def write_exhibits(
    run: Path, evaluations: Sequence[Evaluation], bench: Bench, base: Model, tuned: Model
) -> None:
    """Makes the exhibits of all sets, each with the split that is reported.

    Args:
        run: Folder of the run; exhibits of an earlier attempt in it are replaced.
        evaluations: Sets; of several evaluations of one split, one counts.
        bench: That has measured both models on them.
        base: Before the finetuning.
        tuned: After it.

    Raises:
        PcclipError: A picture cannot be decoded, or the folder cannot be written to.
    """
    shutil.rmtree(run / FOLDER, ignore_errors=True)
    seen: set[str] = set()
    found: list[dict[str, Any]] = []
    with whole_folder(run / FOLDER) as folder, progress_bar(transient=True) as bar:
        (folder / "pictures").mkdir()
        for one in evaluations:
            both = Both(
                bench.subject(one.source(), one.split, base),
                bench.subject(one.source(), one.split, tuned, base),
            )
            if both.data.evaluated in seen:
                continue
            seen.add(both.data.evaluated)
            found.append(asdict(_of_set(both, folder, bar)))
            vectors_of(both).save(folder / f"{both.data.name}-{both.data.split}.npz")
        (folder / _FILE).write_text(json.dumps(seal({"schema": _SCHEMA, "sets": found}), indent=1))


def _of_set(both: Both, folder: Path, bar: Progress) -> SetExhibits:
    data = both.data
    task = bar.add_task(f"exhibits of {data.name}", total=1 + len(data.questions))
    confusions: list[Confusion] = []
    classes: Answers | None = None
    if data.classes and data.prompts:
        confusion, classes = classes_exhibits(both)
        confusions.append(confusion)
    bar.advance(task)
    asked = {}
    for one in data.questions:
        asked[one.attribute] = question_exhibits(both, one)
        bar.advance(task)
    told = {attribute: one for attribute, one in asked.items() if one is not None}
    rankings = [ranked for ranked, _ in told.values()]
    pairs = {attribute: answers for attribute, (_, answers) in told.items()}
    numbers = {key: number for number, key in enumerate(data.keys)}
    shown = shown_keys(rankings, classes, list(pairs.values()))
    task = bar.add_task(f"thumbnails of {data.name}", total=len(shown))
    pictures = {}
    for key in shown:
        pictures[key] = _thumbnail(data, numbers[key], folder)
        bar.advance(task)
    return SetExhibits(data.name, data.split, pictures, confusions, rankings, classes, pairs)


def _thumbnail(data: EvaluationSet, number: int, folder: Path) -> str:
    picture = data.image(number)
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90, subsampling=0)
    name = _name(buffer.getvalue())
    (folder / name).write_bytes(buffer.getvalue())
    return name


def _name(thumbnail: bytes) -> str:
    return f"pictures/{hashlib.sha256(thumbnail).hexdigest()[:20]}.jpg"


def read_exhibits(run: Path) -> list[SetExhibits]:
    """The exhibits of a run; none where its fit wrote none.

    Raises:
        PcclipError: They are damaged, or of another version.
    """
    file = run / FOLDER / _FILE
    if not file.is_file():
        return []
    try:
        stored = parse_json(file.read_bytes())
        check_seal(stored)
        if stored["schema"] != _SCHEMA:
            raise ValueError(f"schema {stored['schema']!r}, not {_SCHEMA}")
        return [_set(one, f"sets[{number}]") for number, one in enumerate(stored["sets"])]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PcclipError(
            f"{file}: no exhibits of a run ({error!r}). Delete {file.parent}: the numbers do not need it."
        ) from error


def check_exhibits(run: Path) -> int:
    """Reads everything of a run's exhibits, and compares the thumbnails with their names.

    Returns:
        The number of sets.

    Raises:
        PcclipError: Something is damaged, or gone.
    """
    found = read_exhibits(run)
    for one in found:
        try:
            read_vectors(run, one)
            for name in one.pictures.values():
                file = run / FOLDER / "pictures" / Path(name).name
                if _name(file.read_bytes()) != f"pictures/{file.name}":
                    raise ValueError(f"{file.name} is not as it was written")
        except (OSError, ValueError) as error:
            folder = run / FOLDER
            raise PcclipError(
                f"{folder}: exhibits are damaged ({error}). Delete it: the numbers do not need it."
            ) from error
    return len(found)


def read_vectors(run: Path, exhibits: SetExhibits) -> Vectors:
    """The vectors beside a set's exhibits.

    Raises:
        OSError: They are absent.
        ValueError: They are damaged.
    """
    return Vectors.load(run / FOLDER / f"{exhibits.name}-{exhibits.split}.npz")


def _set(stored: object, where: str) -> SetExhibits:
    one = read_as(SetExhibits, stored, where)
    for confusion in one.confusions:
        count = len(confusion.classes)
        for stage in STAGES:
            matrix = getattr(confusion, stage)
            square = len(matrix) == count and all(len(row) == count for row in matrix)
            if not square or not count or not all(math.isfinite(n) and n >= 0 for row in matrix for n in row):
                raise ValueError(f"{where}: {confusion.metric}, {stage}: no counts of {count} classes")
    return one
