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
from pcclip.typed import read_as
from pcclip.untrusted import parse_json

FILE = "provenance.json"
_SCHEMA = 1
_SETS = ("triples", "captions", "pictures", "validation_triples", "validation_captions")
_LONGEST_CARD = 40_000  # characters; those that pcclip writes have some thousands


@dataclass(frozen=True)
class GitState:
    """Of the working directory, see `machine.git_state`."""

    commit: str
    changed: int
    untracked: int


@dataclass(frozen=True)
class Machine:
    """What a run was started on.

    Attributes:
        system: Operating system and architecture.
        processor: Its name.
        cores: Those that the process may use.
        memory_bytes: Of the machine.
        gpu: Its name; None for a run on the processor.
        gpu_memory_bytes: Of one GPU.
        processes: Ranks.
        nodes: Machines.
        gpu_driver: Version of its driver.
        cuda: Version of CUDA that PyTorch was built with.
    """

    system: str
    processor: str
    cores: int
    memory_bytes: int
    gpu: str | None
    gpu_memory_bytes: int | None
    processes: int
    nodes: int
    gpu_driver: str | None = None
    cuda: str | None = None


@dataclass(frozen=True)
class TrainedOn:
    """A set that a run trains or validates on.

    Attributes:
        setting: Of `data`.
        path: As it was given; the home folder is `~`.
        kind: `pictures` or `triples`; None where that is not known.
        records: Their number, or None.
        card: The sha256 of its CARD.md in `Provenance.cards`, or None.
    """

    setting: str
    path: str
    kind: str | None
    records: int | None
    card: str | None


@dataclass(frozen=True)
class Start:
    """One start of a run.

    Attributes:
        started: UTC, ISO 8601.
        command: That did it, as a shell takes it; the home folder is `~`.
        git: State of the working directory; None where that is no repository.
        python: Its version.
        packages: Versions by name.
        machine: What it ran on.
        precision: As the trainer names it.
        sets: What it trains on.
    """

    started: str
    command: str
    git: GitState | None
    python: str
    packages: dict[str, str]
    machine: Machine
    precision: str
    sets: list[TrainedOn]


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
        accelerator: `gpu` and what follows it in `Machine`.

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
        git=None if (git := machine.git_state(Path.cwd())) is None else GitState(**git),
        python=platform.python_version(),
        packages=machine.packages(),
        machine=Machine(
            system=f"{platform.system()} {platform.machine()}",
            processor=machine.processor(),
            cores=machine.cores(),
            memory_bytes=machine.memory_bytes(),
            **accelerator,
        ),
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
        return read_as(Provenance, {name: stored[name] for name in ("starts", "cards")}, "the record")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PcclipError(
            f"{file}: is no record of a run's starts ({error!r}). Delete it: the numbers do not need it."
        ) from error


def _sets(data: Mapping[str, Any], cards: dict[str, str]) -> Iterator[TrainedOn]:
    for setting in _SETS:
        named = data.get(setting)
        for place in [] if named is None else named if isinstance(named, list | tuple) else [named]:
            known = _set(str(place))
            card = None if is_url(str(place)) else _card(Path(str(place)))
            digest = None if card is None else hashlib.sha256(card.encode()).hexdigest()
            if card is not None and digest is not None:
                cards[digest] = card
            yield TrainedOn(
                setting,
                machine.without_home(str(place)),
                None if known is None else known.kind,
                None if known is None else known.records,
                digest,
            )


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
