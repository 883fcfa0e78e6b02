"""Sets of unordered pairs that are numbered from 0, without any of them being held in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Restriction = Literal["within_class", "across_class"]


class PairSpace(Protocol):
    """Pairs (i, j), i < j, of the pictures 0, 1, 2, ..."""

    @property
    def total(self) -> int:
        """How many there are."""

    def pairs(self, numbers: Integers) -> tuple[Integers, Integers]:
        """The pairs of some numbers below `total`: two arrays of pictures, each in the first the smaller."""


class AllPairs:
    """Every pair of n pictures.

    Args:
        count: n.
    """

    def __init__(self, count: int) -> None:
        self.total = count * (count - 1) // 2

    def pairs(self, numbers: Integers) -> tuple[Integers, Integers]:
        """Pair j (j - 1) / 2 + i is (i, j)."""
        return untriangled(numbers)


class WithinClass:
    """Every pair of two pictures of the same class.

    Args:
        classes: (n,) the class of each picture, as numbers.
    """

    def __init__(self, classes: Integers) -> None:
        self._order = np.argsort(classes, kind="stable")
        sizes = np.unique(classes, return_counts=True)[1]
        self._starts = np.cumsum(sizes) - sizes
        self._ends = np.cumsum(sizes * (sizes - 1) // 2)
        self.total = int(self._ends[-1]) if len(sizes) else 0

    def pairs(self, numbers: Integers) -> tuple[Integers, Integers]:
        """The first pairs are those of the first class, and so on."""
        at = np.searchsorted(self._ends, numbers, side="right")
        before = np.where(at > 0, self._ends[at - 1], 0)
        i, j = untriangled(numbers - before)
        return _sorted(self._order[self._starts[at] + i], self._order[self._starts[at] + j])


class AcrossClass:
    """Every pair of two pictures of different classes.

    Args:
        classes: (n,) the class of each picture, as numbers.
    """

    def __init__(self, classes: Integers) -> None:
        self._order = np.argsort(classes, kind="stable")
        _, which, sizes = np.unique(classes, return_inverse=True, return_counts=True)
        # By position in the order: where the next class begins; all pictures from there on are partners.
        self._next = np.cumsum(sizes)[which[self._order]]
        self._ends = np.cumsum(len(classes) - self._next)
        self.total = int(self._ends[-1]) if len(classes) else 0

    def pairs(self, numbers: Integers) -> tuple[Integers, Integers]:
        """The first pairs are those of the first picture of the first class, and so on."""
        at = np.searchsorted(self._ends, numbers, side="right")
        before = np.where(at > 0, self._ends[at - 1], 0)
        return _sorted(self._order[at], self._order[self._next[at] + numbers - before])


class ListedPairs:
    """Pairs that are listed in an array, which may lie on disk.

    Args:
        listed: (m, 2), each row with the smaller picture first, no row twice.
    """

    def __init__(self, listed: npt.NDArray[np.uint32]) -> None:
        self._listed = listed
        self.total = len(listed)

    def pairs(self, numbers: Integers) -> tuple[Integers, Integers]:
        """The rows."""
        rows = np.asarray(self._listed[numbers], np.int64)
        return rows[:, 0], rows[:, 1]


class Permutation:
    """The numbers below `total` in pseudo-random order, in constant memory: a small Feistel network.

    A network permutes the numbers of a power of four; those not below `total` are sent through again until
    they are ("cycle walking", Black and Rogaway 2002), which keeps it a permutation.

    Args:
        total: How many numbers, below 2^62.
        seed: Decides the order.
    """

    def __init__(self, total: int, seed: str) -> None:
        self.total = total
        self._half = np.uint64(max(1, ((total - 1).bit_length() + 1) // 2))
        self._mask = np.uint64((1 << int(self._half)) - 1)
        key = hashlib.blake2b(seed.encode(), digest_size=16).digest()
        self._rounds = [
            (
                np.uint64(int.from_bytes(key[4 * r : 4 * r + 4], "little") | 1),
                np.uint64(0x9E3779B97F4A7C15 * (r + 1) & 0xFFFFFFFFFFFFFFFF),
            )
            for r in range(4)
        ]

    def __call__(self, places: Integers) -> Integers:
        """Which numbers come at some places, both below `total`."""
        found = self._once(places.astype(np.uint64))
        above = np.flatnonzero(found >= self.total)
        while len(above):
            found[above] = self._once(found[above])
            above = above[found[above] >= self.total]
        return found.astype(np.int64)

    def _once(self, values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        left, right = values >> self._half, values & self._mask
        for odd, shift in self._rounds:
            mixed = (right + np.uint64(1)) * odd + shift  # wraps at 2^64, as is meant
            mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
            left, right = right, left ^ ((mixed ^ (mixed >> np.uint64(32))) & self._mask)
        return left << self._half | right


def triangled(i: Integers, j: Integers) -> Integers:
    """The number of a pair i < j among all pairs."""
    return j * (j - 1) // 2 + i


def untriangled(numbers: Integers) -> tuple[Integers, Integers]:
    """The pairs i < j whose numbers among all pairs these are."""
    j = ((1 + np.sqrt(8.0 * numbers + 1)) / 2).astype(np.int64)
    j -= j * (j - 1) // 2 > numbers  # the root is a float: right, or one too large or too small
    j += j * (j + 1) // 2 <= numbers
    return numbers - j * (j - 1) // 2, j


def class_numbers(classes: Sequence[str]) -> Integers:
    """Numbers for class names: the same for the same name."""
    known: dict[str, int] = {}
    return np.fromiter((known.setdefault(name, len(known)) for name in classes), np.int64, len(classes))


def _sorted(a: Any, b: Any) -> tuple[Integers, Integers]:
    return np.minimum(a, b), np.maximum(a, b)
