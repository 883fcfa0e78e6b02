"""Answers of an earlier job, used again: another filter, other noise or another payload without the model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcclip.errors import PcclipError
from pcclip.generation.manifest import ANSWERS, JOB_FILE, MANIFEST, Record, flatten
from pcclip.generation.writers.base import Answer, Request, WrappedWriter, Writer
from pcclip.untrusted import parse_json

_DECIDES = ("rows", "writer", "prompt", "sampling")
"""The settings that decide what a writer answers; what is made of it may differ."""


@dataclass
class Replay(WrappedWriter):
    """Answers as the same writer did in an earlier job; `write(answers_of=...)` makes one.

    Args:
        writer: Who wrote then.
        folder: Of the earlier job.
        settings: Of this job; those that decide answers must be those of the earlier one.

    Raises:
        PcclipError: The folder holds no job, or one that asked otherwise.
    """

    writer: Writer
    folder: Path
    settings: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Compares the two jobs."""
        file = self.folder / JOB_FILE
        try:
            theirs = dict(parse_json(file.read_bytes())["settings"])
            lines = (self.folder / MANIFEST).read_bytes().splitlines()
            self._sums: dict[int, str] = {e["chunk"]: e["sha256"] for e in map(json.loads, lines)}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PcclipError(
                f"answers_of: {self.folder} holds no job of 'pcclip write' ({error}). Give its 'out' folder."
            ) from error
        mine = json.loads(json.dumps(flatten(self.settings)))
        names = [n for n in mine | theirs if n.split(".")[0] in _DECIDES]
        if differing := [n for n in names if mine.get(n) != theirs.get(n)]:
            raise PcclipError(
                f"answers_of: the job in {self.folder} had other settings ({', '.join(differing[:6])}), so "
                "its answers are to other questions. Give the same rows, writer, prompt and sampling, or "
                "leave 'answers_of' out."
            )
        self._chunk_rows = int(theirs["chunk_rows"])
        self._read: dict[int, dict[int, Record]] = {}

    def write(self, requests: Iterator[Request]) -> Iterator[Answer | None]:
        """Looks the rows up, in the order in which they are asked.

        Raises:
            PcclipError: A row is not answered there, or a file is not as it was written.
        """
        for request in requests:
            row = request.row
            record = self._chunk(row.number // self._chunk_rows).get(row.number)
            if record is None or record["key"] != row.key:
                raise PcclipError(
                    f"answers_of: row {row.key!r} is not answered in {self.folder}. Finish that job first: "
                    "start its own 'pcclip write' command again, without its CARD.md where it has one."
                )
            asked, answered = record["tokens"]
            yield Answer(
                row.number,
                record["text"],
                record["finish"],
                prompt_tokens=asked,
                answer_tokens=answered,
                error=record["error"],
                notes=record.get("notes", {}),
            )

    def _chunk(self, number: int) -> dict[int, Record]:
        if number not in self._read:
            path = self.folder / ANSWERS / f"{number:06d}.jsonl"
            data = path.read_bytes() if path.is_file() else b""
            if number in self._sums and hashlib.sha256(data).hexdigest() != self._sums[number]:
                raise PcclipError(
                    f"{path}: is not as it was written. Delete {self.folder / 'CARD.md'} and start that "
                    "job's own command again: it writes this chunk anew."
                )
            while len(self._read) > 1:  # neighbours, where chunks of the two jobs differ in size
                del self._read[min(self._read)]
            self._read[number] = {r["row"]: r for r in map(json.loads, data.splitlines())}
        return self._read[number]
