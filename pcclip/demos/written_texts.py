"""What the texts of a set of triples are worth: right, readable, new; judged by the pictures' attributes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pcclip.data.records import Picture, Triple
from pcclip.data.shards import ShardIndex, resolve_shards
from pcclip.demos.claims import Judgement, judge
from pcclip.demos.told import differing
from pcclip.errors import PcclipError
from pcclip.evaluation.bootstrap import bootstrap
from pcclip.evaluation.statistics import Estimate, Observations
from pcclip.untrusted import parse_json

_RESAMPLES = 200

Known = Mapping[str, Picture]
"""Pictures by their key, without their bytes."""


@dataclass(frozen=True)
class Worth:
    """What the texts of a set are worth.

    Args:
        texts: How many there are.
        different: How many different ones.
        shares: Of all texts, by name, with intervals from resampled pictures.
        right_of: By attribute: right texts, and texts that speak of it.
        wrong: Some wrong texts.
        unreadable: Some unreadable texts.
    """

    texts: int
    different: int
    shares: dict[str, Estimate]
    right_of: dict[str, tuple[int, int]]
    wrong: list[str]
    unreadable: list[str]


def known_pictures(shards: str) -> dict[str, Picture]:
    """Reads captions and attributes of a picture set."""
    found: dict[str, Picture] = {}
    for path in resolve_shards(shards):
        index = ShardIndex.load(path)
        for at, key in enumerate(index.keys):
            picture = Picture.parse(key, index.read_record(at), index.path)
            found[key] = Picture(
                key, b"", picture.extension, picture.caption, None, picture.attributes, picture.captions
            )
    return found


def read_triples(shards: str) -> list[Triple]:
    """All triples of a set, without pictures."""
    return [
        Triple.parse(index.keys[at], index.read(at, "json"), index.path)
        for index in (ShardIndex.load(path) for path in resolve_shards(shards))
        for at in range(len(index))
    ]


def worth(triples: Sequence[Triple], pictures: Known, taught: Set[str]) -> Worth:
    """Judges all texts of a set.

    Args:
        triples: The set.
        pictures: The pictures that it speaks of.
        taught: Texts that the language model was trained on.

    Raises:
        PcclipError: A picture is unknown.
    """
    if lost := next((k for t in triples for k in (t.image1, t.image2) if k not in pictures), None):
        raise PcclipError(f"picture {lost!r} of the triples is not among the pictures. Name their own set.")
    place = {key: at for at, key in enumerate(pictures)}
    scores: dict[str, list[bool]] = defaultdict(list)
    right_of: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    examples: dict[Judgement, list[str]] = defaultdict(list)
    for triple in triples:
        one, two = pictures[triple.image1], pictures[triple.image2]
        judged, attribute = judge(triple.difference, one.attributes, two.attributes)
        right = judged is Judgement.RIGHT
        for judgement in Judgement:
            scores[judgement].append(judged is judgement)
        scores["told"].append(right and attribute in differing(one.captions, two.captions))
        scores["taught"].append(triple.difference in taught)
        if attribute is not None:
            right_of[attribute][0] += right
            right_of[attribute][1] += 1
        examples[judged].append(triple.difference)
    first, second = (
        np.array([place[key] for key in keys])
        for keys in zip(*((t.image1, t.image2) for t in triples), strict=True)
    )
    seen = Observations(first, second, {name: np.array(s, np.float32) for name, s in scores.items()})
    shares = bootstrap(
        {"texts": seen}, {name: (("texts", name),) for name in scores}, len(pictures), resamples=_RESAMPLES
    )
    return Worth(
        len(triples),
        len({triple.difference for triple in triples}),
        shares,
        {name: (right, all_) for name, (right, all_) in sorted(right_of.items())},
        examples[Judgement.WRONG][:10],
        examples[Judgement.UNREADABLE][:10],
    )


def answers_of(job: Path) -> tuple[int, Counter[str]]:
    """Rows that a job of `pcclip write` answered; and those that it did not accept, by reason."""
    rows, rejected = 0, Counter[str]()
    files = sorted((job / "answers").glob("*.jsonl"))
    if not files:
        raise PcclipError(f"{job}: has no answers/. Name the 'out' of a `pcclip write` job.")
    for file in files:
        for line in file.read_bytes().splitlines():
            record = parse_json(line)
            rows += 1
            if record["error"] is not None:
                rejected["error"] += 1
            elif record["reason"] is not None:
                rejected[record["reason"]] += 1
    return rows, rejected
