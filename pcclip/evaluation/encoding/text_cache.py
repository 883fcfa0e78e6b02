"""Text embeddings that outlive a process: encoded once per text tower."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from pcclip.data.files import write_atomically
from pcclip.data.locks import only_one
from pcclip.errors import PcclipError
from pcclip.evaluation.statistics import Floats
from pcclip.untrusted import load_arrays


class TextCache:
    """Embeddings of texts by one text tower, in one file.

    Args:
        folder: Where the file is kept.
        fingerprint: Of the text tower's weights, architecture and tokenizer.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        identity = hashlib.sha256(fingerprint.encode()).hexdigest()[:32]
        self._file = folder / f"texts-{identity}.npz"
        self._rows: dict[bytes, Floats] | None = None
        self._new: dict[bytes, Floats] = {}

    def find(self, texts: Iterable[str]) -> dict[str, Floats]:
        """Those of the texts that are known, with their unit embeddings (D,).

        Raises:
            PcclipError: The file is damaged.
        """
        if self._rows is None:
            self._rows = self._read()
        known = self._rows
        return {text: known[name] for text in texts if (name := _name(text)) in known}

    def add(self, texts: Sequence[str], rows: Floats) -> None:
        """Takes in new embeddings (len(texts), D); `save` writes them."""
        self._new.update(zip(map(_name, texts), rows, strict=True))

    def save(self) -> None:
        """Writes what is new beside what the file has by now; the file is never half written.

        Raises:
            PcclipError: The folder cannot be written to.
        """
        if not self._new:
            return
        with only_one(self._file.with_name(f".{self._file.name}.lock"), "saving text embeddings"):
            self._rows = self._read() | self._new
            names = np.frombuffer(b"".join(self._rows), np.uint8).reshape(len(self._rows), -1)
            buffer = io.BytesIO()
            np.savez(buffer, names=names, rows=np.stack(list(self._rows.values())))
            write_atomically(self._file, buffer.getvalue())
        self._new = {}

    def _read(self) -> dict[bytes, Floats]:
        if not self._file.is_file():
            return {}
        try:
            stored = load_arrays(self._file)
            names, rows = stored["names"], stored["rows"]
            return dict(zip((name.tobytes() for name in names), rows, strict=True))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PcclipError(f"{self._file}: damaged ({error}). Delete it; it is made again.") from error


def _name(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
