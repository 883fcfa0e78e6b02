"""The questions of an evaluation set: which attribute, asked in which words."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pcclip.errors import PcclipError


@dataclass(frozen=True)
class Wording:
    """A sentence that says how the first of two pictures differs from the second.

    Attributes:
        id: Its name, the same for all attributes that it is asked about.
        held_out: Whether training never reads it.
        text: With `{more}` and `{less}` (degree), or `{first}` and `{second}` (category).
    """

    id: str
    held_out: bool
    text: str


@dataclass(frozen=True)
class Question:
    """What is asked about one attribute.

    Attributes:
        attribute: Name of the attribute in the picture records.
        kind: `degree` for numbers, `category` for texts.
        wordings: All wordings, seen and held out.
        more: Comparative for the greater value (degree).
        less: Comparative for the smaller value (degree).
        phrases: Plain phrases, each for one picture: `{"positive": ..., "negative": ...}` (degree), or one
            per value (category).
        margin: Two pictures are compared only if their values differ by more than this (degree).
    """

    attribute: str
    kind: Literal["degree", "category"]
    wordings: tuple[Wording, ...]
    more: str
    less: str
    phrases: dict[str, str]
    margin: float

    def statement(self, wording: Wording, first: str, second: str) -> str:
        """The sentence for an ordered pair of pictures.

        Args:
            wording: One of this question's.
            first: Value of the first picture (category); `positive` or `negative` (degree).
            second: The same of the second picture.
        """
        if self.kind == "category":
            return wording.text.format(first=first, second=second)
        more, less = (self.more, self.less) if first == "positive" else (self.less, self.more)
        return wording.text.format(more=more, less=less)


class Fields:
    """An object of JSON or YAML whose fields are taken with their type checked.

    Args:
        raw: The object.
        where: File and place in it, for errors.

    Raises:
        PcclipError: It is not an object.
    """

    def __init__(self, raw: Any, where: str) -> None:
        if not isinstance(raw, dict):
            raise PcclipError(f"{where}: should be an object, is {raw!r:.80}")
        self.raw: Mapping[str, Any] = raw
        self.where = where

    def error(self, problem: str) -> PcclipError:
        """An error that names the place."""
        return PcclipError(f"{self.where}: {problem}")

    def text(self, name: str) -> str:
        """A text that is not empty.

        Raises:
            PcclipError: It is absent or something else.
        """
        value = self._take(name)
        if not isinstance(value, str) or not value.strip():
            raise self.error(f"'{name}' should be a text that is not empty, is {value!r:.80}")
        return value

    def number(self, name: str, default: float) -> float:
        """A number that is not negative.

        Raises:
            PcclipError: It is something else.
        """
        value = self.raw.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise self.error(f"'{name}' should be a number of at least 0, is {value!r:.80}")
        return float(value)

    def flag(self, name: str) -> bool:
        """True or false.

        Raises:
            PcclipError: It is absent or something else.
        """
        value = self._take(name)
        if not isinstance(value, bool):
            raise self.error(f"'{name}' should be true or false, is {value!r:.80}")
        return value

    def texts(self, name: str, optional: bool = False) -> tuple[str, ...]:
        """A list of texts without repetition.

        Raises:
            PcclipError: It is something else, or absent and not optional.
        """
        value = self.raw.get(name, []) if optional else self._take(name)
        if not isinstance(value, list) or not all(isinstance(text, str) and text.strip() for text in value):
            raise self.error(f"'{name}' should be a list of texts, is {value!r:.80}")
        if len(set(value)) < len(value):
            twice = next(text for text in value if value.count(text) > 1)
            raise self.error(f"'{name}' holds {twice!r} more than once. Keep one.")
        return tuple(value)

    def objects(self, name: str) -> Iterator[Fields]:
        """A list of objects.

        Raises:
            PcclipError: It is absent or something else.
        """
        value = self._take(name)
        if not isinstance(value, list):
            raise self.error(f"'{name}' should be a list, is {value!r:.80}")
        for number, raw in enumerate(value):
            yield Fields(raw, f"{self.where}: {name}[{number}]")

    def mapping(self, name: str) -> dict[str, str]:
        """An object of texts, not empty.

        Raises:
            PcclipError: It is absent or something else.
        """
        inner = Fields(self._take(name), f"{self.where}: {name}")
        if not inner.raw:
            raise inner.error("is empty")
        return {key: inner.text(key) for key in inner.raw}

    def _take(self, name: str) -> Any:
        if name not in self.raw:
            raise self.error(f"lacks '{name}'; it has {', '.join(self.raw) or 'nothing'}")
        return self.raw[name]


def parse_question(fields: Fields, split: str) -> Question:
    """Reads one entry of `questions`, without the wordings that are asked on another split.

    Raises:
        PcclipError: It is not of the schema.
    """
    kind = fields.text("kind")
    if kind not in ("degree", "category"):
        raise fields.error(f"'kind' should be 'degree' or 'category', is {kind!r}")
    degree = kind == "degree"
    phrases = (
        {"positive": fields.text("positive"), "negative": fields.text("negative")}
        if degree
        else fields.mapping("values")
    )
    if len(phrases) < 2:
        raise fields.error("'values' needs at least two values to compare")
    wordings = tuple(
        _parse_wording(entry, degree)
        for entry in fields.objects("wordings")
        if entry.raw.get("split") in (None, split)
    )
    names = [wording.id for wording in wordings]
    if not names or len(set(names)) < len(names):
        raise fields.error(f"'wordings' should be one or more, each with an id of its own; ids: {names}")
    return Question(
        attribute=fields.text("attribute"),
        kind="degree" if degree else "category",
        wordings=wordings,
        more=fields.text("more") if degree else "",
        less=fields.text("less") if degree else "",
        phrases=phrases,
        margin=fields.number("margin", 0.0) if degree else 0.0,
    )


def check_questions(fields: Fields, questions: Sequence[Question]) -> None:
    """Checks what no question can say alone.

    Args:
        fields: The file that they are of.
        questions: All of them.

    Raises:
        PcclipError: Two are about one attribute, or a wording is held out in one and seen in another.
    """
    twice = [name for name, n in Counter(question.attribute for question in questions).items() if n > 1]
    if twice:
        raise fields.error(f"two questions are about {twice[0]!r}; make it one with all wordings")
    held_out: dict[str, bool] = {}
    for question in questions:
        for wording in question.wordings:
            if held_out.setdefault(wording.id, wording.held_out) != wording.held_out:
                raise fields.error(
                    f"the wording {wording.id!r} is held out for one attribute and seen for another; "
                    "an id stands for one wording in all questions"
                )


def _parse_wording(fields: Fields, degree: bool) -> Wording:
    text = fields.text("text")
    allowed = {"more", "less"} if degree else {"first", "second"}
    try:
        # A width, as in "{more:9999}", or a conversion would not be among the allowed names.
        used = {
            f"{name}{how or ''}{change or ''}"
            for _, name, how, change in string.Formatter().parse(text)
            if name is not None
        }
    except ValueError as error:
        raise fields.error(f"the text {text!r} cannot be filled in ({error})") from error
    if not used or not used <= allowed:
        raise fields.error(
            f"the text {text!r} has {', '.join(f'{{{name}}}' for name in sorted(used)) or 'no placeholder'}; "
            f"it should have {' or '.join(f'{{{name}}}' for name in sorted(allowed))}"
        )
    return Wording(fields.text("id"), fields.flag("held_out"), text)
