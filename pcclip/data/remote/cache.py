"""A folder of fetched shards, bounded in bytes, that all processes of a machine share.

Files are named by contents (or place and version) and size, and appear when they are whole and checked.
Three kinds of flock, which the kernel lets go of when a process dies:

- `ID.lock`, exclusive: who fetches the shard; the others wait for it, or go on with another shard.
- `ID.tar`, shared: a read is running. Who wants room takes it exclusively, empties the file and unlinks it:
  the room is free at once, though others may have it open, and they see that it has no name any more.
- `.space`, exclusive and short: who counts, evicts and reserves.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

from pcclip.data.remote.download import Fetched, download
from pcclip.data.remote.shard import RemoteShard
from pcclip.errors import PcclipError

_PATIENCE_S = 600.0
_POLL_S = 0.05
_COUNTS = struct.Struct("<6Q")


@dataclass
class Counts:
    """What all processes together did in a cache folder since it was made.

    Args:
        downloads: Shards fetched.
        bytes: That came over the network for them.
        retries: Attempts that failed and were made again.
        damaged: Downloads with a wrong sum.
        evictions: Shards removed to make room.
        waited_ms: Time that reads (not read-ahead) waited for a shard, in ms, summed over processes.
    """

    downloads: int = 0
    bytes: int = 0
    retries: int = 0
    damaged: int = 0
    evictions: int = 0
    waited_ms: int = 0

    def __str__(self) -> str:
        return (
            f"{self.downloads:,} fetched ({self.bytes / 1e6:,.1f} MB), {self.retries:,} attempts repeated, "
            f"{self.damaged:,} damaged, {self.evictions:,} evicted; waited {self.waited_ms / 1e3:,.1f} s"
        )

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: Counts) -> Counts:
        return Counts(*(a - b for a, b in zip(astuple(self), astuple(other), strict=True)))


class ShardCache:
    """The cache folder.

    Args:
        folder: Made when it is needed.
        limit: Bytes of shards in it, partial ones included, each with its final size.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit

    def path(self, shard: RemoteShard) -> Path:
        """Where a shard lies when it has been fetched."""
        return self.folder / f"{shard.id}.tar"

    def fetch(
        self, shard: RemoteShard, check: Callable[[Path], None] | None = None, wait: bool = True
    ) -> Path | None:
        """Brings a shard into the cache.

        Args:
            shard: What to fetch.
            check: Called with the whole file before it appears; it may raise.
            wait: Whether to wait where another process or thread fetches it.

        Returns:
            Its file, which another process may evict at any time; None where others fetch it and `wait` is
            false.

        Raises:
            ShardError: It cannot be fetched.
            PcclipError: It does not fit into the cache, or the folder cannot be written.
        """
        path = self.path(shard)
        if path.exists():
            return path
        started = time.monotonic()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with _locked(self.folder / f"{shard.id}.lock", wait) as mine:
                if not mine:
                    return None
                if not path.exists():
                    self._bring(shard, path, check)
        except OSError as error:
            raise PcclipError(
                f"{self.folder}: cannot be used as cache ({error.strerror}). Name another folder in "
                "remote.cache_dir or PCCLIP_REMOTE_CACHE."
            ) from error
        if wait:
            self.count(Counts(waited_ms=round((time.monotonic() - started) * 1000)))
        return path

    def counts(self) -> Counts:
        """Read at once."""
        try:
            return Counts(*_COUNTS.unpack((self.folder / ".counts").read_bytes()))
        except (OSError, struct.error):
            return Counts()

    def count(self, more: Counts) -> None:
        """Adds."""
        with _locked(self.folder / ".space", keep=True):
            (self.folder / ".counts").write_bytes(_COUNTS.pack(*astuple(self.counts() + more)))

    def _bring(self, shard: RemoteShard, path: Path, check: Callable[[Path], None] | None) -> None:
        part = path.with_suffix(".part")
        self._reserve(shard, part)
        fetched = Fetched()
        try:
            fetched = download(shard, part)
            if check is not None:
                check(part)
        except PcclipError:
            if part.stat().st_size >= shard.bytes:
                part.unlink()  # whole, but wrong: not to be gone on with
            raise
        with _locked(self.folder / ".space", keep=True):  # whoever counts the files sees one of the two names
            os.replace(part, path)
        self.count(Counts(1, fetched.bytes, fetched.retries, fetched.damaged))

    def _reserve(self, shard: RemoteShard, part: Path) -> None:
        if shard.bytes > self.limit:
            raise PcclipError(
                f"{shard}: has {shard.bytes:,} bytes, more than the whole cache {self.folder} may hold "
                f"({self.limit:,}). Raise remote.cache_gb."
            )
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            with _locked(self.folder / ".space", keep=True):
                if self._make_room(shard.bytes, part):
                    part.touch()
                    return
            if time.monotonic() > deadline:
                raise PcclipError(
                    f"{self.folder}: no room for {shard} ({shard.bytes:,} bytes) in {_PATIENCE_S:.0f} s: "
                    f"other downloads fill its {self.limit:,} bytes. Raise remote.cache_gb, or lower "
                    "remote.downloads."
                )
            time.sleep(_POLL_S)

    def _make_room(self, needed: int, own: Path) -> bool:
        files = []
        for path in self.folder.iterdir():
            if path.suffix in (".tar", ".part") and path != own:
                try:
                    files.append((path.stat().st_atime_ns, path))
                except FileNotFoundError:
                    continue  # a part that became a shard meanwhile: counted by its other name, or next time
        sizes = {path: int(path.stem.rsplit("-", 1)[-1]) for _, path in files}
        used, evicted = sum(sizes.values()), 0
        for _, path in sorted(files):
            if used + needed <= self.limit:
                break
            if _evict(path):
                used -= sizes[path]
                evicted += path.suffix == ".tar"
        if evicted:
            counts = self.counts() + Counts(evictions=evicted)
            (self.folder / ".counts").write_bytes(_COUNTS.pack(*astuple(counts)))
        return used + needed <= self.limit


def _evict(path: Path) -> bool:
    if path.suffix == ".part":
        with _locked(path.with_suffix(".lock"), wait=False) as mine:
            if mine:  # whoever fetched it is gone
                path.unlink(missing_ok=True)
            return mine
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
        os.ftruncate(descriptor, 0)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


@contextmanager
def _locked(path: Path, wait: bool = True, keep: bool = False) -> Iterator[bool]:
    """Holds a lock file, then removes it, unless it is to be kept; yields False where others hold it."""
    while True:
        descriptor = _open_lock(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            _close_lock(descriptor)
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            yield False
            return
        if _is_still(path, descriptor):
            break
        _close_lock(descriptor)  # whoever held it removed it: another file has the name now
    try:
        yield True
    finally:
        if not keep:
            path.unlink(missing_ok=True)
        _close_lock(descriptor)


# A child of fork that kept a copy of a lock's descriptor would hold the lock for as long as it lives.
_descriptors: set[int] = set()
_guard = threading.Lock()


def _open_lock(path: Path) -> int:
    with _guard:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        _descriptors.add(descriptor)
        return descriptor


def _close_lock(descriptor: int) -> None:
    with _guard:
        _descriptors.discard(descriptor)
        os.close(descriptor)


def _forked() -> None:
    for descriptor in _descriptors:
        os.close(descriptor)
    _descriptors.clear()
    _guard.release()


os.register_at_fork(before=_guard.acquire, after_in_parent=_guard.release, after_in_child=_forked)


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        named = os.stat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(named, os.fstat(descriptor))
