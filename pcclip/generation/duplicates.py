"""Texts that came before, exactly or nearly, over a whole job: streaming, in memory that does not grow."""

from __future__ import annotations

import hashlib
import zlib
from array import array
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pcclip.errors import PcclipError
from pcclip.generation.filters.text import runs, words
from pcclip.generation.filters.types import Reason, Rejected

_WAYS = 16
_SHINGLE = 3  # words
_HASHES = 64
_FOUND = 0.97  # chance that a pair at the threshold is looked at


@dataclass(frozen=True)
class DuplicateLimits:
    """How often a text may come.

    Args:
        copies: How many copies of one text stay in a set; 0: as many as come. Short differences ("larger")
            are rightly the same for many pairs.
        near: From which share of common runs of three words (Jaccard index) two texts are near duplicates, of
            which only the first stays; 0: near duplicates stay. Texts of twenty words that differ in one have
            about 0.7.
        remembered: How many of the latest texts a text is compared with, in texts; they take 16 bytes each,
            and about 160 more with `near`.

    Raises:
        PcclipError: A limit is out of range.
    """

    copies: int = 1
    near: float = 0.0
    remembered: int = 1_000_000

    def __post_init__(self) -> None:
        """Refuses limits that contradict themselves."""
        if self.copies < 0 or self.remembered < 1:
            raise PcclipError(
                f"duplicates: 'copies' is {self.copies} and 'remembered' is {self.remembered}; "
                "give 0 or more, and 1 or more."
            )
        if not 0 <= self.near <= 1:
            raise PcclipError(f"duplicates: 'near' is {self.near}; it is a share from 0 (off) to 1.")


class Duplicates:
    """Remembers texts and finds those that came before.

    What it finds depends only on the texts that it let pass, in their order: to go on with a stopped job,
    give it the accepted texts again.

    Args:
        limits: How often a text may come.
    """

    def __init__(self, limits: DuplicateLimits) -> None:
        self._copies = limits.copies
        self._exact = _Fingerprints(limits.remembered) if limits.copies else None
        self._near = _MinHashes(limits.near, limits.remembered) if limits.near else None

    def check(self, text: str) -> Rejected | None:
        """Rejects a text that came before, or remembers it.

        Args:
            text: An accepted answer. Case, punctuation and whitespace make no difference.

        Returns:
            The rejection; None: the text may stay.
        """
        said = " ".join(words(text)) or text
        digest = hashlib.blake2b(said.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        fingerprint = int.from_bytes(digest, "little")
        copy = 0
        if self._exact is not None:
            while copy < self._copies and self._exact.holds(_nth(fingerprint, copy)):
                copy += 1
            if copy == self._copies:
                return Rejected(text, Reason.DUPLICATE, f"copy {copy + 1}", text)
        # Further copies that are allowed are no news for the near ones.
        if self._near is not None and copy == 0:
            share = self._near.check(said)
            if share is not None:
                return Rejected(text, Reason.NEAR_DUPLICATE, f"{share:.0%} like an earlier one", text)
        if self._exact is not None:
            self._exact.add(_nth(fingerprint, copy))
        return None


def _nth(fingerprint: int, copy: int) -> int:
    return (fingerprint + copy * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF or 1


class _Fingerprints:
    """The latest numbers, in rows of a fixed table; a full row forgets its oldest."""

    def __init__(self, remembered: int) -> None:
        # Rows are half full on average, so that a few in a thousand are forgotten early.
        self._rows = max(1, 2 * remembered // _WAYS)
        self._table = array("Q", bytes(8 * self._rows * _WAYS))

    def holds(self, number: int) -> bool:
        at = number % self._rows * _WAYS
        return number in self._table[at : at + _WAYS]

    def add(self, number: int) -> None:
        at = number % self._rows * _WAYS
        self._table[at + 1 : at + _WAYS] = self._table[at : at + _WAYS - 1]
        self._table[at] = number


class _MinHashes:
    """MinHash signatures of the latest texts (Broder 1997), found by bands of them (Indyk and Motwani 1998).

    Shapes: H hashes, S shingles, B bands, R rows of a band, T texts.
    """

    def __init__(self, threshold: float, remembered: int) -> None:
        self._threshold = threshold
        rng = np.random.default_rng(0)
        self._factors_H1 = rng.integers(0, 2**63, (_HASHES, 1), dtype=np.uint64) * 2 + 1
        self._shifts_H1 = rng.integers(0, 2**63, (_HASHES, 1), dtype=np.uint64)
        self._rows = _band_rows(threshold)
        self._bands = _HASHES // self._rows
        self._mix_R = rng.integers(0, 2**63, self._rows, dtype=np.uint64) * 2 + 1
        self._slots = 1 << max(4, (remembered - 1).bit_length())
        self._remembered = remembered
        # The lowest byte of each hash: other bytes agree by chance once in 256.
        self._signatures_TH = np.zeros((remembered, _HASHES), np.uint8)
        # One more than the number of the latest text with this band; 0: none yet.
        self._latest_BS = np.zeros((self._bands, self._slots), np.int64)
        self._every_band = np.arange(self._bands)
        self._count = 0

    def check(self, said: str) -> float | None:
        """The share in common with an earlier text, if it is at the threshold; else remembers the text."""
        hashes_H = self._hash(said)
        signature_H = hashes_H.astype(np.uint8)
        banded_BR = hashes_H[: self._bands * self._rows].reshape(self._bands, self._rows)
        slots_B = ((banded_BR * self._mix_R).sum(axis=1) >> np.uint64(33)) % self._slots
        numbers = self._latest_BS[self._every_band, slots_B] - 1
        numbers = numbers[(numbers >= 0) & (numbers >= self._count - self._remembered)]
        if len(numbers):
            equal = (self._signatures_TH[numbers % self._remembered] == signature_H).mean(axis=1).max()
            share = max(0.0, float(equal) - 1 / 256) / (1 - 1 / 256)
            if share >= self._threshold:
                return share
        self._signatures_TH[self._count % self._remembered] = signature_H
        self._count += 1
        self._latest_BS[self._every_band, slots_B] = self._count
        return None

    def _hash(self, said: str) -> NDArray[np.uint64]:
        tokens = said.split(" ")
        shingles = runs(tokens, _SHINGLE) or [tuple(tokens)]
        keys_S = np.array(
            [zlib.crc32(" ".join(s).encode("utf-8", "surrogatepass")) for s in shingles], np.uint64
        )
        # Multiply-shift: the upper bits of a product with an odd number are a good hash.
        hashes_HS = (self._factors_H1 * keys_S + self._shifts_H1) >> np.uint64(32)
        return hashes_HS.min(axis=1)


def _band_rows(threshold: float) -> int:
    """The most rows of a band with which two texts at the threshold share a band almost always."""
    fitting = [r for r in range(1, 17) if 1 - (1 - threshold**r) ** (_HASHES // r) >= _FOUND]
    return max(fitting, default=1)
