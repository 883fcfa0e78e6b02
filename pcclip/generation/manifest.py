"""What a job has done so far, on disk: its settings, its chunks of answers, its lock.

`job.json` holds the settings and their fingerprint; `answers/000000.jsonl` ... a chunk's rows, one JSON line
each; `manifest.jsonl` one line for every chunk that was written, with its checksum, appended after the chunk
is on disk. A chunk counts only by its line, so that a kill leaves whole chunks and nothing else. A later line
of the same chunk replaces an earlier one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pcclip.data.files import write_atomically
from pcclip.errors import PcclipError, writing
from pcclip.folders import sync_folder
from pcclip.untrusted import parse_json

JOB_FILE, MANIFEST, ANSWERS = "job.json", "manifest.jsonl", "answers"
_LOCK = ".pcclip-write.lock"
_SCHEMA = 1

Record = dict[str, Any]
"""A row's line in a chunk: what was asked about, what came back, what became of it."""


@dataclass(frozen=True)
class ChunkEntry:
    """A line of the manifest.

    Args:
        chunk: Number of the chunk.
        rows: Rows in its file.
        complete: Whether these are all of the chunk's rows; a stopped job writes what it has.
        bytes: Size of its file.
        sha256: Checksum of its file.
        counts: Rows that were `accepted`, went wrong (`errors`), tokens, and changes made to captions.
        rejected: Rejected rows by reason.
    """

    chunk: int
    rows: int
    complete: bool
    bytes: int
    sha256: str
    counts: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)


