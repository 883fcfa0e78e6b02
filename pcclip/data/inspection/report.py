"""What an inspection found."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from pcclip.data.records import Kind, Payload

FAULTS_KEPT = 20


@dataclass
class InspectReport:
    """What is in a set, and what is wrong with it; all fields are plain values.

    Args:
        spec: What was inspected.
        kind: `pictures` or `triples`.
        payload: Of triples: `keys` or `pixels`.
        shards: Number of shards.
        records: Number of records.
        bytes: Size of all shards.
        words: `min`, `median`, `mean`, `p95`, `max` of the number of words per text.
        histogram: Texts by number of words: (fewest, most, texts).
        texts: Number of texts: one per triple; a picture has any number of captions.
        distinct_texts: Of these.
        repeated_texts: The most frequent texts that occur more than once, with how often.
        pictures: Triples: number of different pictures that they name.
        repeated_pairs: Triples: number of picture pairs, in either order, that come more than once.
        missing_pictures: Triples: pictures named but not in the picture set; None where none was given.
        writers: Triples: records by `source.writer`.
        classes: Pictures: records by class.
        attributes: Pictures: records by attribute name.
        origin: What the set's card says of its making: writer, model, prompt, licence, noise.
        skipped: Files in the tars that belong to no record.
        faults: The first 20 faults, each with file, key and remedy.
        fault_count: All faults.
        samples: Some records, drawn at random (the same each time).
    """

    spec: str
    kind: Kind
    payload: Payload | None = None
    shards: int = 0
    records: int = 0
    bytes: int = 0
    words: dict[str, float] = field(default_factory=dict)
    histogram: list[tuple[int, int, int]] = field(default_factory=list)
    texts: int = 0
    distinct_texts: int = 0
    repeated_texts: list[tuple[str, int]] = field(default_factory=list)
    pictures: int = 0
    repeated_pairs: int = 0
    missing_pictures: int | None = None
    writers: dict[str, int] = field(default_factory=dict)
    classes: dict[str, int] = field(default_factory=dict)
    attributes: dict[str, int] = field(default_factory=dict)
    origin: dict[str, Any] = field(default_factory=dict)
    skipped: int = 0
    faults: list[str] = field(default_factory=list)
    fault_count: int = 0
    samples: list[dict[str, Any]] = field(default_factory=list)

    def fault(self, message: str) -> None:
        """Counts a fault, and keeps its text while there are few."""
        self.fault_count += 1
        if len(self.faults) < FAULTS_KEPT:
            self.faults.append(message)

    def to_json(self) -> str:
        """The report as json."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)
