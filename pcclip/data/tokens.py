"""Token ids made beforehand: one sidecar per shard, for tokenizers that would hold up training."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pcclip.data.index import ShardIndex, sidecar_path
from pcclip.data.progress import progress_bar
from pcclip.data.records import Triple


class TokenTable:
    """Ids of all texts of one shard, read from disk where they lie; pickles as its path.

    Args:
        path: of the sidecar.
    """

    def __init__(self, path: Path) -> None:
        """See the class."""
        self.path = path
        self._arrays: tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]] | None = None

    def __reduce__(self) -> tuple[type, tuple[Path]]:
        """Workers map the file themselves."""
        return TokenTable, (self.path,)

    def row(self, record: int) -> npt.NDArray[np.int32]:
        """Ids of one text, without padding."""
        if self._arrays is None:
            flat = np.load(self.path, mmap_mode="r")
            count = int(flat[0])
            self._arrays = flat[1 + count :], np.concatenate([[0], np.cumsum(flat[1 : 1 + count])])
        ids, ends = self._arrays
        return ids[ends[record] : ends[record + 1]]

    @staticmethod
    def gather(tables: Sequence[TokenTable], located: Sequence[tuple[int, int]], pad_id: int) -> Tensor:
        """(B, L) ids of (shard, record) numbers, padded to the longest."""
        rows = [tables[shard].row(record) for shard, record in located]
        out = np.full((len(rows), max(map(len, rows))), pad_id, np.int64)
        for i, row in enumerate(rows):
            out[i, : len(row)] = row
        return torch.from_numpy(out)


def tokenize_shards(
    indexes: Sequence[ShardIndex],
    tokenizer: Callable[[list[str]], Tensor],
    fingerprint: str,
    pad_id: int,
    cache_dir: Path | None,
) -> list[TokenTable]:
    """Make (or find) the sidecars of triple shards.

    Args:
        indexes: of the shards.
        tokenizer: texts -> (n, context) ids.
        fingerprint: of the tokenizer; another one gets sidecars of its own.
        pad_id: trailing ids that are dropped.
        cache_dir: where sidecars go; beside the shards if None.
    """
    tables = []
    with progress_bar() as bar:
        task = bar.add_task("tokenizing", total=sum(len(i) for i in indexes))
        for index in indexes:
            stamp = "-".join(str(part) for part in index.stamp)
            path = sidecar_path(index.path, cache_dir, f"tokens-{fingerprint[:16]}-{stamp}.npy")
            if not path.is_file():
                _write(path, index, tokenizer, pad_id)
            tables.append(TokenTable(path))
            bar.advance(task, len(index))
    return tables


def _write(
    path: Path, index: ShardIndex, tokenizer: Callable[[list[str]], Tensor], pad_id: int
) -> None:
    rows: list[npt.NDArray[np.int32]] = []
    for start in range(0, len(index), 1024):
        records = range(start, min(start + 1024, len(index)))
        texts = [Triple.parse(index.key(r), index.read(r, "json"), index.path).difference for r in records]
        ids = tokenizer(texts).numpy().astype(np.int32)
        used = ids.shape[1] - (ids != pad_id)[:, ::-1].argmax(1)
        rows.extend(row[:n] for row, n in zip(ids, used, strict=True))
    lengths = np.array([len(index), *map(len, rows)], np.int32)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.npy")
    np.save(partial, np.concatenate([lengths, *rows]))
    os.replace(partial, path)
