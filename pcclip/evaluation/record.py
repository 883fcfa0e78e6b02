"""What results were measured with, kept beside them: they are not taken for results of anything else."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pcclip import __version__
from pcclip.checksums import check_seal, seal
from pcclip.errors import PcclipError
from pcclip.evaluation.bench import Bench, Evaluation
from pcclip.evaluation.encoding.models import Fingerprints
from pcclip.evaluation.sets import EvaluationSet
from pcclip.untrusted import parse_json

FILE = "record.json"
_SCHEMA = 1


def record(
    evaluations: Sequence[Evaluation], bench: Bench, model: Fingerprints, base: Fingerprints | None
) -> dict[str, Any]:
    """What was measured just now, as JSON takes it.

    Args:
        evaluations: Sets and their protocols.
        bench: That has read the sets.
        model: That was measured.
        base: What it was before its finetuning; None where this is that.
    """
    noted = {
        "schema": _SCHEMA,
        "id": uuid.uuid4().hex,
        "pcclip": __version__,
        "model": dataclasses.asdict(model),
        "base": None if base is None else dataclasses.asdict(base),
        "evaluations": [
            {
                "set": bench.data(one.source(), one.split).evaluated,
                "data": {name: _content(data) for name, data in sorted(bench.read(one.source()).items())},
                "protocols": [_settings(protocol) for protocol in one.protocols],
            }
            for one in evaluations
        ],
    }
    return seal(noted)


def read_record(folder: Path) -> dict[str, Any]:
    """The record of the results in a folder.

    Raises:
        PcclipError: There is none, or it is of another version.
    """
    try:
        found = parse_json((folder / FILE).read_bytes())
        check_seal(found)
        if found["schema"] != _SCHEMA:
            raise ValueError(f"schema {found['schema']!r}, not {_SCHEMA}")
        return found
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PcclipError(
            f"{folder}: has results, but no record of how they were measured ({error}). {_REMEDY}"
        ) from error


def check_record(
    folder: Path,
    evaluations: Sequence[Evaluation],
    bench: Bench,
    model: Fingerprints,
    base: Fingerprints | None,
) -> None:
    """Makes sure that the results in a folder are those of these evaluations, data and models.

    Raises:
        PcclipError: They are not; the message says what differs.
    """
    found = read_record(folder)
    for one, kept in zip(evaluations, found["evaluations"], strict=False):
        for split in kept["data"]:  # also those that a protocol reads besides the one that is reported
            if kept["set"] == bench.data(one.source(), one.split).evaluated:
                bench.data(one.source(), split)
    wanted = record(evaluations, bench, model, base)
    for one, kept in zip(wanted["evaluations"], found["evaluations"], strict=False):
        one["data"] = {name: digest for name, digest in one["data"].items() if name in kept["data"]}
    differences = [
        line
        for part in ("model", "base", "evaluations")
        for line in _differences(part, found[part], wanted[part])
    ]
    if differences:
        raise PcclipError(
            f"{folder}: holds results of another measurement: {'; '.join(differences[:5])}"
            f"{' ...' if len(differences) > 5 else ''}. {_REMEDY}"
        )


_REMEDY = "Measure again with --again true, or give these evaluations another --suite."


def _content(data: EvaluationSet) -> str:
    """Hex sha256 of all that a protocol can see of a split."""
    digest = hashlib.sha256(data.fingerprint().encode())
    for field in dataclasses.fields(data):
        if field.name in ("keys", "pictures", "path"):  # in the fingerprint, or no content
            continue
        value = getattr(data, field.name)
        content = value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
        digest.update(f"{field.name} {len(content)}".encode())
        digest.update(content)
    return digest.hexdigest()


def _settings(value: Any) -> Any:
    """A protocol's settings as JSON takes them; of a file that they name, the content counts."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: _settings(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"class": f"{type(value).__module__}.{type(value).__qualname__}", **fields}
    if isinstance(value, Mapping):
        return {str(name): _settings(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_settings(one) for one in value]
    if isinstance(value, str) and 0 < len(value) < 4096 and os.path.isfile(value):
        return {"sha256": hashlib.sha256(Path(value).read_bytes()).hexdigest()}
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)


def _differences(name: str, kept: Any, now: Any) -> list[str]:
    """Where two records differ, in words."""
    if isinstance(kept, dict) and isinstance(now, dict):
        both = kept | now
        return [line for key in both for line in _differences(f"{name}.{key}", kept.get(key), now.get(key))]
    if isinstance(kept, list) and isinstance(now, list) and len(kept) == len(now):
        return [
            line
            for number, (one, other) in enumerate(zip(kept, now, strict=True))
            for line in _differences(f"{name}[{number}]", one, other)
        ]
    return [] if kept == now else [f"{name} was {_short(kept)} and is {_short(now)}"]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:56]} ..."
