"""What the filter is told and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from pcclip.errors import PcclipError
from pcclip.generation.filters.languages import LANGUAGES


class Reason(StrEnum):
    """Why an answer was thrown away; the names are written into files, so they stay."""

    EMPTY = "empty"
    MARKUP = "markup"
    CODE = "code"
    REPETITION = "repetition"
    REFUSAL = "refusal"
    NO_DIFFERENCE = "no_difference"
    COPIED_CAPTION = "copied_caption"
    ECHO_OF_PROMPT = "echo_of_prompt"
    NOT_LANGUAGE = "not_language"
    TRUNCATED = "truncated"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "near_duplicate"


@dataclass(frozen=True)
class Limits:
    """How strict the filter is.

    Args:
        min_chars: The shortest text that is accepted, in characters after the cuts; 0: any length. The paper
            has 60.
        max_chars: The longest text that is accepted, in characters after the cuts.
        language: In which language answers must be, as a code of ISO 639-1 ("en").
        end_mark: When an answer without an end mark (full stop) counts as truncated: `never`, for engines
            that stop at the full stop; `punctuated`, where it has a capital and commas; `always`.
        max_character_run: How often a character may follow itself, in characters.
        max_compression: By how much zlib may shrink a text, in bytes before per byte after.
        max_loop: How much of a text may belong to phrases that come three times or more, as a share of its
            words.
        max_symbols: How many brackets, slashes, operators and the like a text may hold, as a share of its
            characters.
        min_function_words: How much of a text of twelve words or more must be function words (the, of, is),
            as a share of its words; babble has hardly any.
        max_echo: How much of an answer may come from the prompt, as a share of its runs of four words.
        max_copied: How much of an answer that names no difference may come from the captions, as a share of
            its words.
        comparing: Whether answers tell differences. False for captions and descriptions: they may say that
            things are alike, and a rewritten caption may use the caption's words, but must not equal it.

    Raises:
        PcclipError: A limit is out of range, or the language is unknown.
    """

    min_chars: int = 60
    max_chars: int = 1000
    language: str = "en"
    end_mark: Literal["never", "punctuated", "always"] = "punctuated"
    max_character_run: int = 5
    max_compression: float = 2.4
    max_loop: float = 0.8
    max_symbols: float = 0.06
    min_function_words: float = 0.1
    max_echo: float = 0.5
    max_copied: float = 0.85
    comparing: bool = True

    def __post_init__(self) -> None:
        """Refuses limits that contradict themselves."""
        if self.min_chars < 0 or self.max_chars < max(1, self.min_chars):
            raise PcclipError(
                f"filter: 'min_chars' is {self.min_chars} and 'max_chars' is {self.max_chars}; "
                "the first must not be negative, the second not below the first."
            )
        if self.max_character_run < 2 or self.max_compression <= 1:
            raise PcclipError(
                "filter: 'max_character_run' must be at least 2 and 'max_compression' above 1, or every text "
                "is a repetition."
            )
        for name in ("max_loop", "max_symbols", "min_function_words", "max_echo", "max_copied"):
            if not 0 < getattr(self, name) <= 1:
                raise PcclipError(
                    f"filter: {name!r} is {getattr(self, name)}; it is a share, above 0 up to 1."
                )
        if self.end_mark not in ("never", "punctuated", "always"):
            raise PcclipError(
                f"filter: 'end_mark' is {self.end_mark!r}; it is 'never', 'punctuated' or 'always'."
            )
        if self.language not in LANGUAGES:
            raise PcclipError(
                f"filter: 'language' is {self.language!r}; known are {', '.join(sorted(LANGUAGES))}."
            )


@dataclass(frozen=True)
class Context:
    """What the model was shown.

    Args:
        captions: The captions of the two pictures; empty where the model saw the pictures themselves.
        prompt: What is the same for all questions of a job: instructions, examples, the question. Give every
            answer the same pieces: they are read only once.
    """

    captions: tuple[str, ...] = ()
    prompt: tuple[str, ...] = ()


@dataclass(frozen=True)
class Accepted:
    """An answer that may be used.

    Args:
        text: The answer after the cuts.
        cuts: The names of the cut rules that took something away, each once.
    """

    text: str
    cuts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rejected:
    """An answer that is thrown away.

    Args:
        answer: As the model gave it.
        reason: Why.
        detail: What gave it away, for people who inspect rejections.
        text: What the cut rules had left of it.
        cuts: The names of the cut rules that took something away, each once.
    """

    answer: str
    reason: Reason
    detail: str = ""
    text: str = ""
    cuts: tuple[str, ...] = ()

    def record(self, **where: Any) -> dict[str, Any]:
        """A line for the file of rejections.

        Args:
            where: What tells the answer's place: its key, its pictures.
        """
        return {
            **where,
            "reason": self.reason.value,
            "detail": _unicode(self.detail),
            "answer": _unicode(self.answer),
            "cuts": list(self.cuts),
        }


def _unicode(text: str) -> str:
    """The text with half characters (lone surrogates) replaced, which no file can hold."""
    return text.encode("utf-8", "replace").decode()
