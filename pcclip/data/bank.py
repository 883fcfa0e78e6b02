"""The embedding bank: every picture of a set through the frozen image tower, once, then read from disk."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from rich.progress import Progress

from pcclip.checksums import check_seal
from pcclip.crew import Crew
from pcclip.data.bank_files import (
    BANK_FILE,
    EMBEDDINGS,
    HASH_ROWS,
    HASHES,
    KEY_BYTES,
    KEY_ENDS,
    BankError,
    BankWriter,
    Dtype,
)
from pcclip.data.bank_pictures import Making
from pcclip.data.locks import only_one
from pcclip.data.progress import progress_bar
from pcclip.data.records import (
    SCHEMA,
    stable_hash,
)
from pcclip.data.remote.shard import Shard
from pcclip.untrusted import load_array, parse_json

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Bank", "BankError", "BankWriter", "build_bank"]


_TOLERANCE = 0.01
"""How far a row's length may be from 1; rounding to float16 moves it by less than a thousandth."""


class Bank:
    """Unit image embeddings by picture key, read from disk where they lie: opening reads almost nothing.

    Pickles as its path; safe in worker processes and threads. Make one by `Bank.open`.

    Attributes:
        folder: Of the bank.
        fingerprint: Of the weights and preprocessing that made it.
        dim: Width D of the embeddings.
        dtype: Of the stored rows.
        source: The shards that the pictures came from.
        files: sha256 of its files by their name; empty in banks of earlier versions.
    """

    def __init__(self, folder: Path, about: dict[str, Any]) -> None:
        self.folder = folder
        self.fingerprint: str = about["fingerprint"]
        self.dim: int = about["dim"]
        self.dtype: Dtype = about["dtype"]
        self.source: list[dict[str, Any]] = about["source"]
        self.files: dict[str, str] = about.get("files", {})
        self._about = about
        self._count: int = about["count"]
        mapped = load_array(folder / EMBEDDINGS, mmap_mode="r")
        if mapped.shape != (self._count, self.dim) or mapped.dtype != self.dtype:
            raise ValueError(f"{EMBEDDINGS} holds {mapped.dtype} {mapped.shape}, not what {BANK_FILE} says")
        self._base: int = mapped.offset  # type: ignore[attr-defined]  # it is mapped
        self._file = os.open(folder / EMBEDDINGS, os.O_RDONLY | os.O_CLOEXEC)
        self._hashes = np.asarray(load_array(folder / HASHES, mmap_mode="r"))
        self._hash_rows = np.asarray(load_array(folder / HASH_ROWS, mmap_mode="r"))
        self._key_ends = np.asarray(load_array(folder / KEY_ENDS, mmap_mode="r"))
        self._key_bytes = np.memmap(folder / KEY_BYTES, np.uint8, "r").data
        for file, array, dtype, length in (
            (HASHES, self._hashes, np.uint64, self._count),
            (HASH_ROWS, self._hash_rows, np.uint32, self._count),
            (KEY_ENDS, self._key_ends, np.int64, self._count + 1),
        ):
            if array.shape != (length,) or array.dtype != dtype:
                raise ValueError(
                    f"{file} holds {array.dtype} {array.shape}, not {dtype.__name__} ({length},)"
                )
        if int(self._key_ends[-1]) != len(self._key_bytes):
            raise ValueError(f"{KEY_BYTES} has {len(self._key_bytes)} bytes, not {int(self._key_ends[-1])}")

    @classmethod
    def open(cls, folder: str | Path, fingerprint: str | None) -> Bank:
        """Opens a bank.

        Args:
            folder: Of the bank.
            fingerprint: Of the model that will be used with it; None where none is (inspection).

        Raises:
            BankError: There is no bank, it is unfinished or damaged, or another model made it.
        """
        folder = Path(folder)
        try:
            about = parse_json((folder / BANK_FILE).read_bytes())
            if about["schema"] != SCHEMA or about["kind"] != "bank":
                raise ValueError(f"schema {about['schema']!r}, kind {about['kind']!r}")
            check_seal(about)
            bank = cls(folder, about)
        except FileNotFoundError as error:
            raise BankError(
                f"{folder}: is no finished embedding bank: {error.filename} is missing. Build it again."
            ) from error
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise BankError(
                f"{folder}: cannot be read as an embedding bank ({error}). Delete it and build it again."
            ) from error
        if fingerprint is not None and fingerprint != bank.fingerprint:
            raise BankError(
                f"{folder}: this bank was made with image weights and preprocessing of fingerprint "
                f"{bank.fingerprint}, but the model's is {fingerprint}. Name another folder and it is built "
                "there, or use the model that the bank was made with."
            )
        return bank

    def __len__(self) -> int:
        return self._count

    def keys(self) -> Iterator[str]:
        """The picture keys in the order of the rows."""
        for row in range(self._count):
            yield self._key(row).decode("utf-8", "surrogateescape")

    def rows(self, keys: Sequence[str]) -> npt.NDArray[np.int64]:
        """Finds the rows of pictures.

        Args:
            keys: n picture keys, repeats allowed.

        Returns:
            (n,) row numbers.

        Raises:
            BankError: A picture is not in the bank.
        """
        rows = self.find(keys)
        missing = np.flatnonzero(rows < 0)
        if len(missing):
            raise BankError(
                f"{self.folder}: has no picture {keys[int(missing[0])]!r} ({len(missing)} of {len(keys)} "
                f"asked for are missing; it holds {self._count}). Build it from the picture set that these "
                "keys name, or remove the records."
            )
        return rows

    def find(self, keys: Sequence[str]) -> npt.NDArray[np.int64]:
        """Like `rows`, with -1 for a picture that is not in the bank."""
        hashes = np.fromiter((stable_hash(key) for key in keys), np.uint64, len(keys))
        at = np.searchsorted(self._hashes, hashes)
        rows = self._hash_rows[np.minimum(at, self._count - 1)].astype(np.int64)
        if len(rows) and int(rows.max()) >= self._count:
            raise self._damaged(HASH_ROWS)
        starts, ends = self._key_ends[rows].tolist(), self._key_ends[rows + 1].tolist()
        for i, (key, start, end) in enumerate(zip(keys, starts, ends, strict=True)):
            if self._key_bytes[start:end] != key.encode("utf-8", "surrogateescape"):
                rows[i] = self._find_beside(key, int(at[i]), int(hashes[i]))
        return rows

    def embeddings(self, rows: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.float32]:
        """Reads embeddings.

        Args:
            rows: (n,) row numbers.

        Returns:
            (n, D) float32 unit rows, a copy.
        """
        # Positioned reads instead of the map: touching a mapped row makes some 160 KiB around it resident, so
        # that a training run would soon hold the whole bank in every worker.
        stored = np.empty((len(rows), self.dim), self.dtype)
        view, width = stored.reshape(-1).view(np.uint8).data, self.dim * stored.itemsize
        for i, row in enumerate(np.asarray(rows).tolist()):
            if os.preadv(self._file, [view[i * width : (i + 1) * width]], self._base + row * width) != width:
                raise BankError(f"{self.folder}: row {row} is cut off. Delete the bank and build it again.")
        values = stored.astype(np.float32, copy=False)
        lengths = np.sqrt(np.einsum("nd,nd->n", values, values))
        if not (np.abs(lengths - 1) < _TOLERANCE).all():  # NaN is not below it either
            raise self._damaged(EMBEDDINGS)
        if self.dtype != "float32":
            values /= lengths[:, None]
        return values

    def _damaged(self, file: str) -> BankError:
        return BankError(f"{self.folder / file}: damaged. Delete the bank and build it again.")

    def _key(self, row: int) -> bytes:
        return bytes(self._key_bytes[self._key_ends[row] : self._key_ends[row + 1]])

    def _find_beside(self, key: str, at: int, wanted: int) -> int:
        while at < self._count and int(self._hashes[at]) == wanted:
            row = int(self._hash_rows[at])
            if row >= self._count:
                raise self._damaged(HASH_ROWS)
            if self._key(row) == key.encode("utf-8", "surrogateescape"):
                return row
            at += 1
        return -1

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)

    def __reduce__(self) -> tuple[Any, ...]:
        return Bank, (self.folder, self._about)


