"""Pairs of pictures that look alike: near neighbours by the rows of an embedding bank.

Embeddings are rounded to whole numbers so small that their products add up exactly in float32. So the same
bank gives the same pairs on every machine, whatever its matrix library does, and nothing has to be kept for a
job that is stopped and goes on elsewhere.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pcclip.data.bank_files import (
    BANK_FILE,
    EMBEDDINGS,
    HASH_ROWS,
    HASHES,
    KEY_BYTES,
    KEY_ENDS,
    BankError,
)
from pcclip.data.records import SCHEMA, stable_hash
from pcclip.generation.pair_spaces import Integers, Restriction
from pcclip.untrusted import load_array, parse_json

_CELLS = 1 << 21  # of the table of similarities that is in memory at a time


def list_neighbours(
    vectors: npt.NDArray[np.float32],
    neighbours: int,
    below: float,
    classes: Integers | None = None,
    restriction: Restriction | None = None,
) -> npt.NDArray[np.uint32]:
    """Lists, on disk, the pairs of which one is among the nearest neighbours of the other.

    Memory is that of the vectors and a few numbers per picture, however many pairs there are.

    Args:
        vectors: (n, D) whole numbers, from `read_vectors`.
        neighbours: How many of each picture.
        below: Cosine from which on two pictures count as the same one and make no pair.
        classes: (n,) class of each picture; needed with a restriction.
        restriction: Neighbours within, or outside of, the picture's class only.

    Returns:
        (m, 2) picture numbers, the smaller first, no row twice; a map of a temporary file (in TMPDIR) that
        is gone with the array.
    """
    count = len(vectors)
    weakest = np.zeros(count, np.int64)  # score of each picture's last neighbour
    step = max(1, _CELLS // count)
    with tempfile.TemporaryFile(prefix="pcclip-neighbours-") as file:
        for start in range(0, count, step):
            rows = np.arange(start, min(start + step, count))
            allowed = None
            if classes is not None and restriction is not None:
                same = classes[rows][:, None] == classes[None, :]
                allowed = same if restriction == "within_class" else ~same
            scores = _scores(vectors, rows, below, allowed)
            near = _largest(scores, neighbours)
            best = np.take_along_axis(scores, near, axis=1)
            # A picture with fewer neighbours than asked for has all of them: anything is strong enough.
            weakest[rows] = np.where((best >= 0).all(axis=1), best.min(axis=1), 0)
            i, j = np.repeat(rows, near.shape[1]), near.ravel()
            score = best.ravel()
            # A pair is listed by the first of its pictures, or by the second where the first has it not.
            listed = (score >= 0) & ((j > i) | (score + j - i < weakest[j]))
            pairs = np.stack([np.minimum(i, j), np.maximum(i, j)], axis=1)[listed]
            file.write(pairs.astype(np.uint32).tobytes())
        file.flush()
        size = file.tell() // 8
        if not size:
            return np.empty((0, 2), np.uint32)
        return np.memmap(file, np.uint32, "r", shape=(size, 2))


def read_vectors(folder: str | Path, keys: Sequence[str]) -> npt.NDArray[np.float32]:
    """Reads the embeddings of some pictures from a bank, rounded to whole numbers.

    Args:
        folder: Of a finished embedding bank.
        keys: n pictures.

    Returns:
        (n, D) whole numbers; the products of two rows add up exactly, in any order.

    Raises:
        BankError: There is no bank, or it lacks a picture.
    """
    folder = Path(folder)
    try:
        about = parse_json((folder / BANK_FILE).read_bytes())
        if about["schema"] != SCHEMA or about["kind"] != "bank":
            raise ValueError(f"schema {about['schema']!r}, kind {about['kind']!r}")
        arrays = {name: load_array(folder / name, mmap_mode="r") for name in (EMBEDDINGS, HASHES, HASH_ROWS)}
        ends = load_array(folder / KEY_ENDS, mmap_mode="r")
        names = np.memmap(folder / KEY_BYTES, np.uint8, "r").data
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BankError(
            f"{folder}: cannot be read as an embedding bank ({error}). Build it with 'pcclip bank' from the "
            "picture set that pairs are drawn from."
        ) from error
    rows = _rows(folder, keys, arrays[HASHES], arrays[HASH_ROWS], ends, names)
    stored = arrays[EMBEDDINGS]
    # Cauchy and Schwarz: whatever part of a product's sum is added up, it stays below 4095^2 < 2^24.
    scale = 4095 - math.sqrt(stored.shape[1]) / 2
    vectors = np.empty((len(keys), stored.shape[1]), np.float32)
    for start in range(0, len(keys), 4096):
        part = np.asarray(stored[rows[start : start + 4096]], np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
        vectors[start : start + 4096] = np.rint(part * np.float32(scale))
    return vectors


def _rows(
    folder: Path, keys: Sequence[str], hashes: Any, hash_rows: Any, ends: Any, names: memoryview
) -> npt.NDArray[np.int64]:
    wanted = np.fromiter((stable_hash(key) for key in keys), np.uint64, len(keys))
    places = np.searchsorted(hashes, wanted).tolist()
    rows = np.full(len(keys), -1, np.int64)
    for number, (key, at) in enumerate(zip(keys, places, strict=True)):
        while at < len(hashes) and hashes[at] == wanted[number]:
            row = int(hash_rows[at])
            if names[ends[row] : ends[row + 1]] == key.encode("utf-8", "surrogateescape"):
                rows[number] = row
                break
            at += 1
    missing = np.flatnonzero(rows < 0)
    if len(missing):
        raise BankError(
            f"{folder}: has no picture {keys[int(missing[0])]!r} ({len(missing)} of {len(keys)} that pairs "
            "are drawn from are missing). Build the bank from their picture set."
        )
    return rows


def _scores(
    vectors: npt.NDArray[np.float32],
    rows: Integers,
    below: float,
    allowed: npt.NDArray[np.bool_] | None,
) -> Integers:
    """(len(rows), n) whole numbers that order neighbours by cosine, ties by picture; -1: no neighbour.

    A score is n * (product + 2^24) + (n - 1 - j), so that two pictures' scores of each other differ only by
    what their numbers add.
    """
    count = len(vectors)
    products = vectors[rows] @ vectors.T
    scale = 4095 - math.sqrt(vectors.shape[1]) / 2
    refused = products >= np.float32(below * scale * scale)
    refused[np.arange(len(rows)), rows] = True
    if allowed is not None:
        refused |= ~allowed
    scores = (products.astype(np.int64) + (1 << 24)) * count
    scores += np.arange(count - 1, -1, -1)
    scores[refused] = -1
    return scores


def _largest(scores: Integers, wanted: int) -> npt.NDArray[np.intp]:
    """The columns of the `wanted` largest of each row."""
    wanted = min(wanted, scores.shape[1])
    return np.argpartition(scores, scores.shape[1] - wanted, axis=1)[:, scores.shape[1] - wanted :]
