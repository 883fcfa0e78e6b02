"""Triples whose pictures are there: for sets that name more pictures than one has."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pcclip.data.bank import Bank
from pcclip.data.index import ShardIndex
from pcclip.data.records import Triple
from pcclip.errors import PcclipError

_log = logging.getLogger(__name__)

Kept = npt.NDArray[np.int64]
"""Numbers of the records of a shard that are used, ascending."""


def keep_present(indexes: Sequence[ShardIndex], bank: Bank, what: str) -> list[Kept]:
    """Finds the triples of which the bank has both pictures; logs how many are left out.

    Args:
        indexes: Of the triple shards.
        bank: Of the pictures.
        what: Names the data in messages.

    Returns:
        For each shard the numbers of the records that are used.

    Raises:
        PcclipError: Nothing is left.
    """
    found = []
    for index in indexes:
        triples = [Triple.parse(index.key(r), index.read(r, "json"), index.path) for r in range(len(index))]
        rows = bank.find([t.image1 for t in triples] + [t.image2 for t in triples])
        found.append(np.flatnonzero((rows[: len(triples)] >= 0) & (rows[len(triples) :] >= 0)))
    total, left = sum(map(len, indexes)), sum(map(len, found))
    if not left:
        raise PcclipError(
            f"{what}: the bank {bank.folder} has both pictures of none of its {total:,} triples. Build the "
            "bank from the picture set that these triples are about (data.pictures)."
        )
    _log.warning(
        "%s: %s of %s triples are used; left out: %s whose pictures are not in the bank",
        what,
        f"{left:,}",
        f"{total:,}",
        f"{total - left:,}",
    )
    return found
