"""From a job's answers about pairs of pictures to triple shards."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pcclip.data.records import Payload, ShardError, Triple
from pcclip.data.shards import SET_FILE, ShardIndex, ShardSet, ShardSetWriter, resolve_shards
from pcclip.errors import PcclipError
from pcclip.generation.finish import Finish, Made
from pcclip.generation.manifest import Record
from pcclip.generation.noise import NoisePlan, add_noise, let_through
from pcclip.generation.prompts import RowRejected
from pcclip.generation.rows import Row

TRIPLES = "triples"
_SAMPLES = 12
_NOT_STORABLE = "cannot be stored in a shard"


@dataclass
class TripleFinish(Finish):
    """Triple shards, chunk by chunk of the answers: memory does not grow with the rows.

    Args:
        payload: `keys`: a triple names its pictures; `pixels`: it carries them.
        records_per_shard: Records per tar file.
        noise: Which texts are spoilt on purpose; texts are swapped within their chunk.
    """

    what: ClassVar[str] = "triples"
    about: ClassVar[str] = "Differences between pictures"

    payload: Payload = "keys"
    records_per_shard: int = 1000
    noise: NoisePlan = field(default_factory=NoisePlan)

    @property
    def last_file(self) -> Path:
        """The shards' `set.json`."""
        return self.manifest.folder / TRIPLES / SET_FILE

    def make(self, rejected: Counter[str]) -> None:
        """Writes the shards."""
        spoilt = Counter[str]()
        rows = self.rows.rows() if self.payload == "pixels" else None
        folder = self.manifest.folder / TRIPLES
        with ShardSetWriter(folder, "triples", self.records_per_shard, self.card()) as shards:
            for record, triple in self._triples(rejected):
                try:
                    if rows is None:
                        shards.write_triple(triple)
                    else:
                        row = next(row for row in rows if row.number == record["row"])
                        shards.write_triple(triple, *_pixels(row, triple.image1 != row.image1))
                except (ShardError, OSError):  # one row's key or picture
                    rejected[_NOT_STORABLE] += 1
                    continue
                if "noise" in triple.source:
                    spoilt[triple.source["noise"]["kind"]] += 1
            shards.card["rejected"] = dict(sorted((+rejected).items()))
            if self.noise:
                shards.card["noise"] = {kind: spoilt[kind] for kind in ("shuffled", "reversed", "unfiltered")}

    def made(self) -> Made:
        """Reads `set.json` and the first triples."""
        folder = self.manifest.folder / TRIPLES
        made = ShardSet.load(folder)
        index = ShardIndex.load(resolve_shards(str(folder))[0])
        first = (
            Triple.parse(index.keys[at], index.read(at, "json"), index.path)
            for at in range(min(_SAMPLES, len(index)))
        )
        return Made(
            made.records, made.card, [f"{t.image1} against {t.image2}: {t.difference}" for t in first]
        )

    def _triples(self, rejected: Counter[str]) -> Iterator[tuple[Record, Triple]]:
        """What goes into the shards, in the order of the rows."""
        origin = self.origin()
        for chunk in sorted(self.manifest.entries):
            records: list[Record] = []
            triples: list[Triple] = []
            through: dict[int, Triple] = {}
            for record in self.manifest.read(chunk):
                if record["error"] is not None:
                    continue
                why, triple = record["reason"], self._triple(record, origin)
                if why is None and self.repeats and (why := self.repeats(record["difference"])) is not None:
                    rejected[why] += 1
                if why is None:
                    triples.append(triple)
                elif (passed := self._let_through(record, triple, why)) is None:
                    continue
                else:
                    rejected[why] -= 1
                    through[record["row"]] = passed
                records.append(record)
            spoilt = iter(add_noise(triples, self.noise) if self.noise else triples)
            for record in records:
                yield record, through.get(record["row"]) or next(spoilt)

    def _let_through(self, record: Record, triple: Triple, why: str) -> Triple | None:
        if not self.noise.unfiltered:
            return None
        answer = record["text"]
        if self.prompt is not None and self.writer.needs_prompt:
            with contextlib.suppress(RowRejected):  # no JSON: as it is
                answer = self.prompt.read_answer(answer)
        return let_through(triple, answer, why, self.noise)

    def _triple(self, record: Record, origin: dict[str, Any]) -> Triple:
        source = {**origin, **record.get("notes", {})}
        if "model" in origin:
            source["seed"] = self.sampling.row_seed(record["key"])
        if record["captions"]:
            source["captions"] = record["captions"]
        return Triple(record["key"], record["image1"], record["image2"], record["difference"] or "", source)


def _pixels(row: Row, swapped: bool) -> tuple[bytes, bytes, str]:
    if row.picture1 is None or row.picture2 is None:
        raise PcclipError(
            f"rows: row {row.key!r} comes without its pictures, which the payload 'pixels' needs. Use rows "
            "with pictures, or payload: keys."
        )
    image1, image2 = row.picture1.read_bytes(), row.picture2.read_bytes()
    kinds = {"png" if image.startswith(b"\x89PNG") else "jpg" for image in (image1, image2)}
    pair = (image2, image1) if swapped else (image1, image2)
    return *pair, kinds.pop() if len(kinds) == 1 else "jpg"
