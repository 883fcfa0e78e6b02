"""The files of an embedding bank, and the writer that can be killed and goes on.

`embeddings.npy` holds unit rows; `keys.bin` and `key_ends.npy` the picture keys of the rows; `hashes.npy`
(64-bit hashes of the keys, sorted) and `hash_rows.npy` find a row without reading the keys; `bank.json` says
what it is, with the checksums of the other files. They are compared by `pcclip inspect BANK` only (1.4
seconds per GB): opening a bank reads almost nothing, and of a row that is read only the length is checked.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from pcclip.checksums import seal, sha256_of
from pcclip.data.files import write_atomically
from pcclip.data.records import SCHEMA, stable_hash
from pcclip.errors import PcclipError, writing
from pcclip.folders import sync_folder
from pcclip.untrusted import parse_json

BANK_FILE = "bank.json"
EMBEDDINGS = "embeddings.npy"
KEY_BYTES, KEY_ENDS = "keys.bin", "key_ends.npy"
HASHES, HASH_ROWS = "hashes.npy", "hash_rows.npy"
FILES = (EMBEDDINGS, KEY_BYTES, KEY_ENDS, HASHES, HASH_ROWS)
_PLAN, _PROGRESS = "plan.json", "progress.json"

Dtype = Literal["float32", "float16"]


class BankError(PcclipError):
    """An embedding bank is missing, of another model or other pictures, or lacks a picture."""


class BankWriter:
    """Writes a bank row by row; a writer that was killed is continued by the next with the same plan.

    The files grow in `.NAME.partial` beside the folder and get their name when all rows are there. One
    process at a time: the caller holds the lock (`build_bank` does).

    Args:
        folder: Of the bank; must not exist.
        keys: Picture keys, in the order of the rows; each once.
        dim: Width of the embeddings.
        fingerprint: Of the weights and the preprocessing that make the embeddings.
        dtype: Of the stored rows.
        source: What the pictures came from; goes into `bank.json`.
        plan: Whatever else the rows depend on (batch size): rows of another plan are not continued.

    Raises:
        BankError: Two pictures have the same key, or there are none.
    """

    def __init__(
        self,
        folder: str | Path,
        keys: Sequence[str],
        dim: int,
        fingerprint: str,
        dtype: Dtype = "float32",
        source: Sequence[Mapping[str, Any]] = (),
        plan: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.count = len(keys)
        self.dim = dim
        self.dtype = np.dtype(dtype)
        self.done = 0
        self._keys = keys
        self._partial = self.folder.parent / f".{self.folder.name}.partial"
        self._about = {
            "schema": SCHEMA,
            "kind": "bank",
            "fingerprint": fingerprint,
            "count": self.count,
            "dim": dim,
            "dtype": dtype,
            "source": list(source),
        }
        if not self.count:
            raise BankError(f"{self.folder}: there is no picture to make a bank of. Check the picture set.")
        blob = [key.encode("utf-8", "surrogateescape") for key in keys]
        digest = hashlib.sha256(b"\0".join(blob)).hexdigest()
        self._plan = json.dumps(
            self._about | {"keys": digest, "plan": dict(plan or {})}, sort_keys=True
        ).encode()
        if not self._resume():
            with writing(self._partial):
                self._start(keys, blob)
        self._file = os.open(self._partial / EMBEDDINGS, os.O_WRONLY)
        self._base = np.load(self._partial / EMBEDDINGS, mmap_mode="r").offset

    def append(self, embeddings: npt.NDArray[Any]) -> None:
        """Adds the next rows; they are scaled to unit length.

        Args:
            embeddings: (n, dim) real numbers.

        Raises:
            BankError: The shape is wrong, or a row is not finite or zero.
        """
        rows = np.asarray(embeddings, dtype=np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.dim or self.done + len(rows) > self.count:
            raise BankError(
                f"{self.folder}: rows of shape {rows.shape} do not fit the {self.count - self.done} rows of "
                f"{self.dim} that are missing."
            )
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        wrong = np.flatnonzero(~(np.isfinite(lengths[:, 0]) & (lengths[:, 0] > 0)))
        if len(wrong):
            raise BankError(
                f"{self.folder}: the embedding of picture {self._keys[self.done + int(wrong[0])]!r} is zero "
                "or not finite. Check the model's weights and precision."
            )
        data = np.ascontiguousarray(rows / lengths, dtype=self.dtype)
        with writing(self.folder / EMBEDDINGS):
            _pwrite(self._file, data, self._base + self.done * self.dim * self.dtype.itemsize)
        self.done += len(rows)

    def checkpoint(self) -> None:
        """Brings the rows to disk and notes how many there are, so that a kill loses none of them."""
        with writing(self.folder / EMBEDDINGS):
            os.fsync(self._file)
        write_atomically(self._partial / _PROGRESS, json.dumps({"rows": self.done}).encode())

    def close(self) -> None:
        """Finishes the bank and gives it its name.

        Raises:
            BankError: Rows are missing.
        """
        if self.done != self.count:
            raise BankError(f"{self.folder}: only {self.done} of {self.count} rows were written.")
        self.checkpoint()
        self.stop()
        files = {name: sha256_of(self._partial / name) for name in FILES}
        about = json.dumps(seal(self._about | {"files": files}), indent=1) + "\n"
        write_atomically(self._partial / BANK_FILE, about.encode())
        for file in (_PLAN, _PROGRESS, ".*.tmp"):  # the last: what a kill within write_atomically leaves
            for left_over in self._partial.glob(file):
                left_over.unlink()
        os.rename(self._partial, self.folder)
        sync_folder(self.folder.parent)

    def stop(self) -> None:
        """Leaves the bank unfinished, to be continued from its last checkpoint."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            with contextlib.suppress(OSError):  # the error that stopped us may be a full disk
                self.checkpoint()
            self.stop()

    def _resume(self) -> bool:
        try:
            if (self._partial / _PLAN).read_bytes() != self._plan:
                return False
            self.done = int(parse_json((self._partial / _PROGRESS).read_bytes())["rows"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return (self._partial / _PLAN).exists()
        return True

    def _start(self, keys: Sequence[str], blob: Sequence[bytes]) -> None:
        if self._partial.exists():
            shutil.rmtree(self._partial)
        self._partial.mkdir(parents=True)
        hashes = np.fromiter((stable_hash(key) for key in keys), np.uint64, self.count)
        order = np.argsort(hashes, kind="stable")
        _refuse_twice(self.folder, keys, hashes[order], order)
        (self._partial / KEY_BYTES).write_bytes(b"".join(blob))
        np.save(self._partial / KEY_ENDS, np.cumsum([0] + [len(key) for key in blob], dtype=np.int64))
        np.save(self._partial / HASHES, hashes[order])
        np.save(self._partial / HASH_ROWS, order.astype(np.uint32))
        np.lib.format.open_memmap(
            self._partial / EMBEDDINGS, mode="w+", dtype=self.dtype, shape=(self.count, self.dim)
        ).flush()
        for file in self._partial.iterdir():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
        write_atomically(self._partial / _PLAN, self._plan)  # last: without it the folder is made again


def _refuse_twice(
    folder: Path, keys: Sequence[str], hashes: npt.NDArray[np.uint64], order: npt.NDArray[np.intp]
) -> None:
    for at in np.flatnonzero(hashes[1:] == hashes[:-1]).tolist():
        same = [keys[row] for row in order[at : at + 2].tolist()]
        if same[0] == same[1]:
            raise BankError(
                f"{folder}: the picture key {same[0]!r} comes twice in the picture set. Keys must be unique: "
                "'pcclip inspect' names the shards."
            )


def _pwrite(descriptor: int, data: npt.NDArray[Any], offset: int) -> None:
    view = data.data.cast("B")
    while len(view):
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
