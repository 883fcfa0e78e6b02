"""What all sets of labelled pictures share: labels joined with class names, prompts, splits."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pcclip.data.sources.base import SPLITS
from pcclip.data.sources.splits import check_shares, share_of
from pcclip.errors import PcclipError
from pcclip.evaluation.sets import EvaluationSet, Pictures, SetSource
from pcclip.evaluation.sources.words import Words, names_of, prompts_of

ALL = "all"
"""The split that is the whole set."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listing:
    """The pictures of one split as the files of a set name them.

    Attributes:
        place: File or folder of the set, for messages.
        keys: Keys of the N pictures.
        pictures: Of the same order.
        labels: (N,) the set's own label of each: a folder, a number, a WordNet id.
        classes: All labels of the set, in its own order.
        attributes: (N,) or empty.
    """

    place: Path
    keys: Sequence[str]
    pictures: Pictures
    labels: Sequence[str]
    classes: Sequence[str]
    attributes: Sequence[Mapping[str, Any]] = ()


@dataclass(kw_only=True)
class LabelledSource(SetSource):
    """Pictures with one class each.

    Args:
        name: Of the set, as in the metrics' names; null for its usual one. Give one where the same set is
            evaluated twice, such as with other prompts.
        prompts: `ensemble` (all that come with the set), `one` (the first of them), `openai` (open_clip's 80
            for ImageNet), a file, or a list of templates with one `{}`.
        held_out_prompts: The same for prompts that training does not use; null for the set's own.
        class_names: Names by the set's own labels, a list of names, or a file of either; null for the names
            that come with pcclip. CLIP_benchmark's JSON files can be used as they are.
        class_names_in_order: A list of class names is in the order of the set's own labels; else it is joined
            by name.
        allow_missing: Accept a copy that lacks pictures or classes; what is left out is logged.
    """

    name: str | None = None
    prompts: str | list[str] = "ensemble"
    held_out_prompts: str | list[str] | None = None
    class_names: str | list[str] | dict[str, str] | None = None
    class_names_in_order: bool = False
    allow_missing: bool = False

    words: ClassVar[str] = "photos"

    def load(self, split: str) -> EvaluationSet:
        """Lists the pictures of one split; none is decoded.

        Raises:
            PcclipError: The set is not there, has no such split, or its labels and class names cannot be
                joined.
        """
        if split not in self.splits():
            raise PcclipError(
                f"{self.set_name}: has no split {split!r}; its splits: {', '.join(self.splits())}"
            )
        listing = self._list(split)
        if not listing.keys:
            raise PcclipError(f"{listing.place}: no pictures in the split {split!r}. Is the copy complete?")
        _check_keys(listing)
        words = self._words()
        names = names_of(
            self.class_names,
            words,
            listing.classes,
            listing.place,
            self.class_names_in_order,
            self.allow_missing,
        )
        classes = self._present(listing, split)
        numbers = {label: number for number, label in enumerate(classes)}
        spoken = tuple(names[label] for label in classes)
        _warn_of_doubles(spoken, listing.place)
        held_out = self.held_out_prompts
        return EvaluationSet(
            name=self.set_name,
            split=split,
            path=listing.place,
            keys=tuple(listing.keys),
            pictures=listing.pictures,
            classes=spoken,
            labels=np.array([numbers[label] for label in listing.labels], np.int64),
            prompts=prompts_of(self.prompts, words),
            held_out_prompts=words.held_out if held_out is None else prompts_of(held_out, words),
            attributes=tuple(listing.attributes),  # type: ignore[arg-type]  # read only
        )

    @property
    def set_name(self) -> str:
        """As in the metrics' names."""
        return self.name or self.words

    def splits(self) -> tuple[str, ...]:
        """The splits that can be asked for."""
        return (*SPLITS, ALL)

    @abstractmethod
    def _list(self, split: str) -> Listing:
        """The pictures of one of the splits."""

    def _words(self) -> Words:
        """Class names and prompts that come with the set."""
        return Words.of(self.words)

    def _present(self, listing: Listing, split: str) -> list[str]:
        """The labels of the set, once it is sure that pictures and classes fit one another."""
        unknown = [label for label in dict.fromkeys(listing.labels) if label not in set(listing.classes)]
        if unknown:
            raise PcclipError(
                f"{listing.place}: pictures of the classes {', '.join(map(repr, unknown[:5]))}, which are "
                f"not among the set's {len(listing.classes)}. Is it this set, and complete?"
            )
        seen = set(listing.labels)
        empty = [label for label in listing.classes if label not in seen]
        if empty:
            told = (
                f"{listing.place}: {len(listing.classes)} classes, but the pictures of the split {split!r} "
                f"are of {len(seen)}; without a picture: {', '.join(map(repr, empty[:5]))}"
                f"{' ...' if len(empty) > 5 else ''}"
            )
            if not self.allow_missing:
                raise PcclipError(f"{told}. Complete the copy, or set 'allow_missing: true'.")
            _log.warning("%s; they stay among the classes to choose from", told)
        return list(listing.classes)


@dataclass(kw_only=True)
class SharedOutSource(LabelledSource):
    """A set that comes without splits: the hash of a picture's key says where it belongs.

    Args:
        train: Share of the pictures in the train split.
        validation: Share in the validation split; the rest is the test split.
        seed: Decides which.
    """

    train: float = 0.6
    validation: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses shares that are none."""
        check_shares(self.set_name, self.train, self.validation)

    def _within(self, key: str, split: str) -> bool:
        return split == ALL or share_of(key, self.train, self.validation, self.seed) == split


def _check_keys(listing: Listing) -> None:
    if len(set(listing.keys)) < len(listing.keys):
        twice = next(key for key, count in Counter(listing.keys).items() if count > 1)
        raise PcclipError(
            f"{listing.place}: two pictures have the key {twice!r} (a key is a path without its extension). "
            "Rename one, or take one away."
        )


def _warn_of_doubles(spoken: Sequence[str], place: Path) -> None:
    twice = [name for name, count in Counter(spoken).items() if count > 1]
    if twice:
        _log.warning(
            "%s: several classes have the name %s, so prompts cannot tell them apart",
            place,
            " or ".join(map(repr, twice)),
        )
