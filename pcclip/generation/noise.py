"""Noise on purpose: spoils a share of the texts, to see how much the training minds it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pcclip.data.records import Triple
from pcclip.errors import PcclipError

_PERCENT = 100.0


@dataclass(frozen=True)
class NoisePlan:
    """How many texts are spoilt, and how; what happens to a text depends on its key and the seed alone.

    Args:
        shuffled: Accepted texts that are replaced by another pair's text, in percent.
        reversed: Accepted texts whose pictures change places, so that they say the opposite, in percent.
        unfiltered: Rejected answers that are let through as the model gave them, in percent.
        seed: Decides which.

    Raises:
        PcclipError: A percentage is out of range.
    """

    shuffled: float = 0.0
    reversed: float = 0.0
    unfiltered: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses percentages that contradict themselves."""
        for name in ("shuffled", "reversed", "unfiltered"):
            if not 0 <= getattr(self, name) <= _PERCENT:
                raise PcclipError(f"noise: {name!r} is {getattr(self, name)}; it is in percent, 0 to 100.")
        if self.shuffled + self.reversed > _PERCENT:
            raise PcclipError(
                f"noise: 'shuffled' and 'reversed' are {self.shuffled} and {self.reversed} percent of the "
                "same texts; together they may be 100 at most."
            )

    def __bool__(self) -> bool:
        """Whether anything is spoilt."""
        return bool(self.shuffled or self.reversed or self.unfiltered)


def add_noise(triples: Sequence[Triple], plan: NoisePlan) -> list[Triple]:
    """Spoils some accepted texts of a chunk; each says so under `noise` of its source.

    Args:
        triples: A chunk of the set, the same for the same job: shuffled texts come from the same chunk.
        plan: How many and how.

    Returns:
        As many triples, in the same order and with the same keys. Where a chunk has no other text to give,
        the text stays as it is, unmarked.
    """
    return [_spoil(triple, triples, plan) for triple in triples]


def _spoil(triple: Triple, triples: Sequence[Triple], plan: NoisePlan) -> Triple:
    draw = _draw("kind", triple.key, plan.seed) * _PERCENT
    if draw < plan.shuffled:
        donor = _donor(triple, triples, plan.seed)
        if donor is None:
            return triple
        return replace(
            triple, difference=donor.difference, source=_marked(triple.source, "shuffled", text_of=donor.key)
        )
    if draw < plan.shuffled + plan.reversed:
        return replace(
            triple,
            image1=triple.image2,
            image2=triple.image1,
            source=_marked(triple.source, "reversed"),
        )
    return triple


def _donor(triple: Triple, triples: Sequence[Triple], seed: int) -> Triple | None:
    """Another pair's triple of the chunk, with another text; None where there is none."""
    start = int(_draw("donor", triple.key, seed) * len(triples))
    for step in range(len(triples)):
        donor = triples[(start + step) % len(triples)]
        others = {donor.image1, donor.image2} != {triple.image1, triple.image2}
        if others and donor.difference != triple.difference:
            return donor
    return None


def let_through(triple: Triple, answer: str, reason: str, plan: NoisePlan) -> Triple | None:
    """Lets a rejected answer into the set, unfiltered, if its turn has come.

    Args:
        triple: What the record would be, had the answer been accepted; its text is not looked at.
        answer: As the model gave it.
        reason: Why it was rejected.
        plan: How many are let through.

    Returns:
        The record, which says so under `noise` of its source; None where the answer stays rejected: it was
        not drawn, or there is nothing in it that a file can hold.
    """
    text = answer.encode("utf-8", "ignore").decode().strip()
    if not text or _draw("unfiltered", triple.key, plan.seed) * _PERCENT >= plan.unfiltered:
        return None
    return replace(triple, difference=text, source=_marked(triple.source, "unfiltered", reason=reason))


def _marked(source: dict[str, Any], kind: str, **more: str) -> dict[str, Any]:
    return {**source, "noise": {"kind": kind, **more}}


def _draw(purpose: str, key: str, seed: int) -> float:
    """A number in [0, 1) that is always the same for a key."""
    digest = hashlib.blake2b(
        f"noise/{purpose}/{seed}/{key}".encode("utf-8", "surrogatepass"), digest_size=8
    ).digest()
    return (int.from_bytes(digest, "little") >> 11) / 2**53
