"""Sets of shards: writing them so that a killed writer leaves nothing half done, and naming them.

A set is a folder of `000000.tar`, `000001.tar`, ... and a `set.json`, which is written last: a folder without
it is unfinished, or was not written by us.
"""

from __future__ import annotations

import glob
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from braceexpand import braceexpand

from pcclip.checksums import check_seal, seal
from pcclip.data.records import SCHEMA, Kind, Payload
from pcclip.data.remote.options import RemoteOptions
from pcclip.data.remote.shard import Shard, is_url
from pcclip.errors import PcclipError
from pcclip.untrusted import parse_json
from pcclip.whence import whence

SET_FILE = "set.json"
_LOCAL = "file://"
_SHOWN = 4
MARKER = ".pcclip-writing"
"""A writer's lock file; a folder that carries it is ours to clear."""


@dataclass(frozen=True)
class ShardEntry:
    """One shard of a set: file name, number of records, size in bytes, sha256 of the file."""

    name: str
    records: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class ShardSet:
    """What `set.json` says.

    Args:
        kind: `pictures` or `triples`.
        payload: Of triples: `keys` or `pixels`; None for pictures.
        records: In all shards.
        shards: In order.
        card: Free notes of who made it.
    """

    kind: Kind
    payload: Payload | None
    records: int
    shards: tuple[ShardEntry, ...]
    card: dict[str, Any]

    @classmethod
    def load(cls, folder: Path) -> ShardSet:
        """Reads `folder/set.json`.

        Raises:
            PcclipError: It is missing, broken or of another schema.
        """
        file = folder / SET_FILE
        try:
            return cls.parse(file.read_bytes(), file)
        except FileNotFoundError as error:
            raise PcclipError(
                f"{folder}: unfinished or foreign set: it has no {SET_FILE}. {_instead_of(folder)}"
            ) from error

    @classmethod
    def parse(cls, data: bytes, file: object) -> ShardSet:
        """Reads the bytes of a `set.json`.

        Raises:
            PcclipError: It is broken or of another schema; names `file`.
        """
        try:
            raw = parse_json(data)
            if raw["schema"] != SCHEMA:
                raise PcclipError(
                    f"{file}: schema {raw['schema']!r}, but this version reads {SCHEMA}. Write the set "
                    "again, or use the version of pcclip that wrote it."
                )
            check_seal(raw)
            shards = tuple(ShardEntry(**entry) for entry in raw["shards"])
            return cls(raw["kind"], raw["payload"], raw["records"], shards, raw["card"])
        except (ValueError, KeyError, TypeError) as error:
            raise PcclipError(f"{file}: cannot be read ({error!r}). Write the set again.") from error

    def to_json(self) -> bytes:
        """The bytes of `set.json`."""
        record = seal({"schema": SCHEMA} | asdict(self))
        return (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode()


def resolve_shards(
    spec: str | Path | Sequence[str | Path], remote: RemoteOptions | None = None
) -> list[Shard]:
    """Finds the shards that a setting names.

    Args:
        spec: A folder with a `set.json`; a tar file; a glob such as `DIR/*.tar`; a brace pattern such as
            `DIR/{00000..00099}.tar`; the URL of any of these; or a list of these.
        remote: How shards at URLs are fetched.

    Returns:
        The shards in order (a glob's are sorted by name), each once.

    Raises:
        PcclipError: Nothing matches, a set is unfinished, or a listed shard is missing or of another size.
    """
    found: list[Shard]
    if not isinstance(spec, str | Path):
        found = [path for part in spec for path in resolve_shards(part, remote)]
    elif is_url(spec) and not str(spec).startswith(_LOCAL):
        from pcclip.data.remote.listing import list_shards

        found = [*list_shards(str(spec), remote or RemoteOptions())]
    elif Path(spec := str(spec).removeprefix(_LOCAL)).is_dir():
        found = [*_set_shards(Path(spec))]
    else:
        found = [path for part in braceexpand(str(spec)) for path in _matches(part)]
    if not found:
        raise PcclipError(
            f"no shard matches {str(spec)!r}. Pass a folder with a {SET_FILE}, a tar file, a glob "
            f"'DIR/*.tar' or a brace pattern 'DIR/{{00000..00099}}.tar'.{whence(str(spec))}"
        )
    if twice := {str(path) for path, count in Counter(found).items() if count > 1}:
        raise PcclipError(f"{spec!r} names {', '.join(sorted(twice))} more than once. Name each shard once.")
    return found


def _instead_of(folder: Path) -> str:
    """What to do where a folder is no set."""
    inside = sorted(file.parent for deep in ("*", "*/*") for file in folder.glob(f"{deep}/{SET_FILE}"))
    if inside:
        return f"Is {' or '.join(map(str, inside[:_SHOWN]))} meant?"
    if any(folder.glob("*.tar")):
        return f"Finish writing it, or pass '{folder}/*.tar' to read its shards anyway."
    return (
        "`pcclip prepare` makes sets of pictures (of a folder of photos with "
        "data_recipes/your_own/pictures.yaml), `pcclip write` sets of triples."
    )


def _set_shards(folder: Path) -> list[Path]:
    listed = ShardSet.load(folder).shards
    for entry in listed:
        path = folder / entry.name
        size = path.stat().st_size if path.is_file() else None
        if size != entry.bytes:
            has = "is missing" if size is None else f"has {size} bytes"
            raise PcclipError(
                f"{path}: {has}, but {folder / SET_FILE} lists it with {entry.bytes} bytes. Copy the set "
                "again, completely, or write it again."
            )
    return [folder / entry.name for entry in listed]


def _matches(pattern: str) -> list[Path]:
    path = Path(pattern)
    if path.is_dir():
        return _set_shards(path)
    if path.is_file():
        return [path]
    if glob.has_magic(pattern):
        return [Path(match) for match in sorted(glob.glob(pattern))]
    remedy = whence(pattern) or (
        " Check the path in the setting; 'pcclip prepare' makes picture sets and 'pcclip write' triples, by "
        "the recipes in data_recipes/."
    )
    raise PcclipError(f"{pattern}: there is no such shard or set of shards.{remedy}")


def is_finished(folder: Path) -> bool:
    """Whether a folder holds a finished set; removes the mark of a writer that was killed at its very end."""
    finished = (folder / SET_FILE).exists()
    if finished:
        (folder / MARKER).unlink(missing_ok=True)
    return finished
