"""How shards at URLs are fetched and kept."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pcclip.errors import PcclipError

FOLDER_VARIABLE = "PCCLIP_REMOTE_CACHE"
LIMIT_VARIABLE = "PCCLIP_REMOTE_CACHE_GB"
_DEFAULT_GB = 50.0
_SECRET = re.compile(
    r"(^|_)(key|secret|token|pass(word|wd)?|credentials?|auth(orization)?|cookies?|headers|sas)(_|$)", re.I
)


@dataclass
class RemoteOptions:
    """How shards at URLs are fetched and kept.

    Credentials come from where the storage's own client takes them (environment, ~/.aws, ~/.netrc, fsspec's
    configuration), never from here: these settings are written into the run's folder.

    Args:
        cache_dir: Folder of fetched shards, shared by all processes of a machine, on a local disk. null:
            $PCCLIP_REMOTE_CACHE, or ~/.cache/pcclip/shards.
        cache_gb: Bound of the shards in that folder, in GB (10^9 bytes). null: $PCCLIP_REMOTE_CACHE_GB, or
            50.
        downloads: Shards that a process fetches at a time.
        retries: Failed attempts in a row, without a byte gained, after which a download is given up.
        timeout_s: Seconds without an answer or a byte after which a connection counts as lost.
        max_wait_s: Longest pause between two attempts, in seconds.
        storage_options: For fsspec's file system, such as `endpoint_url` for S3.

    Raises:
        PcclipError: A number makes no sense, or `storage_options` holds a secret.
    """

    cache_dir: str | None = None
    cache_gb: float | None = None
    downloads: int = 4
    retries: int = 8
    timeout_s: float = 60.0
    max_wait_s: float = 30.0
    storage_options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuses what cannot work."""
        numbers = {"downloads": self.downloads, "timeout_s": self.timeout_s, "max_wait_s": self.max_wait_s}
        for name, value in numbers.items() | ({"cache_gb": self.cache_gb or 1}).items():
            if value <= 0:
                raise PcclipError(f"remote.{name} is {value}: it must be more than 0")
        if self.retries < 0:
            raise PcclipError(f"remote.retries is {self.retries}: it must be 0 or more")
        for name in _names(self.storage_options):
            if _SECRET.search(name):
                raise PcclipError(
                    f"remote.storage_options holds {name!r}, which looks like a secret and would be written "
                    "into the run's config.yaml. Give it by the environment (AWS_ACCESS_KEY_ID, AWS_PROFILE, "
                    "FSSPEC_S3_KEY, ...) or in ~/.config/fsspec."
                )

    @property
    def folder(self) -> Path:
        """Of the cache."""
        if named := self.cache_dir or os.environ.get(FOLDER_VARIABLE):
            return Path(named).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pcclip" / "shards"

    @property
    def limit(self) -> int:
        """Of the cache, in bytes."""
        return int((self.cache_gb or _limit_of_the_environment()) * 1e9)


def _limit_of_the_environment() -> float:
    raw = os.environ.get(LIMIT_VARIABLE, "")
    try:
        value = float(raw or _DEFAULT_GB)
    except ValueError:
        value = 0.0
    if value <= 0:
        raise PcclipError(f"{LIMIT_VARIABLE} is {raw!r}: give a number of GB, such as 20")
    return value


def _names(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        yield str(name)
        if isinstance(value, Mapping):
            yield from _names(value)
