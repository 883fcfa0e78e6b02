"""What a small language model learns from: questions about pairs of pictures, and rule-written answers."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pcclip.data.records import Picture
from pcclip.data.sources.shapes import Shapes
from pcclip.demos.told import SEVERAL, differing, told_values
from pcclip.generation.prompts import Message, PromptTemplate
from pcclip.generation.rows import Row
from pcclip.generation.rules import RuleWriter

SPARE_CAPTIONS = 2  # beyond those that a question shows
_DESCRIBE = ("First picture?", "Second picture?")


@dataclass(frozen=True)
class Lesson:
    """One pair of pictures, with what is asked about it.

    Args:
        row: The pair.
        messages: The question for their difference, as the writing job asks it.
        answers: Rule-written differences that the captions tell, each in a wording of its own.
        described: Further questions, with their answers: each picture described in words that the question
            does not show. A difference is a few words of a sentence; a description is full of what must be
            looked up in the captions, which is learnt from it much sooner.
    """

    row: Row
    messages: list[Message]
    answers: tuple[str, ...]
    described: tuple[tuple[list[Message], str], ...]


class Lessons:
    """Draws lessons from a world's pictures: any number of them, the same for the same seed.

    Args:
        pictures: Pictures with attributes and with `SPARE_CAPTIONS` more captions than a question shows.
        prompt: How a pair is asked about; what its last line asks is replaced for descriptions.
        answers: Answers for each question.
        seed: Decides pairs and answers.
    """

    def __init__(self, pictures: Sequence[Picture], prompt: PromptTemplate, answers: int, seed: int) -> None:
        world = Shapes()
        self._pictures, self._prompt, self._answers = list(pictures), prompt, answers
        shown = prompt.question.rstrip().rpartition("\n")[0]
        self._describe = [replace(prompt, question=f"{shown}\n{asked}") for asked in _DESCRIBE]
        self._rng = random.Random(f"lessons/{seed}")
        self._rules = RuleWriter(world.attributes(), world.references(), seed, [1.0], 0.4, count=SEVERAL)

    def draw(self, count: int, short: bool = False) -> Iterator[Lesson]:
        """The next lessons.

        Args:
            count: How many.
            short: With answers in few words ("larger", "a star and not a ring") only.
        """
        while count:
            if (lesson := self._lesson(*self._rng.sample(self._pictures, 2), short=short)) is not None:
                yield lesson
                count -= 1

    def _lesson(self, *pair: Picture, short: bool) -> Lesson | None:
        """A lesson about a pair; None where its captions tell no difference."""
        drawn = [self._rng.sample(picture.captions, len(picture.captions)) for picture in pair]
        shown = [tuple(captions[SPARE_CAPTIONS:]) for captions in drawn]
        keys, known = [picture.key for picture in pair], [picture.attributes for picture in pair]
        row = Row(0, "lesson", keys[0], keys[1], shown[0], shown[1], known[0], known[1])
        names = differing(*shown)
        values = [told_values(*both, names) for both in zip(known, shown, strict=True)]
        answers: list[str] = []
        while len(answers) < self._answers:
            written = self._rules.write(f"{self._rng.random()}", values[0], values[1])
            if written is None:
                return None
            if not short or written.frames[0].startswith("bare"):
                answers.append(written.text)
        described = [
            (template.render(row).messages, caption)
            for template, captions in zip(self._describe, drawn, strict=True)
            for caption in captions[:SPARE_CAPTIONS]
        ]
        return Lesson(row, self._prompt.render(row).messages, tuple(answers), tuple(described))
