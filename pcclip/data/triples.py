"""Writes the triples of a picture set by rules: pairs, texts, and what was rejected."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pcclip.data.progress import progress_bar
from pcclip.data.records import Picture, Triple
from pcclip.data.shards import ShardSetWriter, load_indexes, resolve_shards
from pcclip.data.sources.base import Split
from pcclip.errors import PcclipError
from pcclip.generation.pairs import PairPlan, Pairs, draw_pool, make_pairs
from pcclip.generation.rules import RuleWriter


@dataclass
class Differences:
    """Which differences to write, and how.

    Args:
        train: Pairs among train pictures.
        validation: Pairs among validation pictures.
        payload: `keys`: a triple names its pictures; `pixels`: it carries them.
        clause_shares: Shares of texts that speak of one, two, three ... differences.
        category_weight: How often a text speaks of an attribute of kind, relative to one of degree.
        seed: Decides pairs and texts.
    """

    train: PairPlan
    validation: PairPlan
    payload: Literal["keys", "pixels"] = "keys"
    clause_shares: list[float] = field(default_factory=lambda: [0.6, 0.28, 0.12])
    category_weight: float = 0.4
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses shares and weights that mean nothing."""
        if not self.clause_shares or min(self.clause_shares) < 0 or sum(self.clause_shares) <= 0:
            raise PcclipError(f"differences: 'clause_shares' {self.clause_shares} are no shares.")
        if self.category_weight < 0:
            raise PcclipError(f"differences: 'category_weight' {self.category_weight} is below 0.")


class Pool:
    """The pictures of a split that take part in pairs, read from their shards.

    Classes, attributes and digests are held in memory; image bytes are read when they are asked for.

    Args:
        folder: A finished picture set.
        plan: How many pictures take part.
        seed: Decides which.
        progress: Show progress on standard error.
    """

    def __init__(self, folder: Path, plan: PairPlan, seed: int, progress: bool = False) -> None:
        """Draws the pictures and reads their attributes."""
        self._where = {
            key: (index, at)
            for index in load_indexes(resolve_shards(str(folder)), progress=progress)
            for at, key in enumerate(index.keys)
        }
        self.keys = draw_pool(list(self._where), plan, seed)
        self.attributes: dict[str, dict[str, float | str]] = {}
        self.classes: dict[str, str | None] = {}
        self.digests: dict[str, bytes] = {}
        with progress_bar(progress, transient=True) as bar:
            task = bar.add_task(f"reading pictures/{folder.name}", total=len(self.keys))
            for key in self.keys:
                picture = self.picture(key)
                self.attributes[key] = picture.attributes
                self.classes[key] = picture.class_name
                self.digests[key] = hashlib.blake2b(picture.image, digest_size=16).digest()
                bar.advance(task)

    def picture(self, key: str) -> Picture:
        """Reads a picture from its shard."""
        index, at = self._where[key]
        return Picture.parse(key, index.read_record(at), index.path)


@dataclass
class TripleJob:
    """The triples of one split.

    Args:
        name: Of the picture source; keys start with it.
        split: Of the pictures.
        plan: Which pairs.
        differences: Payload and seed.
        writer: Writes the texts.
        rejected: Counts rejected pairs by reason, while it runs.
    """

    name: str
    split: Split
    plan: PairPlan
    differences: Differences
    writer: RuleWriter
    rejected: Counter[str] = field(default_factory=Counter)

    def run(self, part: Path, pool: Pool, records_per_shard: int, progress: bool) -> None:
        """Writes the set.

        Args:
            part: Folder of the set.
            pool: The pictures.
            records_per_shard: Records per tar file.
            progress: Show a progress bar.

        Raises:
            PcclipError: The pool makes fewer pairs than the plan asks for.
        """
        try:
            pairs = make_pairs(pool.keys, self.plan, self.differences.seed, pool.classes)
        except PcclipError as error:
            raise PcclipError(f"{self.split} pictures: {error}") from error
        wanted = len(pairs)
        card: dict[str, Any] = {"writer": "rules", "split": self.split, "pictures": len(pool.keys)}
        written = 0
        with (
            progress_bar(progress) as bar,
            ShardSetWriter(part, "triples", records_per_shard, card) as writer,
        ):
            task = bar.add_task(f"{self.name}: {self.split} differences", total=wanted)
            for triple in itertools.islice(self.triples(pool, pairs.everything()), wanted):
                if self.differences.payload == "pixels":
                    image1, image2 = pool.picture(triple.image1), pool.picture(triple.image2)
                    writer.write_triple(triple, image1.image, image2.image, image1.extension)
                else:
                    writer.write_triple(triple)
                written += 1
                bar.advance(task)
            if self.plan.pairs and written < wanted:
                raise PcclipError(
                    f"pairs: only {written} of {wanted} pairs of {self.split} pictures could be written "
                    f"({dict(self.rejected)}). Raise 'pictures' or lower 'pairs'."
                )
            writer.card["rejected"] = dict(self.rejected)

    def triples(self, pool: Pool, pairs: Pairs) -> Iterator[Triple]:
        """Yields triples until the pairs run out, and counts the pairs that make none."""
        number = 0
        for image1, image2 in pairs:
            written = self.writer.write(
                f"{image1}/{image2}", pool.attributes[image1], pool.attributes[image2]
            )
            if pool.digests[image1] == pool.digests[image2]:
                self.rejected["the pictures are the same"] += 1
            elif written is None:
                self.rejected["nothing differs by its margin"] += 1
            else:
                origin = {
                    "writer": "rules",
                    "seed": self.differences.seed,
                    "attributes": list(written.attributes),
                    "frames": list(written.frames),
                }
                yield Triple(f"{self.name}-{self.split}-{number:07d}", image1, image2, written.text, origin)
                number += 1
