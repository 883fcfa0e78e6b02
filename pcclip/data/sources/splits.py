"""Splits by share: where a picture goes depends on the seed and its key alone, not on the other pictures."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from pcclip.data.sources.base import CaptionedPictures, Split
from pcclip.errors import PcclipError


@dataclass(kw_only=True)
class SharedOut(CaptionedPictures):
    """Captioned pictures that are shared out to splits.

    Args:
        train: Share of the pictures in the train split.
        validation: Share in the validation split; the rest is the test split.
        seed: Decides which.
    """

    train: float = 0.9
    validation: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses shares that are none."""
        check_shares(self.name, self.train, self.validation)

    def split_of(self, key: str, test: bool = True) -> Split:
        """The split of a picture.

        Args:
            key: Of the picture.
            test: False where the test split is given: train and validation share what is left.
        """
        return share_of(key, self.train, self.validation, self.seed, test)


def check_shares(name: str, train: float, validation: float) -> None:
    """Makes sure that two shares are shares of one whole.

    Raises:
        PcclipError: They are not; the message begins with the set's name.
    """
    if min(train, validation) < 0 or not 0 < train + validation <= 1 + 1e-9:
        raise PcclipError(
            f"{name}: 'train' ({train}) and 'validation' ({validation}) are shares from 0 to 1, together at "
            "most 1; what they leave is the test split."
        )


def share_of(key: str, train: float, validation: float, seed: int = 0, test: bool = True) -> Split:
    """The split that a picture falls into by the hash of its key.

    Args:
        key: Of the picture.
        train: Share in the train split.
        validation: Share in the validation split; the rest is the test split.
        seed: Decides which.
        test: False where the test split is given: train and validation share what is left.
    """
    text = f"split/{seed}/{key}".encode("utf-8", "surrogateescape")
    both = train + validation
    place = int.from_bytes(hashlib.blake2b(text, digest_size=6).digest(), "little") / 2**48
    place *= 1 if test and both < 1 else both
    return "train" if place < train else "validation" if place < both else "test"
