"""The writer without a model for captioned pictures: one caption set against the other."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from string import Formatter
from typing import ClassVar

from pcclip.errors import PcclipError
from pcclip.generation.captions import clean_caption
from pcclip.generation.writers.base import Answer, Request, Writer

FRAMES: tuple[str, ...] = (
    "the first picture shows {one}, the second shows {two}",
    "the first picture shows {one}, while in the second there is {two}",
    "the first shows {one} rather than {two}",
    "the first picture is of {one}, not of {two}",
    "{one} instead of {two}",
    "{one}, not {two}",
    "{one} in the first picture, {two} in the second",
    "the second picture shows {two}, the first shows {one}",
    "unlike the second, which shows {two}, the first shows {one}",
    "{two} in the second picture, {one} in the first",
    "picture 1: {one}; picture 2: {two}",
    "we see {one} where the other picture has {two}",
)


@dataclass
class CaptionContrast(Writer):
    """Says what one picture shows and the other does not: a caption of each in a frame.

    A stand-in where no language model is at hand. It repeats what both pictures share, knows no comparatives
    ("larger", "darker"), and is as right as the captions are.

    Args:
        frames: Sentences with `{one}` for a caption of the first picture and `{two}` for one of the second.
        longest: Longest caption, in characters; longer ones are cut at a word.
        seed: With the row's key it decides frame and captions.

    Raises:
        PcclipError: A frame lacks a slot or has another, or `longest` is too short.
    """

    name: ClassVar[str] = "contrast"
    needs_prompt: ClassVar[bool] = False

    frames: list[str] = field(default_factory=lambda: list(FRAMES))
    longest: int = 160
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses frames that say nothing of one of the pictures."""
        if not self.frames or self.longest < 8:
            raise PcclipError("writer: give 'frames' one sentence or more, and 'longest' 8 or more.")
        for frame in self.frames:
            if sorted(_slots(frame)) != ["one", "two"]:
                raise PcclipError(
                    f"writer.frames: {frame!r} should have the slots {{one}} and {{two}}, once each, and no "
                    "other brace."
                )

    def write(self, requests: Iterator[Request]) -> Iterator[Answer | None]:
        """Answers in the order of the requests."""
        for request in requests:
            row = request.row
            one, two = (self._usable(captions) for captions in (row.captions1, row.captions2))
            if not one or not two:
                yield Answer(row.number, "", "error", error="a picture of the row has no caption")
                continue
            rng = random.Random(f"{self.seed}/{row.key}")  # by sha512: the same on every machine
            told = {"one": rng.choice(one), "two": rng.choice(two)}
            if told["one"].lower() == told["two"].lower():
                yield Answer(row.number, "", "both captions are the same")
                continue
            frame = rng.choice(self.frames)
            yield Answer(row.number, frame.format(**told), notes={"frames": [frame]})

    def _usable(self, captions: Sequence[str]) -> list[str]:
        """Captions as parts of a sentence: without a full stop, begun small where that is no name."""
        texts = (clean_caption(text, self.longest)[0].rstrip(" .;,") for text in captions)
        return [_begun_small(text) for text in texts if text]


def _begun_small(text: str) -> str:
    first = text.split(" ", 1)[0]
    return text[0].lower() + text[1:] if first.lower() in _OPENERS else text


_OPENERS = frozenset(
    ("a", "an", "the", "this", "these", "there", "some", "many", "several", "one", "two", "three", "four")
    + ("five", "people", "man", "men", "woman", "women")
)


def _slots(frame: str) -> list[str]:
    try:
        return [name for _, name, _, _ in Formatter().parse(frame) if name is not None]
    except ValueError:
        return []
