"""The writer of shard sets: atomic, deterministic to the byte."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import itertools
import os
import re
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from pcclip.data.files import write_atomically
from pcclip.data.index import ShardIndex
from pcclip.data.records import (
    IMAGE_EXTENSIONS,
    Kind,
    Payload,
    Picture,
    ShardError,
    Triple,
    check_key,
    stable_hash,
)
from pcclip.data.sets import MARKER, SET_FILE, ShardEntry, ShardSet
from pcclip.errors import PcclipError, writing
from pcclip.folders import sync_folder

_LEFT_OVER = re.compile(r"\d{6}\.tar|\.\d{6}\.tar\.tmp|\.set\.json(\.\w+)?\.tmp")


class ShardSetWriter:
    """Writes a picture set or a triple set into a folder; use it in a `with` block.

    A shard appears under its name only when it is complete and on disk, and `set.json` after all of them: a
    killed writer leaves a folder that `resolve_shards` refuses, and the next writer clears what it left. The
    same records give the same bytes.

    Args:
        folder: Made if it does not exist.
        kind: `pictures` or `triples`.
        records_per_shard: The last shard may hold fewer.
        card: Free notes for `set.json`: who made the set, from what, how.

    Raises:
        PcclipError: The folder holds a finished set, or another process is writing into it.
    """

    def __init__(
        self,
        folder: str | Path,
        kind: Kind,
        records_per_shard: int = 1000,
        card: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.kind = kind
        self.records_per_shard = records_per_shard
        self.card = dict(card or {})
        self.payload: Payload | None = None
        self._shards: list[ShardEntry] = []
        self._shard: _OpenShard | None = None
        self._keys = _SeenKeys()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = self._take_folder()

    def write_picture(self, picture: Picture) -> None:
        """Appends a picture record.

        Raises:
            ShardError: The key cannot be one or is already in the set, or the extension is none of ours.
        """
        self._expect("pictures", None)
        self._check_extension(picture.key, picture.extension)
        try:
            members = picture.members()
        except (TypeError, ValueError) as error:
            raise _not_storable(self.folder, picture.key, error) from error
        self._write(picture.key, members)

    def write_triple(
        self, triple: Triple, image1: bytes | None = None, image2: bytes | None = None, extension: str = "jpg"
    ) -> None:
        """Appends a triple record; with both encoded pictures the payload is `pixels`, with none `keys`.

        Raises:
            ShardError: The triple is not valid, or its key is in the set already.
            PcclipError: Its payload differs from the set's.
        """
        if (image1 is None) != (image2 is None):
            raise ShardError.at(
                self.folder, triple.key, "only one of its two pictures is given", "Give both, or none."
            )
        self._expect("triples", "keys" if image1 is None else "pixels")
        triple.check(self.folder)
        try:
            members = {"json": triple.to_json()}
        except (TypeError, ValueError) as error:
            raise _not_storable(self.folder, triple.key, error) from error
        if image1 is not None and image2 is not None:
            self._check_extension(triple.key, extension)
            members |= {f"1.{extension}": image1, f"2.{extension}": image2}
        self._write(triple.key, members)

    def close(self) -> None:
        """Finishes the last shard and writes `set.json`.

        Raises:
            PcclipError: Nothing was written.
        """
        try:
            self._finish_shard()
            if not self._shards:
                raise PcclipError(f"{self.folder}: no record was written, so there is no set to finish.")
            records = sum(shard.records for shard in self._shards)
            summary = ShardSet(self.kind, self.payload, records, tuple(self._shards), self.card)
            write_atomically(self.folder / SET_FILE, summary.to_json())
            (self.folder / MARKER).unlink(missing_ok=True)
        finally:
            self.abort()

    def abort(self) -> None:
        """Stops without a `set.json`, so that nothing reads the folder as a set."""
        if self._shard is not None:
            self._shard.discard()
            self._shard = None
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _take_folder(self) -> int:
        if (self.folder / SET_FILE).exists():
            raise PcclipError(
                f"{self.folder}: holds a finished set already. Delete the folder to write it again, or "
                "choose another."
            )
        marker = self.folder / MARKER
        # Only a folder that carries our marker is cleared: shards of another origin may have the same names.
        if not marker.exists() and (foreign := sorted(self.folder.glob("*.tar"))):
            raise PcclipError(
                f"{self.folder}: holds {foreign[0].name}, not written by pcclip. Choose another folder."
            )
        lock = os.open(marker, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if (self.folder / SET_FILE).exists():
                raise BlockingIOError
        except BlockingIOError:
            os.close(lock)
            raise PcclipError(
                f"{self.folder}: another process writes this set now. Wait for it, or choose another folder."
            ) from None
        for file in self.folder.iterdir():
            if _LEFT_OVER.fullmatch(file.name):
                file.unlink()
        return lock

    def _expect(self, kind: Kind, payload: Payload | None) -> None:
        if kind != self.kind:
            raise PcclipError(f"{self.folder}: this writer writes {self.kind}, not {kind}.")
        if (self._shards or self._shard is not None) and payload != self.payload:
            raise PcclipError(
                f"{self.folder}: a triple with payload {payload!r} among triples with payload "
                f"{self.payload!r}. Give both pictures with every triple, or with none."
            )
        self.payload = payload

    def _check_extension(self, key: str, extension: str) -> None:
        if extension not in IMAGE_EXTENSIONS:
            known = ", ".join(IMAGE_EXTENSIONS)
            raise ShardError.at(
                self.folder, key, f"{extension!r} is no picture extension", f"Use one of: {known}."
            )

    def _write(self, key: str, members: Mapping[str, bytes]) -> None:
        check_key(key, self.folder)
        if not self._keys.is_new(key, self.folder, self._shards):
            raise ShardError.at(
                self.folder, key, "the set holds this key already", "Give every record its own key."
            )
        if self._shard is None:
            self._shard = _OpenShard(self.folder, f"{len(self._shards):06d}.tar")
        self._shard.add(key, members)
        if self._shard.records >= self.records_per_shard:
            self._finish_shard()

    def _finish_shard(self) -> None:
        if self._shard is not None:
            self._shards.append(self._shard.finish())
            self._shard = None


class _SeenKeys:
    """Knows the keys of a set; remembers only the last one as long as keys come in ascending order."""

    def __init__(self) -> None:
        self._last = ""
        self._open: list[str] = []  # of the shard under way
        self._shards = 0
        self._hashes: set[int] | None = None

    def is_new(self, key: str, folder: Path, finished: Sequence[ShardEntry]) -> bool:
        """Whether the key is none of those before; it is remembered then."""
        if self._hashes is None:
            if len(finished) > self._shards:
                self._shards, self._open = len(finished), []
            if key > self._last:
                self._last = key
                self._open.append(key)
                return True
            before = (k for shard in finished for k in ShardIndex.load(folder / shard.name).keys)
            self._hashes = {stable_hash(k) for k in itertools.chain(before, self._open)}
        digest = stable_hash(key)
        if digest in self._hashes:
            return False
        self._hashes.add(digest)
        return True


class _OpenShard:
    """A shard under way: a hidden temporary file until `finish`."""

    def __init__(self, folder: Path, name: str) -> None:
        self.records = 0
        self._path = folder / name
        self._temporary = folder / f".{name}.tmp"
        self._file = _Hashing(self._temporary.open("wb"))
        self._tar = tarfile.open(fileobj=self._file, mode="w|", format=tarfile.USTAR_FORMAT)  # noqa: SIM115

    def add(self, key: str, members: Mapping[str, bytes]) -> None:
        headers = [self._header(key, extension, len(members[extension])) for extension in sorted(members)]
        with writing(self._path):
            for header, extension in zip(headers, sorted(members), strict=True):
                self._tar.addfile(header, io.BytesIO(members[extension]))
        self.records += 1

    def _header(self, key: str, extension: str, size: int) -> tarfile.TarInfo:
        # Everything that could differ between two machines (owner, time) keeps TarInfo's fixed default.
        header = tarfile.TarInfo(f"{key}.{extension}")
        header.size = size
        if len(header.name) > 99 or not header.name.isascii():
            try:
                header.tobuf(tarfile.USTAR_FORMAT)  # before anything of the record is written
            except ValueError as error:
                remedy = "Use a shorter key (at most 90 bytes)."
                raise ShardError.at(self._path, key, f"a tar cannot hold it ({error})", remedy) from error
        return header

    def finish(self) -> ShardEntry:
        with writing(self._path):
            self._tar.close()
            self._file.close_synced()
            os.replace(self._temporary, self._path)
            sync_folder(self._path.parent)
        return ShardEntry(self._path.name, self.records, self._file.size, self._file.hash.hexdigest())

    def discard(self) -> None:
        self._temporary.unlink(missing_ok=True)
        for opened in (self._tar, self._file.raw):
            with contextlib.suppress(OSError):  # a full disk does not take what they still hold
                opened.close()


class _Hashing(io.RawIOBase):
    """Writes through to a file and hashes what passes."""

    def __init__(self, raw: BinaryIO) -> None:
        self.raw = raw
        self.size = 0
        self.hash = hashlib.sha256()

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.hash.update(data)
        self.size += len(data)
        return self.raw.write(data)

    def close_synced(self) -> None:
        self.raw.flush()
        os.fsync(self.raw.fileno())
        self.raw.close()


def _not_storable(folder: Path, key: str, error: Exception) -> ShardError:
    remedy = "Texts must be valid Unicode, and notes plain json values without NaN."
    return ShardError.at(folder, key, f"cannot be stored as json ({error})", remedy)
