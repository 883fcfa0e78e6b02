"""Which pictures are compared with which: pairs without repeats, streamed, the same for the same seed."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pcclip.errors import PcclipError
from pcclip.generation.neighbours import list_neighbours, read_vectors
from pcclip.generation.pair_spaces import (
    AcrossClass,
    AllPairs,
    Integers,
    ListedPairs,
    PairSpace,
    Permutation,
    Restriction,
    WithinClass,
    class_numbers,
    triangled,
)

Direction = Literal["random", "fixed", "both"]
_BLOCK = 1 << 16


@dataclass
class PairPlan:
    """Which pairs to make.

    Args:
        pictures: How many pictures of the split take part, drawn at random; 0: all of them.
        pairs: How many pairs, drawn at random; 0: all that there are (not for `random`).
        method: `all`: every unordered pair of the pictures; `random`: as many as `pairs` says; `neighbours`:
            pairs of which one is among the `neighbours` nearest of the other by `bank`, which are hard.
        restriction: Pairs `within_class` or `across_class` only; null: either.
        direction: Which picture a text describes: `random`; `fixed`: the one drawn first into the pool;
            `both`: two texts for each pair, one in each direction, so twice as many as `pairs`.
        bank: Folder of an embedding bank of the pictures; for `neighbours`.
        neighbours: Of each picture; for `neighbours`.
        same_from: Cosine from which on two pictures count as the same one and make no pair; for `neighbours`.
        order: `shuffled`; `grouped`: pairs with the same first picture come together, as far as a window of
            pairs goes, so that a language model reads what they share once.
        window: Pairs that are grouped at a time; memory grows with it (some 40 bytes each).
    """

    pictures: int
    pairs: int = 0
    method: Literal["all", "random", "neighbours"] = "random"
    restriction: Restriction | None = None
    direction: Direction = "random"
    bank: str | None = None
    neighbours: int = 10
    same_from: float = 0.999
    order: Literal["shuffled", "grouped"] = "shuffled"
    window: int = 1 << 20

    def __post_init__(self) -> None:
        """Refuses a plan that contradicts itself."""
        if self.pictures < 0 or self.pictures == 1:
            raise PcclipError(f"pairs: 'pictures' is {self.pictures}; give 2 or more, or 0 for all.")
        if self.pairs < 0 or self.neighbours < 1 or self.window < 1:
            raise PcclipError("pairs: 'pairs' is 0 or more, 'neighbours' and 'window' are 1 or more.")
        if self.method == "all" and self.pairs:
            raise PcclipError("pairs: method 'all' makes every pair; leave 'pairs' at 0 or use 'random'.")
        if self.method == "random" and self.pairs < 1:
            raise PcclipError("pairs: method 'random' needs 'pairs', how many pairs to make.")
        if self.method == "neighbours" and self.bank is None:
            raise PcclipError(
                "pairs: method 'neighbours' needs 'bank', the folder of an embedding bank of the pictures "
                "('pcclip bank' makes one)."
            )
        if self.method != "neighbours" and self.bank is not None:
            raise PcclipError(f"pairs: 'bank' is for method 'neighbours', but the method is {self.method!r}.")


class Pairs:
    """A stream of pairs that can be read from any row on; memory does not grow with their number.

    No picture comes with itself and no unordered pair comes twice, but once in each direction where
    `direction` is `both`. Make one by `make_pairs`.

    Args:
        keys: The pictures; no key twice.
        space: The unordered pairs to draw from.
        seed: Decides the order of the pairs and their directions.
        wanted: How many unordered pairs to draw; None: all.
        direction: See PairPlan.
        window: Pairs to group by their first picture at a time; 0: shuffled.
    """

    def __init__(
        self,
        keys: Sequence[str],
        space: PairSpace,
        seed: int,
        wanted: int | None = None,
        direction: Direction = "random",
        window: int = 0,
    ) -> None:
        self.keys = keys
        self.possible = space.total
        self.wanted = space.total if wanted is None else wanted
        self._space = space
        self._seed = seed
        self._direction: Direction = direction
        self._window = window
        self._sides = 2 if direction == "both" else 1
        self._order = Permutation(max(1, space.total), f"pairs/{seed}")

    def __len__(self) -> int:
        """Rows: pairs, times two where both directions are made."""
        return self.wanted * self._sides

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return self.rows()

    def everything(self) -> Pairs:
        """All possible pairs, shuffled, beginning with those that were wanted; to replace rejected ones."""
        return Pairs(self.keys, self._space, self._seed, None, self._direction)

    def rows(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[str, str]]:
        """The rows from `start` to `stop`, as keys of image1 and image2."""
        keys = self.keys
        for block in self.blocks(start, stop):
            for first, second in block.tolist():
                yield keys[first], keys[second]

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[npt.NDArray[np.uint32]]:
        """The same as arrays (b, 2) of places in `keys`; b differs."""
        stop = len(self) if stop is None else min(stop, len(self))
        unit = (self._window or _BLOCK) * self._sides
        for number in range(start // unit, -(-stop // unit)):
            first, last = max(start, number * unit), min(stop, (number + 1) * unit)
            if first >= last:
                continue
            if self._window:
                rows = self._grouped(number)[first - number * unit : last - number * unit]
                yield from (rows[at : at + _BLOCK] for at in range(0, len(rows), _BLOCK))
            else:
                drawn = self._drawn(first // self._sides, -(-last // self._sides))
                skipped = first % self._sides
                yield drawn[skipped : skipped + last - first]

    def _drawn(self, start: int, stop: int) -> npt.NDArray[np.uint32]:
        """The pairs at some places of the shuffled order, in one direction each or in both."""
        i, j = self._space.pairs(self._order(np.arange(start, stop)))
        if self._direction != "fixed":
            turned = self._turned(triangled(i, j))
            i, j = np.where(turned, j, i), np.where(turned, i, j)
        sides = [i, j, j, i] if self._direction == "both" else [i, j]
        return np.stack(sides, axis=1).astype(np.uint32).reshape(-1, 2)

    def _turned(self, numbers: Integers) -> npt.NDArray[np.bool_]:
        hashed, start = hashlib.blake2b, f"turn/{self._seed}/"
        bits = (hashed(f"{start}{n}".encode(), digest_size=1).digest()[0] & 1 for n in numbers.tolist())
        return np.fromiter(bits, np.bool_, len(numbers))

    def _grouped(self, number: int) -> npt.NDArray[np.uint32]:
        """The pairs of a window, ordered by their first picture."""
        start, stop = number * self._window, min((number + 1) * self._window, self.wanted)
        parts = [self._drawn(at, min(at + _BLOCK, stop)) for at in range(start, stop, _BLOCK)]
        rows = np.concatenate(parts)
        firsts = rows[:, 0].astype(np.int64)
        # Up and down in turns, so that a group goes on across the border of two windows.
        return rows[np.argsort(firsts if number % 2 == 0 else -firsts, kind="stable")]


def make_pairs(
    keys: Sequence[str], plan: PairPlan, seed: int, classes: Mapping[str, str | None] | None = None
) -> Pairs:
    """The pairs of a plan among the pictures of a pool.

    Args:
        keys: The pictures that take part (`draw_pool`); no key twice.
        plan: Which pairs.
        seed: Decides which pairs are drawn, their order and their directions.
        classes: Class of each picture; needed where the plan has a restriction.

    Raises:
        PcclipError: The plan asks for more pairs than there are, or a picture has no class or embedding.
    """
    numbers = None
    if plan.restriction is not None:
        named = [(classes or {}).get(key) for key in keys]
        known = [name for name in named if name is not None]
        if len(known) < len(named):
            raise PcclipError(
                f"pairs: restriction {plan.restriction!r} needs the class of every picture, but "
                f"{keys[named.index(None)]!r} has none ({len(named) - len(known)} of {len(named)} have none)."
            )
        numbers = class_numbers(known)
    space: PairSpace
    if plan.method == "neighbours":
        vectors = read_vectors(plan.bank or "", keys)
        listed = list_neighbours(vectors, plan.neighbours, plan.same_from, numbers, plan.restriction)
        space = ListedPairs(listed)
    elif numbers is None:
        space = AllPairs(len(keys))
    else:
        space = WithinClass(numbers) if plan.restriction == "within_class" else AcrossClass(numbers)
    if space.total < max(1, plan.pairs):
        raise PcclipError(
            f"pairs: {plan.pairs or 'all'} pairs asked for, but {len(keys)} pictures make {space.total} "
            f"(method {plan.method!r}, restriction {plan.restriction!r}). Lower 'pairs' or raise 'pictures'."
        )
    window = plan.window if plan.order == "grouped" else 0
    return Pairs(keys, space, seed, plan.pairs or None, plan.direction, window)


def draw_pool(keys: Sequence[str], plan: PairPlan, seed: int) -> list[str]:
    """The pictures that take part in pairs, in an order of their own.

    Raises:
        PcclipError: There are fewer pictures than the plan asks for, or fewer than two.
    """
    wanted = plan.pictures or len(keys)
    if wanted > len(keys) or wanted < 2:
        raise PcclipError(
            f"pairs: the plan asks for {max(wanted, 2)} pictures, but the split has {len(keys)}. "
            "Lower 'pictures' or make more pictures."
        )
    return random.Random(f"pool/{seed}").sample(list(keys), wanted)