class Manifest:
    """The state of one job in its folder; holds the folder's lock until `close`.

    Args:
        folder: Made if it does not exist.
        settings: What decides the output; nested mappings are compared field by field.

    Attributes:
        entries: The chunks on disk, by their number.
        forgotten: Files that are not as they were written: their chunks are asked again.

    Raises:
        PcclipError: Another job holds the folder, or it was begun with other settings.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self.entries: dict[int, ChunkEntry] = {}
        self.forgotten: list[Path] = []
        (folder / ANSWERS).mkdir(parents=True, exist_ok=True)
        self._lock = _take(folder)
        try:
            self._claim(settings)
            self._load()
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Gives the folder back."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def path(self, chunk: int) -> Path:
        """The file of a chunk's answers."""
        return self.folder / ANSWERS / f"{chunk:06d}.jsonl"

    def is_complete(self, chunk: int) -> bool:
        """Whether all rows of a chunk are on disk."""
        return chunk in self.entries and self.entries[chunk].complete

    def write(self, chunk: int, records: Sequence[Record], complete: bool) -> ChunkEntry:
        """Puts a chunk on disk, in the order of `records`, and notes it."""
        lines = [_line(record) for record in records]
        data = b"".join(lines)
        counts, rejected = tally(records)
        entry = ChunkEntry(
            chunk, len(lines), complete, len(data), hashlib.sha256(data).hexdigest(), counts, rejected
        )
        write_atomically(self.path(chunk), data)
        with writing(self.folder / MANIFEST), (self.folder / MANIFEST).open("ab") as file:
            file.write(_line(asdict(entry)))
            file.flush()
            os.fsync(file.fileno())
        self.entries[chunk] = entry
        return entry

    def _as_written(self, chunk: int, entry: ChunkEntry) -> bool:
        path = self.path(chunk)
        if not path.is_file() or path.stat().st_size != entry.bytes:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256

    def read(self, chunk: int) -> list[Record]:
        """A chunk's records.

        Raises:
            PcclipError: The file is not what was written.
        """
        path = self.path(chunk)
        data = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(data).hexdigest() != self.entries[chunk].sha256:
            raise PcclipError(
                f"{path}: its checksum is not the one in {self.folder / MANIFEST}: it was changed after it "
                "was written. Delete it and start the job again: it writes this chunk anew."
            )
        return [parse_json(line) for line in data.splitlines()]

    def records(self) -> Iterator[Record]:
        """All records, in the order of the rows."""
        for chunk in sorted(self.entries):
            yield from self.read(chunk)

    def totals(self) -> tuple[Counter[str], Counter[str]]:
        """Counts and rejections over all chunks; `rows` among the counts."""
        counts, rejected = Counter[str](), Counter[str]()
        for entry in self.entries.values():
            counts.update(entry.counts | {"rows": entry.rows})
            rejected.update(entry.rejected)
        return counts, rejected

    def _claim(self, settings: Mapping[str, Any]) -> None:
        file = self.folder / JOB_FILE
        mine = json.loads(json.dumps(flatten(settings)))
        if not file.exists():
            noted = {"schema": _SCHEMA, "fingerprint": fingerprint(mine), "settings": mine}
            write_atomically(file, (json.dumps(noted, indent=1, ensure_ascii=False) + "\n").encode())
            return
        try:
            theirs = dict(parse_json(file.read_bytes())["settings"])
        except (ValueError, KeyError, TypeError) as error:
            raise PcclipError(
                f"{file}: cannot be read ({error}). Give another 'out', or delete {self.folder}."
            ) from error
        if differing := [name for name in mine | theirs if mine.get(name) != theirs.get(name)]:
            told = "; ".join(
                f"{name}: {_short(theirs.get(name))} there, {_short(mine.get(name))} now"
                for name in differing[:6]
            )
            more = f"; and {len(differing) - 6} more" if len(differing) > 6 else ""
            raise PcclipError(
                f"{self.folder}: begun with other settings (fingerprint {fingerprint(theirs)}, these have "
                f"{fingerprint(mine)}): {told}{more}. Give another 'out', or delete the folder."
            )

    def _load(self) -> None:
        """Reads the manifest, drops a torn last line, and forgets chunks whose file is gone."""
        file = self.folder / MANIFEST
        data = file.read_bytes() if file.exists() else b""
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            with file.open("r+b") as torn:
                torn.truncate(whole)
                os.fsync(torn.fileno())
        if not data:
            file.touch()
            sync_folder(self.folder)
        for number, line in enumerate(data[:whole].splitlines(), 1):
            try:
                entry = ChunkEntry(**parse_json(line))
            except (ValueError, TypeError) as error:
                raise PcclipError(
                    f"{file}: line {number} cannot be read ({error}). Delete that line and start the job "
                    "again: it writes that chunk anew."
                ) from error
            self.entries[entry.chunk] = entry
        for chunk in [c for c, entry in self.entries.items() if not self._as_written(c, entry)]:
            del self.entries[chunk]
            self.forgotten.append(self.path(chunk))
        for left in (self.folder / ANSWERS).glob(".*.tmp"):
            left.unlink()


def tally(records: Sequence[Record]) -> tuple[dict[str, int], dict[str, int]]:
    """Counts of a chunk: accepted, errors, tokens and changes; and rejections by reason."""
    counts, rejected = Counter[str](), Counter[str]()
    for record in records:
        counts["prompt_tokens"] += record["tokens"][0]
        counts["answer_tokens"] += record["tokens"][1]
        counts.update(f"captions: {change}" for change in record.get("changes", ()))
        if record["error"] is not None:
            counts["errors"] += 1
        elif record["reason"] is not None:
            rejected[record["reason"]] += 1
        else:
            counts["accepted"] += 1
    return dict(sorted(counts.items())), dict(sorted(rejected.items()))


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted names."""
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            flat |= flatten(inner, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = inner
    return flat


def fingerprint(flat: Mapping[str, Any]) -> str:
    """A short hash of settings."""
    return hashlib.sha256(json.dumps(flat, sort_keys=True).encode()).hexdigest()[:16]


def _line(value: Mapping[str, Any]) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass") + b"\n"


def _short(value: Any) -> str:
    told = repr(value)
    return told if len(told) <= 80 else told[:77] + "..."


def _take(folder: Path) -> int:
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise PcclipError(
            f"{folder}: another job writes into this folder now. Wait for it, or give another 'out'."
        ) from None
    return lock
