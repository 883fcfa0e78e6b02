"""One shard from its URL into a file, whatever the connection does."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pcclip.data.records import ShardError
from pcclip.data.remote.retry import Attempts, retrying
from pcclip.data.remote.shard import RemoteShard
from pcclip.data.remote.storage import Changed, describe, pieces
from pcclip.errors import PcclipError

_DAMAGED_TRIES = 2


@dataclass
class Fetched:
    """What a download cost: bytes that came, attempts that failed, times that the sum was wrong."""

    bytes: int = 0
    retries: int = 0
    damaged: int = 0


def download(shard: RemoteShard, part: Path) -> Fetched:
    """Fetches a shard, from where `part` ends on; afterwards `part` is whole and has been checked.

    Args:
        shard: What to fetch.
        part: File to go on with, or an empty one.

    Raises:
        ShardError: It cannot be fetched, is another file than the one that was listed, or damaged twice.
        PcclipError: `part` cannot be written.
    """
    fetched = Fetched()
    with part.open("r+b") as file:
        while True:
            _fill(shard, file, fetched)
            if shard.sha256 is None:
                _check_version(shard)
                return fetched
            file.seek(0)
            if hashlib.file_digest(file, "sha256").hexdigest() == shard.sha256:
                return fetched
            fetched.damaged += 1
            file.truncate(0)
            if fetched.damaged >= _DAMAGED_TRIES:
                raise ShardError(
                    f"{shard}: came {fetched.damaged} times with another sha256 than set.json lists: it was "
                    "changed or damaged where it lies. Upload the shard again, or write the set again."
                )


def _fill(shard: RemoteShard, file: BinaryIO, fetched: Fetched) -> None:
    attempts = Attempts(shard.url, shard.options)
    best = file.seek(0, os.SEEK_END)
    while (have := file.seek(0, os.SEEK_END)) < shard.bytes:
        try:
            _receive(shard, file, have, fetched)
            if (size := file.seek(0, os.SEEK_END)) < shard.bytes:
                raise ConnectionError(f"the connection ended after {size:,} of {shard.bytes:,} bytes")
        except PcclipError:
            raise
        except Changed:
            raise _changed(shard) from None
        except Exception as error:  # what fsspec's file systems raise is no closed set
            size = file.seek(0, os.SEEK_END)
            if size > best:  # a connection that drops again and again, but moves on, gets there
                best, attempts.failed = size, 0
            fetched.retries += 1
            attempts.failure(error, f"; {size:,} of {shard.bytes:,} bytes are there")


def _receive(shard: RemoteShard, file: BinaryIO, start: int, fetched: Fetched) -> None:
    for offset, data in pieces(shard, start):
        if offset + len(data) > shard.bytes:
            raise _changed(shard)
        try:
            if offset != file.tell():  # the server does not know ranges: from the beginning
                file.seek(offset)
                file.truncate()
            file.write(data)
            file.flush()
        except OSError as error:
            raise PcclipError(
                f"{file.name}: cannot be written ({error.strerror}). Make room there, or name another folder "
                "in remote.cache_dir, or a smaller remote.cache_gb."
            ) from error
        fetched.bytes += len(data)


def _check_version(shard: RemoteShard) -> None:
    """Where no sum is known: the file at the URL is still the one that was listed."""
    size, version = retrying(shard.url, shard.options, lambda: describe(shard.url, shard.options))
    if (size, version) != (shard.bytes, shard.version):
        raise _changed(shard)


def _changed(shard: RemoteShard) -> ShardError:
    return ShardError(
        f"{shard}: changed after it was listed. Start again, and do not write to a set in use; write a "
        "set.json again, if one lists it."
    )
