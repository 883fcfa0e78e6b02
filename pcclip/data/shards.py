"""Shards in one import: write a set, name its shards, read them."""

from __future__ import annotations

from pcclip.data.index import CACHE_FOLDER, ShardIndex, read_sidecar, sidecar_path, write_sidecar
from pcclip.data.indexes import load_indexes
from pcclip.data.records import ShardError
from pcclip.data.sets import SET_FILE, ShardEntry, ShardSet, resolve_shards
from pcclip.data.writer import ShardSetWriter

__all__ = [
    "CACHE_FOLDER",
    "SET_FILE",
    "ShardEntry",
    "ShardError",
    "ShardIndex",
    "ShardSet",
    "ShardSetWriter",
    "load_indexes",
    "read_sidecar",
    "resolve_shards",
    "sidecar_path",
    "write_sidecar",
]
