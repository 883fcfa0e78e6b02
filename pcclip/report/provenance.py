"""What a run was: `RUN/provenance.json`, one entry for each time that it was started."""

from __future__ import annotations

import hashlib
import json
import platform
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pcclip.checksums import check_seal, seal
from pcclip.data.files import write_atomically
from pcclip.data.remote.shard import is_url
from pcclip.data.sets import ShardSet
from pcclip.errors import PcclipError
from pcclip.report import machine
from pcclip.untrusted import parse_json

FILE = "provenance.json"
_SCHEMA = 1
_SETS = ("triples", "captions", "pictures", "validation_triples", "validation_captions")
_LONGEST_CARD = 40_000  # characters; those that pcclip writes have some thousands


@dataclass(frozen=True)
class Start:
    """One start of a run.

    Attributes:
        started: UTC, ISO 8601.
        command: That did it, as a shell takes it; the home folder is `~`.
        git: See `machine.git_state`, of the working directory.
        python: Its version.
        packages: Versions by name.
        machine: `system`, `processor`, `cores`, `memory_bytes`, `gpu` (name, or None), `gpu_memory_bytes`,
            `processes` (ranks) and `nodes`.
        precision: As the trainer names it.
        sets: What it trains on: `setting` (of `data`), `path`, `kind`, `records` (None where that is not
            known) and `card`, the sha256 of its CARD.md in `Provenance.cards`, or None.
    """

    started: str
    command: str
    git: dict[str, Any] | None
    python: str
    packages: dict[str, str]
    machine: dict[str, Any]
    precision: str
    sets: list[dict[str, Any]]


@dataclass(frozen=True)
class Provenance:
    """All starts of a run.

    Attributes:
        starts: The first one first; a resumed run has several.
        cards: Text of each set's CARD.md, by its sha256.
    """

    starts: list[Start]
    cards: dict[str, str]


def note_start(
    run: Path, words: Sequence[str], data: Mapping[str, Any], precision: str, accelerator: Mapping[str, Any]
) -> None:
    """Adds this start to a run's provenance. The first rank calls it, before anything trains.

    Args:
        run: Its folder.
        words: Of the command, after `pcclip`.
        data: Settings of the datamodule.
        precision: As the trainer names it.
        accelerator: `gpu`, `gpu_memory_bytes`, `processes` and `nodes`, as in `Start.machine`.

    Raises:
        OSError: It cannot be written.
    """
    try:
        known = read_provenance(run) or Provenance([], {})
    except PcclipError:  # damaged: no reason not to go on with the run
        known = Provenance([], {})
    cards: dict[str, str] = {}
    start = Start(
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        command=machine.without_home(shlex.join(["pcclip", *words])),
        git=machine.git_state(Path.cwd()),
        python=platform.python_version(),
        packages=machine.packages(),
        machine={
            "system": f"{platform.system()} {platform.machine()}",
            "processor": machine.processor(),
            "cores": machine.cores(),
            "memory_bytes": machine.memory_bytes(),
            **accelerator,
        },
        precision=precision,
        sets=list(_sets(data, cards)),
    )
    whole = Provenance([*known.starts, start], known.cards | cards)
    record = seal({"schema": _SCHEMA, **asdict(whole)})
    write_atomically(run / FILE, json.dumps(record, indent=1).encode())


def read_provenance(run: Path) -> Provenance | None:
    """The provenance of a run; None for one of an earlier version, which recorded none.

    Raises:
        PcclipError: It is damaged, or of another version.
    """
    file = run / FILE
    if not file.is_file():
        return None
    try:
        stored = parse_json(file.read_bytes())
        check_seal(stored)
        if stored["schema"] != _SCHEMA:
            raise ValueError(f"schema {stored['schema']!r}, not {_SCHEMA}")
        return Provenance([Start(**one) for one in stored["starts"]], dict(stored["cards"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PcclipError(
            f"{file}: is no record of a run's starts ({error!r}). Delete it: the numbers do not need it."
        ) from error


def _sets(data: Mapping[str, Any], cards: dict[str, str]) -> Iterator[dict[str, Any]]:
    for setting in _SETS:
        named = data.get(setting)
        for place in [] if named is None else named if isinstance(named, list | tuple) else [named]:
            known = _set(str(place))
            card = None if is_url(str(place)) else _card(Path(str(place)))
            digest = None if card is None else hashlib.sha256(card.encode()).hexdigest()
            if card is not None and digest is not None:
                cards[digest] = card
            yield {
                "setting": setting,
                "path": machine.without_home(str(place)),
                "kind": None if known is None else known.kind,
                "records": None if known is None else known.records,
                "card": digest,
            }


def _set(place: str) -> ShardSet | None:
    if is_url(place):
        return None
    try:
        return ShardSet.load(Path(place))
    except (PcclipError, OSError):
        return None  # shards by a pattern, which carry no set.json


def _card(place: Path) -> str | None:
    """The CARD.md of a set: `prepare` and `write` put it beside the folder of its parts."""
    for folder in (place, place.parent, place.parent.parent):
        if (folder / "CARD.md").is_file():
            text = (folder / "CARD.md").read_bytes()[: 4 * _LONGEST_CARD].decode("utf-8", "replace")
            return text if len(text) <= _LONGEST_CARD else text[:_LONGEST_CARD] + "\n\n[cut]\n"
    return None
