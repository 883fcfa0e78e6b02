"""What a small language model learns from: questions about pairs of pictures, and rule-written answers."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pcclip.data.records import Picture
from pcclip.data.sources.shapes import Shapes
from pcclip.demos.told import SEVERAL, differing, told_values
from pcclip.generation.prompts import Message, PromptTemplate
from pcclip.generation.rows import Row
from pcclip.generation.rules import RuleWriter
from pcclip.generation.vocabulary import Category

SPARE_CAPTIONS = 2  # beyond those that a question shows
_PAIRS_COUNTED = 1000
_KIND_WEIGHT = 0.4  # as in the demo's rule-written differences
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
        self._rules = RuleWriter(world.attributes(), world.references(), seed, [1.0], count=SEVERAL)
        self._weights = self._attribute_weights()

    def draw(self, count: int, short: float = 0.0) -> Iterator[Lesson]:
        """The next lessons.

        Args:
            count: How many.
            short: Share of them whose answers are in few words only ("larger", "a star and not a ring").
        """
        while count:
            pair, is_short = self._rng.sample(self._pictures, 2), self._rng.random() < short
            if (lesson := self._lesson(*pair, short=is_short)) is not None:
                yield lesson
                count -= 1

    def _attribute_weights(self) -> dict[str, float]:
        """How often each attribute is spoken of where it is told: the more, the rarer that is."""
        told = Counter[str]()
        for _ in range(_PAIRS_COUNTED):
            one, two = self._rng.sample(self._pictures, 2)
            told.update(differing(one.captions[SPARE_CAPTIONS:], two.captions[SPARE_CAPTIONS:]))
        return {
            a.name: (_KIND_WEIGHT if isinstance(a, Category) else 1.0) / max(told[a.name], 1)
            for a in self._rules.attributes
        }

    def _lesson(self, *pair: Picture, short: bool) -> Lesson | None:
        """A lesson about a pair; None where its captions tell no difference."""
        drawn = [self._rng.sample(picture.captions, len(picture.captions)) for picture in pair]
        shown = [tuple(captions[SPARE_CAPTIONS:]) for captions in drawn]
        keys, known = [picture.key for picture in pair], [picture.attributes for picture in pair]
        row = Row(0, "lesson", keys[0], keys[1], shown[0], shown[1], known[0], known[1])
        told = differing(*shown)
        names = [a.name for a in self._rules.differing(*known) if a.name in told]
        if not names:
            return None
        answers: list[str] = []
        while len(answers) < self._answers:
            chosen = self._rng.choices(names, [self._weights[name] for name in names])
            one, two = (told_values(*both, chosen) for both in zip(known, shown, strict=True))
            written = self._rules.write(f"{self._rng.random()}", one, two)
            if written is not None and (not short or written.frames[0].startswith("bare")):
                answers.append(written.text)
        described = [
            (template.render(row).messages, caption)
            for template, captions in zip(self._describe, drawn, strict=True)
            for caption in captions[:SPARE_CAPTIONS]
        ]
        return Lesson(row, self._prompt.render(row).messages, tuple(answers), tuple(described))
