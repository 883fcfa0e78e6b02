"""What a saved position in the order of samples is valid for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from pcclip.data.batches import Stream


def identity(streams: Mapping[str, Stream], seed: int, shuffle_shards: int) -> dict[str, Any]:
    """What the order of training samples depends on, the number of ranks apart.

    Returns:
        `seed`, `shuffle_shards`, `global_batch` (of the stream that defines the epoch), `global_batches` (of
        all streams), and `fingerprint` of the shards' names, sizes and numbers of records.
    """
    digest = hashlib.sha256()
    for name, stream in streams.items():
        for index, length in zip(stream.source.indexes, stream.source.lengths, strict=True):
            digest.update(f"{name} {index.path.name} {index.stamp[0]} {length}\n".encode())
    sizes = {name: stream.cut.global_batch for name, stream in streams.items()}
    return {
        "seed": seed,
        "shuffle_shards": shuffle_shards,
        "global_batch": next(iter(sizes.values())),
        "global_batches": sizes,
        "fingerprint": digest.hexdigest(),
    }
