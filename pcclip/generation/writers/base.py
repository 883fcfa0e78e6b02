"""What the job asks of a writer, and what it gets back."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pcclip.errors import PcclipError
from pcclip.generation.prompts import Message
from pcclip.generation.rows import Described, Row


@dataclass
class Sampling:
    """How a language model samples its answers.

    Args:
        temperature: 0 takes the likeliest token.
        top_p: Share of the probability that is drawn from.
        max_tokens: Longest answer, in tokens.
        stop: Texts that end an answer.
        seed: With a row's key it seeds that row's sampling.
        extra: Further fields, by the engine's own names.
    """

    temperature: float = 0.7
    top_p: float = 0.95
    max_tokens: int = 128
    stop: list[str] = field(default_factory=list)
    seed: int = 0
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuses values that no engine takes."""
        if self.temperature < 0 or not 0 < self.top_p <= 1 or self.max_tokens < 1:
            raise PcclipError(
                f"sampling: temperature {self.temperature}, top_p {self.top_p}, max_tokens "
                f"{self.max_tokens}: give 0 or more, a share above 0, and 1 or more."
            )

    def row_seed(self, key: str) -> int:
        """The seed of one row: the same whatever batch or run it is in."""
        text = f"{self.seed}/{key}".encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "little") >> 1


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a writer.

    Args:
        row: What it is about; `row.number` names it.
        messages: The chat; empty for writers that need no prompt.
        seed: Of its sampling.
        sampling: How to sample.
        schema: JSON schema that the answer must follow, if any.
    """

    row: Row
    messages: list[Message]
    seed: int
    sampling: Sampling
    schema: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a writer made of a request.

    Args:
        number: `row.number` of the request.
        text: As written; empty after an error.
        finish: Why it ended: `stop`, `length`, or the engine's own word.
        prompt_tokens: Tokens of the prompt.
        answer_tokens: Tokens of the answer.
        cached_tokens: Of the prompt's tokens, those that the prefix cache had.
        error: Why there is no text, or None.
        notes: What else the writer says about the text, for the triple's `source`.
    """

    number: int
    text: str
    finish: str = "stop"
    prompt_tokens: int = 0
    answer_tokens: int = 0
    cached_tokens: int = 0
    error: str | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


class EngineError(PcclipError):
    """A writer cannot go on at all."""


class Writer(Described, ABC):
    """Answers requests; a dataclass, whose fields a recipe sets."""

    name: ClassVar[str]
    needs_prompt: ClassVar[bool] = True

    @abstractmethod
    def write(self, requests: Iterator[Request]) -> Iterator[Answer | None]:
        """Answers every request once, in any order.

        Takes requests as it has room for them, so that memory does not grow with their number. What goes
        wrong with one row becomes an answer with an `error`.

        Yields:
            Answers; None at least every second while none comes, so that the caller can stop and report.

        Raises:
            EngineError: It cannot go on; requests not answered are lost to this call.
        """

    def model_name(self) -> str | None:
        """The model that writes, noted with every text; None where there is none."""
        return None

    def tokenizer_name(self) -> str | None:
        """Folder or name of the model's tokenizer, for counting tokens before a run."""
        return self.model_name()

    def statistics(self) -> dict[str, int]:
        """Counts worth showing, such as restarts and retries."""
        return {}

    def close(self) -> None:
        """Ends what `write` has started."""


class WrappedWriter(Writer):
    """A writer that has another one's texts written: to everyone else it is that one.

    Attributes:
        writer: The other one.
    """

    writer: Writer

    @property
    def name(self) -> str:  # type: ignore[override]
        """That of the writer."""
        return self.writer.name

    @property
    def needs_prompt(self) -> bool:  # type: ignore[override]
        """As the writer does."""
        return self.writer.needs_prompt

    def describe(self) -> dict[str, Any]:
        """The writer's description: how its texts come about changes none."""
        return self.writer.describe()

    def model_name(self) -> str | None:
        """The writer's model."""
        return self.writer.model_name()

    def tokenizer_name(self) -> str | None:
        """The writer's tokenizer."""
        return self.writer.tokenizer_name()