def build_bank(
    folder: str | Path,
    shards: Sequence[Shard],
    preprocess: Callable[[Image.Image], Tensor],
    encode: Callable[[Tensor], Tensor],
    fingerprint: str,
    dim: int,
    batch_size: int = 64,
    num_workers: int = 2,
    dtype: Dtype = "float32",
    progress: bool = True,
    cache_dir: Path | None = None,
    start_method: str | None = None,
    checkpoint_seconds: float = 2.0,
    crew: Crew | None = None,
) -> Bank:
    """Builds the bank of the pictures in some shards, goes on with one, or opens a finished one.

    Of several processes that build the same folder one works and the others wait; those of a crew share its
    work. The same pictures, model, batch size and machine give the same bytes, interrupted or not, by one
    process or several.

    Args:
        folder: Of the bank.
        shards: Of picture sets, or of triples of payload `pixels`, whose pictures count once each.
        preprocess: Picture (RGB) to (3, H, W) tensor; runs in the workers.
        encode: (B, 3, H, W) to (B, dim) embeddings, of any length; brings the pixels to its own device.
        fingerprint: Of the weights and the preprocessing.
        dim: Width of the embeddings.
        batch_size: Pictures per call of `encode`.
        num_workers: Processes that decode; 0 decodes between the calls of `encode`.
        dtype: Of the stored rows; float16 halves the bank.
        progress: Whether to show a progress bar on standard error.
        cache_dir: Of the shards' indexes.
        start_method: Of the workers: fork, spawn or forkserver; None for Python's default.
        checkpoint_seconds: How much work a kill may cost.
        crew: Processes that build together, of which every one must call this; this one alone if None.

    Raises:
        ShardError: A picture cannot be decoded, or a record has none.
        BankError: The folder holds a bank of another model or of other pictures.
    """
    folder = Path(folder)
    crew = crew or Crew()
    making = Making(shards, preprocess, encode, batch_size, num_workers, cache_dir, start_method)

    def build() -> None:
        if (folder / BANK_FILE).is_file():
            return  # it may lie where no lock can be made: on read-only media
        folder.parent.mkdir(parents=True, exist_ok=True)
        with only_one(folder.parent / f".{folder.name}.lock", f"building {folder.name}"):
            if folder.exists():
                return
            keys, plan = making.pictures.keys, {"batch_size": batch_size}
            writer = BankWriter(folder, keys, dim, fingerprint, dtype, making.source, plan)
            with writer, progress_bar(progress) as bar:
                _fill(writer, making, crew, checkpoint_seconds, bar)

    crew.lead(build, making.job)
    bank, source = Bank.open(folder, fingerprint), making.source
    if (bank.source, bank.dtype, bank.dim) != (source, dtype, dim):
        raise BankError(
            f"{folder}: this bank was made as {bank.dtype} x {bank.dim} of {_describe(bank.source)}, but "
            f"{dtype} x {dim} of {_describe(source)} is asked for. Name another folder, or delete this one."
        )
    return bank


def _fill(writer: BankWriter, making: Making, crew: Crew, checkpoint_seconds: float, bar: Progress) -> None:
    # A checkpoint lies between batches, so the remaining batches are those of an uninterrupted build.
    first = -(-writer.done // making.batch_size)
    task = bar.add_task("embedding bank: pictures", total=writer.count, completed=writer.done)
    checkpointed = time.monotonic()
    for rows in crew.map(first, making.job(first)):
        writer.append(rows)
        if time.monotonic() - checkpointed >= checkpoint_seconds:
            writer.checkpoint()
            checkpointed = time.monotonic()
        bar.update(task, completed=writer.done)


def _describe(source: Sequence[dict[str, Any]]) -> str:
    names = [shard["name"] for shard in source]
    listed = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{sum(shard['records'] for shard in source)} pictures in {listed or 'unnamed shards'}"
