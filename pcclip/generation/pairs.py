"""Which pictures are compared with which: pairs without repeats, streamed, the same for the same seed."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pcclip.errors import PcclipError


@dataclass
class PairPlan:
    """Which pairs to make.

    Args:
        pictures: How many pictures of the split take part, drawn at random; 0: all of them.
        pairs: How many pairs; needed for `random`, and 0 for `all`.
        method: `all`: every unordered pair of the pictures; `random`: as many as `pairs` says.
    """

    pictures: int
    pairs: int = 0
    method: Literal["all", "random"] = "random"

    def __post_init__(self) -> None:
        """Refuses a plan that contradicts itself."""
        if self.pictures < 0 or self.pictures == 1:
            raise PcclipError(f"pairs: 'pictures' is {self.pictures}; give 2 or more, or 0 for all.")
        if self.method == "all" and self.pairs:
            raise PcclipError("pairs: method 'all' makes every pair; leave 'pairs' at 0 or use 'random'.")
        if self.method == "random" and self.pairs < 1:
            raise PcclipError("pairs: method 'random' needs 'pairs', how many pairs to make.")


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


def draw_pairs(keys: Sequence[str], seed: int) -> Iterator[tuple[str, str]]:
    """All pairs of distinct pictures in random order, each once and in one random direction.

    Streams: memory does not grow with the number of pairs, so take as many as are wanted.

    Args:
        keys: The pictures; no key twice.
        seed: Decides the order of the pairs and their directions.
    """
    total = len(keys) * (len(keys) - 1) // 2
    for number in _permuted(total, f"pairs/{seed}"):
        j = (1 + math.isqrt(1 + 8 * number)) // 2
        i = number - j * (j - 1) // 2
        turn = hashlib.blake2b(f"turn/{seed}/{number}".encode(), digest_size=1).digest()[0] & 1
        yield (keys[j], keys[i]) if turn else (keys[i], keys[j])


def _permuted(total: int, seed: str) -> Iterator[int]:
    """The numbers below `total` in pseudo-random order, in constant memory: a small Feistel network.

    A network permutes the numbers of a power of four; those not below `total` are sent through again until
    they are ("cycle walking", Black and Rogaway 2002), which keeps it a permutation.
    """
    half = max(1, ((total - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    key = hashlib.blake2b(seed.encode(), digest_size=16).digest()
    rounds = [
        (int.from_bytes(key[4 * r : 4 * r + 4], "little") | 1, 0x9E3779B97F4A7C15 * (r + 1)) for r in range(4)
    ]

    def once(value: int) -> int:
        left, right = value >> half, value & mask
        for odd, shift in rounds:
            mixed = ((right + 1) * odd + shift) & 0xFFFFFFFFFFFFFFFF
            mixed = ((mixed ^ (mixed >> 29)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
            left, right = right, left ^ ((mixed ^ (mixed >> 32)) & mask)
        return left << half | right

    for start in range(total):
        value = once(start)
        while value >= total:
            value = once(value)
        yield value
