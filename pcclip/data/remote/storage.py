"""Reading from object storage and HTTP servers through fsspec, and telling which failures pass."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from pcclip.data.remote.options import RemoteOptions
from pcclip.data.remote.shard import RemoteShard
from pcclip.errors import PcclipError

_PIECE = 1 << 20
_RANGE = 16 << 20
_VERSIONS = (
    "ETag",
    "etag",
    "md5Hash",
    "checksum",
    "Last-Modified",
    "LastModified",
    "mtime",
    "updated",
    "created",
)
_PASSING = {408, 425, 429, 500, 502, 503, 504}
_ANSWERS = {401: "access is denied (401)", 403: "access is denied (403)", 404: "there is no such file (404)"}
_HTTP = ("http", "https")


@dataclass(frozen=True)
class Failure:
    """What went wrong with a request.

    Args:
        what: In words.
        passes: Whether it may go well when it is tried again.
        wait_s: Seconds that the server asks to wait; None where it does not say.
    """

    what: str
    passes: bool
    wait_s: float | None = None


class Changed(Exception):
    """The file is not the one that was listed."""


_systems: dict[tuple[int, str, str], Any] = {}
_lock = threading.Lock()


def _fresh_lock() -> None:
    global _lock  # a thread that held it does not exist after a fork
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_fresh_lock)


def file_system(url: str, options: RemoteOptions) -> Any:
    """The file system of a URL: one per process, made when it is first needed.

    fsspec's event loop is a thread, which a forked process does not have.

    Raises:
        PcclipError: fsspec does not know the protocol, or lacks its package.
    """
    import fsspec

    protocol = url.split("://", 1)[0].lower()
    key = (
        os.getpid(),
        protocol,
        json.dumps(options.storage_options, sort_keys=True, default=str) + str(options.timeout_s),
    )
    with _lock:
        if key not in _systems:
            try:
                _systems[key] = fsspec.filesystem(protocol, **_settings(protocol, options))
            except (ImportError, ValueError, TypeError) as error:
                extra = (
                    "pip install 'pcclip[s3]'"
                    if protocol in ("s3", "s3a")
                    else f"pip install fsspec[{protocol}]"
                )
                raise PcclipError(
                    f"{url}: no file system for {protocol}:// ({error}). Is its package there ({extra}), and "
                    "are remote.storage_options its own?"
                ) from error
        return _systems[key]


def _settings(protocol: str, options: RemoteOptions) -> dict[str, Any]:
    """The user's options over ours, which make a lost connection fail soon and leave retrying to us."""
    ours: dict[str, Any] = {}
    if protocol in _HTTP:
        import aiohttp

        limit = aiohttp.ClientTimeout(total=None, sock_connect=options.timeout_s, sock_read=options.timeout_s)
        ours = {"client_kwargs": {"timeout": limit, "trust_env": True}}
    elif protocol in ("s3", "s3a"):
        limits = {"read_timeout": options.timeout_s, "connect_timeout": options.timeout_s}
        ours = {"config_kwargs": limits | {"retries": {"max_attempts": 1}}, "use_listings_cache": False}
    for name, value in options.storage_options.items():
        merge = isinstance(value, dict) and isinstance(ours.get(name), dict)
        ours[name] = ours[name] | value if merge else value
    return ours


def describe(url: str, options: RemoteOptions) -> tuple[int | None, str]:
    """Size in bytes of a file, None where the server does not say, and what tells its versions apart."""
    info = file_system(url, options).info(url)
    return info.get("size"), version_of(info)


def version_of(info: Any) -> str:
    """What tells versions of a file apart, of its description or of the headers of an answer."""
    return next((f"{name.lower()} {info[name]}" for name in _VERSIONS if info.get(name)), "")


def is_http(url: str) -> bool:
    """Whether a URL is read over HTTP, where answers have headers."""
    return url.split("://", 1)[0].lower() in _HTTP


def read_whole(url: str, options: RemoteOptions) -> bytes:
    """A small file."""
    system = file_system(url, options)
    return bytes(system.cat_file(url))


def pieces(shard: RemoteShard, start: int) -> Iterator[tuple[int, bytes]]:
    """The bytes of a shard from `start` on, as far as they come.

    Yields:
        Offset, which is 0 again where the server does not know ranges, and bytes.

    Raises:
        Changed: Where no sum is known: another version than the listed one is there.
    """
    system = file_system(shard.url, shard.options)
    if not is_http(shard.url):
        for offset in range(start, shard.bytes, _RANGE):
            data = system.cat_file(shard.url, start=offset, end=min(offset + _RANGE, shard.bytes))
            yield offset, data
            if len(data) < min(_RANGE, shard.bytes - offset):
                return
        return
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with system.open(shard.url, block_size=0, size=shard.bytes, headers=headers) as file:
        answer = file.r
        if shard.version and version_of(answer.headers) not in ("", shard.version):
            raise Changed
        offset = start if answer.status == 206 else 0
        while data := file.read(_PIECE):
            yield offset, data
            offset += len(data)


def failure_of(error: BaseException) -> Failure:
    """Sorts an exception of fsspec's file systems: their own wrappers hide the cause."""
    chain: list[BaseException] = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    for one in reversed(chain):
        status, headers = _answer(one)
        if status is not None and status >= 400:
            return Failure(
                _ANSWERS.get(status, f"the server answered {status}"), status in _PASSING, _wait(headers)
            )
    cause = chain[-1]
    if isinstance(error, FileNotFoundError) and cause is error:
        return Failure("there is no such file", False)
    if isinstance(error, PermissionError) or type(cause).__name__ in (
        "NoCredentialsError",
        "ProfileNotFound",
    ):
        return Failure(f"access is denied ({_told(cause)})", False)
    if isinstance(cause, TimeoutError):
        return Failure("no byte came in time", True)
    return Failure(_told(cause), True)


def _answer(error: BaseException) -> tuple[int | None, Any]:
    """Status and headers of the server's answer, if the exception knows them."""
    if isinstance(status := getattr(error, "status", None), int):
        return status, getattr(error, "headers", None) or {}
    response = getattr(error, "response", None)  # botocore's
    if isinstance(response, dict):
        about = response.get("ResponseMetadata", {})
        if isinstance(status := about.get("HTTPStatusCode"), int):
            return status, about.get("HTTPHeaders", {})
    return None, {}


def _wait(headers: Any) -> float | None:
    raw = headers.get("Retry-After") or headers.get("retry-after")
    if not raw:
        return None
    try:
        return max(float(raw), 0.0)
    except ValueError:
        pass
    try:
        import datetime

        moment = parsedate_to_datetime(raw)
        return max((moment - datetime.datetime.now(moment.tzinfo)).total_seconds(), 0.0)
    except (TypeError, ValueError):
        return None


def _told(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".rstrip(": ").split())[:200]
