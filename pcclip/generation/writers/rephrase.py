"""The writer without a model for captions: the same facts in other words, by a recipe's own rules."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from pcclip.errors import PcclipError
from pcclip.generation.writers.base import Answer, Request, Writer

_ARTICLE = re.compile(r"\b([Aa])n? (?=([A-Za-z]+))")
_A_BEFORE = re.compile(r"(?i)(?:uni|use|usu|eu|one)|[^aeiou]")


@dataclass
class Rephrase(Writer):
    """Says a caption (`caption1` of a row) in other words and another order.

    First every rule of `orders` whose pattern is found is applied, one after the other; then every phrase of
    `phrases` that is left is replaced, the longest first and none within what was put in; "a" and "an" are
    set right at the end. A caption in which nothing changes gets no text, and so stays as it was.

    Args:
        phrases: Other phrases for a phrase, which is matched as whole words; one is drawn.
        orders: Templates for a pattern, of which one is drawn: the pattern is a regular expression, whose
            first match is replaced, and the templates name its groups, as in
            `"^this (?P<it>photo|image) shows (?P<what>.+)": ["{what}, shown in this {it}"]`.
        share: The chance that a rule or phrase that is found is applied, from 0 to 1.
        seed: With the row's key it decides every choice.

    Raises:
        PcclipError: A phrase or pattern has nothing to be replaced by; a pattern is no regular expression,
            or a template names a group that it does not have; `share` is no share.
    """

    name: ClassVar[str] = "rephrase"
    needs_prompt: ClassVar[bool] = False

    phrases: dict[str, list[str]]
    orders: dict[str, list[str]] = field(default_factory=dict)
    share: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses rules that cannot be applied."""
        if not 0 < self.share <= 1:
            raise PcclipError(f"writer: 'share' is {self.share}; give a number above 0 and at most 1.")
        for rules, what in ((self.phrases, "phrases"), (self.orders, "orders")):
            for found, others in rules.items():
                if not found or not others:
                    raise PcclipError(
                        f"writer.{what}: {found!r} has nothing to be replaced by; give it a list, or drop it."
                    )
        self._patterns = {pattern: self._checked(pattern) for pattern in self.orders}

    def write(self, requests: Iterator[Request]) -> Iterator[Answer | None]:
        """Answers in the order of the requests."""
        for request in requests:
            row = request.row
            if not row.captions1:
                yield Answer(row.number, "", "error", error="the row has no caption")
                continue
            text = self.rephrase(row.captions1[0], row.key)
            changed = text != row.captions1[0]
            yield Answer(row.number, text if changed else "", "stop" if changed else "nothing to rephrase")

    def rephrase(self, caption: str, key: str) -> str:
        """The caption in other words; `key` with the seed decides in which."""
        rng = random.Random(f"{self.seed}/{key}")
        text = caption
        for pattern, templates in self.orders.items():
            match = self._patterns[pattern].search(text)
            if match and rng.random() < self.share:
                new = rng.choice(templates).format(**match.groupdict(""))
                text = text[: match.start()] + new + text[match.end() :]
        text = self._phrase.sub(lambda match: self._other(match[0], rng), text)
        return caption if text == caption else _ARTICLE.sub(_article, text)

    def _other(self, phrase: str, rng: random.Random) -> str:
        return rng.choice(self.phrases[phrase]) if rng.random() < self.share else phrase

    def _checked(self, pattern: str) -> re.Pattern[str]:
        try:
            compiled = re.compile(pattern)
        except re.error as error:
            raise PcclipError(f"writer.orders: {pattern!r} is no regular expression ({error}).") from error
        groups = dict.fromkeys(compiled.groupindex, "")
        for template in self.orders[pattern]:
            try:
                template.format(**groups)
            except (KeyError, IndexError, ValueError) as error:
                raise PcclipError(
                    f"writer.orders: the template {template!r} does not fit its pattern {pattern!r}, whose "
                    f"groups are {sorted(groups) or 'none'} ({error!r})."
                ) from error
        return compiled

    @cached_property
    def _phrase(self) -> re.Pattern[str]:
        longest_first = sorted(self.phrases, key=lambda phrase: (-len(phrase), phrase))
        return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first)) or '(?!)'})(?!\w)")


def _article(match: re.Match[str]) -> str:
    return f"{match[1]}{'' if _A_BEFORE.match(match[2]) else 'n'} "
