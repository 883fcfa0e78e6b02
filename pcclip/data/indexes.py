"""The indexes of a set's shards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pcclip.data.index import ShardIndex
from pcclip.data.progress import progress_bar
from pcclip.data.remote.shard import Shard


def load_indexes(
    shards: Sequence[Shard], cache_dir: Path | None = None, progress: bool = True
) -> list[ShardIndex]:
    """Indexes shards one after the other, or takes their indexes from the cache.

    Args:
        shards: As `resolve_shards` gives them.
        cache_dir: As for `ShardIndex.load`.
        progress: Whether to show a progress bar on standard error.

    Raises:
        ShardError: A shard cannot be indexed.
    """
    with progress_bar(progress, transient=True) as bar:
        task = bar.add_task("indexing shards", total=len(shards))
        found = []
        for shard in shards:
            found.append(ShardIndex.load(shard, cache_dir))
            bar.advance(task)
    return found
