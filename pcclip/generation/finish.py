"""From a job's answers to triple shards and the card that says what they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pcclip.data.files import write_atomically
from pcclip.data.records import Payload, ShardError, Triple
from pcclip.data.shards import SET_FILE, ShardIndex, ShardSet, ShardSetWriter, resolve_shards
from pcclip.errors import PcclipError
from pcclip.generation.checks import Repeats
from pcclip.generation.manifest import Manifest, Record
from pcclip.generation.prompts import PromptTemplate
from pcclip.generation.rows import Row, RowSource
from pcclip.generation.writers.base import Sampling, Writer

TRIPLES, CARD = "triples", "CARD.md"
_SAMPLES = 12
_NOT_STORABLE = "cannot be stored in a shard"


@dataclass
class Finish:
    """Makes the shards of a job whose rows are all answered.

    Args:
        manifest: The answers.
        rows: Where the rows came from: their licence, and the pictures for the payload `pixels`.
        writer: Who wrote.
        prompt: How it was asked.
        sampling: How it sampled.
        payload: `keys`: a triple names its pictures; `pixels`: it carries them.
        records_per_shard: Records per tar file.
        repeats: Rejects texts that repeat earlier ones.
    """

    manifest: Manifest
    rows: RowSource
    writer: Writer
    prompt: PromptTemplate | None
    sampling: Sampling
    payload: Payload = "keys"
    records_per_shard: int = 1000
    repeats: Repeats | None = None

    def is_done(self) -> bool:
        """Whether shards and card are there already."""
        folder = self.manifest.folder
        return (folder / TRIPLES / SET_FILE).exists() and (folder / CARD).exists()

    def run(self) -> int:
        """Writes shards and card; returns the number of triples.

        Raises:
            PcclipError: No answer was accepted.
        """
        folder = self.manifest.folder
        counts, rejected = self.manifest.totals()
        if not counts["accepted"]:
            told = ", ".join(f"{count} {why}" for why, count in rejected.most_common(5)) or "no row at all"
            raise PcclipError(
                f"{folder}: no answer was accepted ({told}), so there is nothing to make shards of. Read "
                f"{self.manifest.path(0)}, mend the recipe, and start it with another 'out'."
            )
        if not (folder / TRIPLES / SET_FILE).exists():
            self._write_shards(rejected)
        made = ShardSet.load(folder / TRIPLES)
        self._write_card(made, counts, Counter(made.card["rejected"]))
        return made.records

    def origin(self) -> dict[str, Any]:
        """What all triples say of where they come from."""
        told: dict[str, Any] = {"writer": self.writer.name}
        if (model := self.writer.model_name()) is not None:
            told |= {"model": model, "sampling": {k: v for k, v in asdict(self.sampling).items() if v != {}}}
        if self.prompt is not None and self.writer.needs_prompt:
            told |= {"prompt": self.prompt.name, "prompt_version": self.prompt.version}
        return told

    def _write_shards(self, rejected: Counter[str]) -> None:
        card = self.origin() | {"licence": self.rows.licence()}
        origin = self.origin()
        with ShardSetWriter(
            self.manifest.folder / TRIPLES, "triples", self.records_per_shard, card
        ) as shards:
            for record, row in self._accepted():
                if self.repeats is not None and (why := self.repeats(record["difference"])) is not None:
                    rejected[why] += 1
                    continue
                triple = self._triple(record, origin)
                try:
                    if row is None:
                        shards.write_triple(triple)
                    else:
                        shards.write_triple(triple, *_pixels(row))
                except (ShardError, OSError):  # one row's key or picture
                    rejected[_NOT_STORABLE] += 1
            shards.card["rejected"] = dict(sorted(rejected.items()))

    def _accepted(self) -> Iterator[tuple[Record, Row | None]]:
        """Accepted records, with their rows where pictures are needed."""
        accepted = (record for record in self.manifest.records() if record["difference"] is not None)
        if self.payload == "keys":
            yield from ((record, None) for record in accepted)
            return
        rows = self.rows.rows()
        for record in accepted:
            yield record, next(row for row in rows if row.number == record["row"])

    def _triple(self, record: Record, origin: Mapping[str, Any]) -> Triple:
        source = {**origin, **record.get("notes", {})}
        if "model" in origin:
            source["seed"] = self.sampling.row_seed(record["key"])
        if record["captions"]:
            source["captions"] = record["captions"]
        return Triple(record["key"], record["image1"], record["image2"], record["difference"], source)

    def _write_card(self, made: ShardSet, counts: Counter[str], rejected: Counter[str]) -> None:
        origin = self.origin()
        lines = [
            f"# {self.manifest.folder.name}",
            "",
            "Differences between pictures, made by `pcclip write`; the settings are in `job.json`, "
            "every answer is in `answers/`.",
            "",
            f"- writer: {origin['writer']}",
            f"- model: {origin.get('model', 'none')}",
            f"- prompt: {_prompt_name(origin)}",
            f"- sampling: {_sampling_words(origin)}",
            f"- licence of the pictures and captions: {self.rows.licence()}",
            "",
            "| rows | triples | rejected | went wrong | prompt tokens | answer tokens |",
            "|---|---|---|---|---|---|",
            f"| {counts['rows']} | {made.records} | {sum(rejected.values())} | {counts['errors']} | "
            f"{counts['prompt_tokens']} | {counts['answer_tokens']} |",
            "",
            "| rejected because | rows | share |",
            "|---|---|---|",
        ]
        lines += [
            f"| {_cell(why)} | {count} | {count / counts['rows']:.2%} |"
            for why, count in rejected.most_common()
        ]
        changes = {k: v for k, v in sorted(counts.items()) if k.startswith("captions: ")}
        if changes:
            lines += ["", "| captions in prompts | prompts |", "|---|---|"]
            lines += [f"| {name.removeprefix('captions: ')} | {count} |" for name, count in changes.items()]
        lines += ["", "## Samples", ""]
        index = ShardIndex.load(resolve_shards(str(self.manifest.folder / TRIPLES))[0])
        for at in range(min(_SAMPLES, len(index))):
            triple = Triple.parse(index.keys[at], index.read(at, "json"), index.path)
            lines.append(f"- {triple.image1} against {triple.image2}: {' '.join(triple.difference.split())}")
        write_atomically(self.manifest.folder / CARD, ("\n".join(lines) + "\n").encode("utf-8", "replace"))


def _pixels(row: Row) -> tuple[bytes, bytes, str]:
    if row.picture1 is None or row.picture2 is None:
        raise PcclipError(
            f"rows: row {row.key!r} comes without its pictures, which the payload 'pixels' needs. Use rows "
            "with pictures, or payload: keys."
        )
    image1, image2 = row.picture1.read_bytes(), row.picture2.read_bytes()
    kinds = {"png" if image.startswith(b"\x89PNG") else "jpg" for image in (image1, image2)}
    return image1, image2, kinds.pop() if len(kinds) == 1 else "jpg"


def _prompt_name(origin: Mapping[str, Any]) -> str:
    return f"{origin['prompt']}, version {origin['prompt_version']}" if "prompt" in origin else "none"


def _sampling_words(origin: Mapping[str, Any]) -> str:
    sampling = origin.get("sampling")
    return ", ".join(f"{k} {v}" for k, v in sampling.items()) if sampling else "none"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
