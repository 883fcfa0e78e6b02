"""Reading files that anyone may have made: whatever is in them, a value, or a ValueError; no code runs."""

from __future__ import annotations

import io
import json
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt

_UNPACKED = 1 << 30  # bytes, to which 20 times the file's size is added

MAX_DEPTH = 64
"""Objects within objects that a file of pcclip's own may hold."""


def parse_json(text: str | bytes) -> Any:
    """Reads JSON.

    Of two entries of one name the last counts, as for every reader of Python. NaN and Infinity are numbers:
    img2dataset writes them.

    Raises:
        ValueError: It is no JSON, has a number of thousands of digits, or nests so deeply that it cannot be
            read.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("its brackets nest too deeply") from None


def check_plain(value: Any) -> None:
    """Checks that a value from JSON can be written again: finite numbers, valid Unicode, little nesting.

    Raises:
        ValueError: It cannot.
    """
    waiting = [(value, 1)]
    while waiting:
        at, depth = waiting.pop()
        if isinstance(at, dict | list):
            if depth > MAX_DEPTH:
                raise ValueError(f"its brackets nest more than {MAX_DEPTH} deep")
            parts = at if isinstance(at, list) else [*at.keys(), *at.values()]
            waiting += [(part, depth + 1) for part in parts]
        elif isinstance(at, str):
            at.encode()  # a lone surrogate is a UnicodeEncodeError, which is a ValueError
        elif isinstance(at, int) and abs(at) >= 1 << 64:
            raise ValueError("a whole number has more than 64 bits")
        elif isinstance(at, float) and not abs(at) < float("inf"):
            raise ValueError(f"{at} is no number that JSON has")


def load_array(file: Path | IO[bytes], mmap_mode: Literal["r"] | None = None) -> npt.NDArray[Any]:
    """Reads a `.npy` file; arrays of objects, which are pickles, are refused.

    Raises:
        ValueError: It is no such file, or a damaged one.
        OSError: It cannot be read.
    """
    with _only_value_errors():
        loaded = np.load(file, mmap_mode=mmap_mode, allow_pickle=False)
    if not isinstance(loaded, np.ndarray):
        loaded.close()
        raise ValueError("holds several arrays, not one")
    return loaded


def load_arrays(file: Path | bytes) -> dict[str, npt.NDArray[Any]]:
    """Reads all arrays of a `.npz` file; arrays of objects, which are pickles, are refused.

    One read, so that a writer that replaces the file meanwhile cannot mix two versions.

    Raises:
        ValueError: It is no such file, a damaged one, or unpacks to gigabytes.
        OSError: It cannot be read.
    """
    data = file if isinstance(file, bytes) else file.read_bytes()
    with _only_value_errors():
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _UNPACKED + 20 * len(data):
                raise ValueError("unpacks to far more than what is written to such a file")
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}


@contextmanager
def _only_value_errors() -> Iterator[None]:
    """What NumPy and zipfile raise at a file that was damaged, or made to harm, as one kind."""
    try:
        yield
    except (
        EOFError,
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
        SyntaxError,
        tokenize.TokenError,
        RuntimeError,  # an encrypted member; NotImplementedError and RecursionError too
        MemoryError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
