"""Which shards a URL names: a set, a tar, a glob or a brace pattern."""

from __future__ import annotations

import glob
from concurrent.futures import ThreadPoolExecutor

from braceexpand import braceexpand

from pcclip.data.remote.options import RemoteOptions
from pcclip.data.remote.retry import retrying
from pcclip.data.remote.shard import RemoteShard, check_url
from pcclip.data.remote.storage import describe, file_system, read_whole
from pcclip.data.sets import SET_FILE, ShardSet
from pcclip.errors import PcclipError


def list_shards(spec: str, options: RemoteOptions) -> list[RemoteShard]:
    """Finds the shards that a URL names, without reading them.

    Args:
        spec: URL of a folder with a `set.json`, of a tar, or a pattern of either with braces or, where the
            file system can list, `*`.
        options: How they are fetched.

    Raises:
        PcclipError: Nothing is there, or a listing or a shard's description cannot be had.
    """
    found: list[RemoteShard] = []
    alone: list[str] = []
    for url in braceexpand(spec):
        check_url(url)
        if glob.has_magic(url):
            alone += _globbed(url, options)
        elif url.endswith(".tar"):
            alone.append(url)
        else:
            found += _of_set(url.rstrip("/"), options)
    with ThreadPoolExecutor(options.downloads * 4) as pool:
        return found + list(pool.map(lambda url: _described(url, options), alone))


def remote_set(url: str, options: RemoteOptions) -> ShardSet:
    """What the `set.json` of a set at a URL says.

    Raises:
        PcclipError: There is none, or it cannot be read.
    """
    file = f"{url.rstrip('/')}/{SET_FILE}"
    check_url(file)
    try:
        data = retrying(file, options, lambda: read_whole(file, options))
    except PcclipError as error:
        if "no such file" in str(error):
            raise PcclipError(
                f"{url}: unfinished or foreign set: it has no {SET_FILE}. Finish uploading it, or pass "
                f"'{url}/*.tar' (where the server can list) or '{url}/{{00000..00099}}.tar' to read its "
                "shards anyway."
            ) from error
        raise
    return ShardSet.parse(data, file)


def _of_set(url: str, options: RemoteOptions) -> list[RemoteShard]:
    held = remote_set(url, options)
    return [
        RemoteShard(
            f"{url}/{entry.name}",
            entry.bytes,
            entry.records,
            entry.sha256,
            kind=held.kind,
            payload=held.payload,
            options=options,
        )
        for entry in held.shards
    ]


def _globbed(url: str, options: RemoteOptions) -> list[str]:
    system = file_system(url, options)
    try:
        names = retrying(url, options, lambda: system.glob(url))
    except NotImplementedError as error:
        raise PcclipError(
            f"{url}: this file system cannot list. Name the shards by braces: '{{00000..00099}}.tar'."
        ) from error
    return sorted(system.unstrip_protocol(name) for name in names)


def _described(url: str, options: RemoteOptions) -> RemoteShard:
    size, version = retrying(url, options, lambda: describe(url, options))
    if size is None:
        raise PcclipError(
            f"{url}: the server does not say how large it is (no Content-Length). Serve it by a server that "
            "does, or copy it."
        )
    return RemoteShard(url, int(size), version=version, options=options)
