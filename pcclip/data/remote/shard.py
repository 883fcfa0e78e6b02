"""What is known of a shard at a URL before it is fetched."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pcclip.data.records import Kind, Payload
from pcclip.data.remote.options import RemoteOptions
from pcclip.errors import PcclipError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


@dataclass(frozen=True)
class RemoteShard:
    """One shard at a URL.

    Args:
        url: Of the tar.
        bytes: Its size.
        records: How many it holds; None where no `set.json` says so.
        sha256: Of the file; None where no `set.json` says so.
        version: What the storage says to tell versions of a file apart (ETag, time of change); None where
            `sha256` does.
        kind: Of the set that lists it: `pictures` or `triples`; None where none does.
        payload: Of that set's triples.
        options: How it is fetched.
    """

    url: str
    bytes: int
    records: int | None = None
    sha256: str | None = None
    version: str | None = None
    kind: Kind | None = None
    payload: Payload | None = None
    options: RemoteOptions = field(default_factory=RemoteOptions, compare=False)

    def __str__(self) -> str:
        return self.url

    def __hash__(self) -> int:
        return hash(self.url)

    @property
    def name(self) -> str:
        """File name."""
        return self.url.rsplit("/", 1)[-1]

    @property
    def stem(self) -> str:
        """File name without its extension."""
        return self.name.rsplit(".", 1)[0]

    @property
    def parent(self) -> str:
        """URL of the folder."""
        return self.url.rsplit("/", 1)[0]

    @property
    def id(self) -> str:
        """Name in the cache: of its contents, where these are known, else of the place and the version."""
        what = self.sha256 or f"{self.url}\n{self.version}"
        digest = hashlib.sha256(what.encode()).hexdigest()[:24]
        return f"{re.sub(r'[^A-Za-z0-9._-]', '_', self.stem)[:60]}-{digest}-{self.bytes}"


Shard = Path | RemoteShard
"""A shard on this machine, or at a URL."""


def is_url(spec: object) -> bool:
    """Whether a setting names something by a URL."""
    return isinstance(spec, str) and _URL.match(spec) is not None


def check_url(url: str) -> None:
    """Raises PcclipError where a URL holds credentials, which would end up in logs and run folders."""
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.query:
        bare = f"{parts.scheme}://{parts.netloc.rsplit('@', 1)[-1]}{parts.path}"
        what = "a user's name" if "@" in parts.netloc else "a query (a signature?)"
        raise PcclipError(
            f"{bare}: the URL holds {what}, which would be written into logs and run folders. Name the "
            "shards without it, and give credentials by the environment, ~/.netrc or ~/.config/fsspec."
        )
