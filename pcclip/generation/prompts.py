"""Prompts: what a writer is asked about a row, as chat messages."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pcclip.data.decoding import open_picture
from pcclip.errors import PcclipError
from pcclip.generation.captions import clean_caption
from pcclip.generation.rows import HasBytes, Row

Message = dict[str, Any]
"""`role` and `content`: a text, or a list of parts as OpenAI's chat protocol has them."""

_SLOT = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_CAPTIONS = ("caption1", "caption2", "captions1", "captions2")
_PICTURES = ("picture1", "picture2")
_FORMATS = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG", "png"),
    (b"RIFF", "webp"),
)


class RowRejected(Exception):
    """A row that need not be asked: the message is the reason."""


@dataclass
class Example:
    """A worked example, shown before the question.

    Args:
        slots: What stands in the question's slots.
        answer: The answer that is wanted.
    """

    slots: dict[str, str]
    answer: str


@dataclass(frozen=True)
class Prompt:
    """A rendered prompt.

    Args:
        messages: The chat.
        captions: The captions of both pictures as they stand in it, where it has any.
        changes: What was done to captions, such as "shortened".
    """

    messages: list[Message]
    captions: tuple[str, ...]
    changes: tuple[str, ...]


@dataclass
class PromptTemplate:
    """How a row becomes a chat.

    Slots in `question`: `{caption1}` and `{caption2}` (one caption of each picture), `{captions1}` and
    `{captions2}` (all of them, one a line), `{picture1}` and `{picture2}` (the pictures themselves), and
    those named in `slots`. What fills a slot is never read for slots again; all other braces are plain text.

    Args:
        name: Of the prompt, noted with every text.
        version: Raise it with every change of wording.
        question: The user's message, with slots.
        system: The system message; empty for none.
        examples: Worked examples, as earlier turns of the chat.
        answer: `text`, or `json` to have the engine decode by `schema`.
        answer_field: The field of the JSON that holds the text; empty to take the whole JSON, which needs a
            `schema` and examples whose answers are JSON.
        schema: JSON schema of the answer; by default an object with `answer_field` alone.
        system_role: False for models whose chat template knows no system message: it then goes before the
            first question.
        caption: `first`: a picture's first caption; `drawn`: one by the picture's key, the same in all pairs.
        caption_characters: Longer captions are cut.
        slots: Further slots, filled from `Row.slots`.
    """

    name: str
    version: int
    question: str
    system: str = ""
    examples: list[Example] = field(default_factory=list)
    answer: Literal["text", "json"] = "text"
    answer_field: str = "difference"
    schema: dict[str, Any] | None = None
    system_role: bool = True
    caption: Literal["first", "drawn"] = "first"
    caption_characters: int = 400
    slots: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Refuses slots that nothing fills, and examples that leave slots open."""
        if self.caption_characters < 1:
            raise PcclipError(f"prompt {self.name!r}: 'caption_characters' must be 1 or more.")
        if not self.answer_field and self.schema is None:
            raise PcclipError(f"prompt {self.name!r}: an empty 'answer_field' needs a 'schema'.")
        self._pieces = _SLOT.split(self.question)
        used = self._pieces[1::2]
        known = [*_CAPTIONS, *_PICTURES, *self.slots]
        if unknown := [name for name in used if name not in known]:
            raise PcclipError(
                f"prompt {self.name!r}: nothing fills the slot {{{unknown[0]}}} of its question. Slots are "
                f"{', '.join(known)}; name others in 'slots'."
            )
        self._shows = tuple(name for name in _PICTURES if name in used)
        for number, example in enumerate(self.examples, 1):
            if missing := [n for n in used if n not in example.slots and n not in _PICTURES]:
                raise PcclipError(
                    f"prompt {self.name!r}: example {number} has nothing for the slot {{{missing[0]}}}."
                )
        self._before = self._fixed()

    @property
    def shows_pictures(self) -> bool:
        """Whether the pictures themselves are in the prompt."""
        return bool(self._shows)

    def json_schema(self) -> dict[str, Any] | None:
        """What the engine's decoding is held to, or None."""
        if self.answer == "text":
            return None
        return self.schema or {
            "type": "object",
            "properties": {self.answer_field: {"type": "string"}},
            "required": [self.answer_field],
            "additionalProperties": False,
        }

    def render(self, row: Row) -> Prompt:
        """Fills the question with a row.

        Raises:
            RowRejected: The row lacks what the question asks about.
        """
        if row.image1 == row.image2:
            raise RowRejected("a picture with itself")
        filled: dict[str, str] = {}
        captions: dict[int, str] = {}
        changes: list[str] = []
        for name in dict.fromkeys(self._pieces[1::2]):
            if name in _CAPTIONS:
                used = self._captions(
                    row, int(name[-1]), all_of_them=name.startswith("captions"), done=changes
                )
                filled[name] = captions[int(name[-1])] = used
            elif name not in _PICTURES:
                text, done = clean_caption(row.slots.get(name, ""), self.caption_characters)
                changes += done
                if not text:
                    raise RowRejected(f"empty slot {name}")
                filled[name] = text
        shown = {name: _data_url(getattr(row, name), name, row) for name in self._shows}
        question = self._fill(filled, shown)
        return Prompt(
            self._before + self._lead(question),
            tuple(captions[at] for at in sorted(captions)),
            tuple(changes),
        )

    def read_answer(self, text: str) -> str:
        """Takes the text out of an answer.

        Raises:
            RowRejected: The answer should be JSON and is not, or lacks the field.
        """
        if self.answer == "text":
            return text.strip()
        try:
            # not strict: what engines decode by a schema may hold bare control characters inside texts
            whole = json.loads(text, strict=False)
            value = whole[self.answer_field] if self.answer_field else text
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise RowRejected("answer is not the JSON asked for") from error
        if not isinstance(value, str):
            raise RowRejected("answer is not the JSON asked for")
        return value.strip()

    def _captions(self, row: Row, which: int, all_of_them: bool, done: list[str]) -> str:
        given = row.captions1 if which == 1 else row.captions2
        if not all_of_them and len(given) > 1:
            at = 0
            if self.caption == "drawn":
                key = row.image1 if which == 1 else row.image2
                digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=4).digest()
                at = int.from_bytes(digest, "little") % len(given)
            given = given[at : at + 1]
        texts = []
        for caption in given:
            text, changed = clean_caption(caption, self.caption_characters)
            done += changed
            if text:
                texts.append(text)
        if not texts:
            raise RowRejected("empty caption")
        return "\n".join(f"- {text}" for text in texts) if all_of_them else texts[0]

    def _fill(self, filled: Mapping[str, str], shown: Mapping[str, str]) -> str | list[Message]:
        """The question as one text, or as parts where it shows pictures."""
        parts: list[Message] = []
        text = ""
        for at, piece in enumerate(self._pieces):
            if at % 2 and piece in shown:
                parts += [{"type": "text", "text": text}] if text.strip() else []
                parts.append({"type": "image_url", "image_url": {"url": shown[piece]}})
                text = ""
            else:
                text += filled.get(piece, "") if at % 2 else piece
        if not parts:
            return text.strip()
        return parts + ([{"type": "text", "text": text}] if text.strip() else [])

    def _fixed(self) -> list[Message]:
        """The messages that all rows share."""
        messages: list[Message] = []
        if self.system.strip() and self.system_role:
            messages.append({"role": "system", "content": self.system.strip()})
        for number, example in enumerate(self.examples):
            question = self._fill(example.slots, {})
            if number == 0 and not self.system_role:
                question = f"{self.system.strip()}\n\n{question}".strip()
            answer = example.answer.strip()
            if self.answer == "json" and self.answer_field:
                answer = json.dumps({self.answer_field: answer}, ensure_ascii=False)
            messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return messages

    def _lead(self, question: str | list[Message]) -> list[Message]:
        """The last message; without a system role and examples the system text goes before it."""
        system = self.system.strip()
        if system and not self.system_role and not self.examples:
            if isinstance(question, str):
                question = f"{system}\n\n{question}"
            else:
                question = [{"type": "text", "text": system}, *question]
        return [{"role": "user", "content": question}]


def _data_url(picture: HasBytes | None, name: str, row: Row) -> str:
    if picture is None:
        raise RowRejected(f"no {name}")
    try:
        data = picture.read_bytes()
    except FileNotFoundError as error:
        raise RowRejected(f"no file for {name}") from error
    kind = next((kind for magic, kind in _FORMATS if data.startswith(magic)), None)
    if kind is None:
        raise RowRejected(f"{name} is neither JPEG, PNG nor WebP")
    try:
        open_picture(data).close()  # what a server could not open, or should not, is not sent to it
    except Exception as error:  # Pillow raises many kinds
        raise RowRejected(f"{name} cannot be decoded") from error
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
