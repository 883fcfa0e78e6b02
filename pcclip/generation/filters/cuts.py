"""What is cut off an answer: what the model wrote before it, after it and around it."""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache

from pcclip.generation.filters import phrases
from pcclip.generation.filters.refusals import refusal_fault
from pcclip.generation.filters.text import has_end_mark, is_question, plain, sentences
from pcclip.generation.filters.types import Context

_CONTROL_TOKEN = re.compile(
    r"<\|[^|<>\n]{1,40}\|>|</?s>|\[/?INST\]|<</?SYS>>|<(?:eos|bos|pad)>|<(?:start|end)_of_turn>(?:user|model)?"
)
_THOUGHT = re.compile(r"^.*</(?:think|thinking|reasoning|scratchpad)>", re.S)
_FENCED = re.compile(r"^```[a-z]*\n(.*?)\n?```$", re.S)
_ENUMERATED = re.compile(r"(?:^|(?<=[.!?;:,]\s))\(?\d{1,2}[.)]\s+(?=\S)")
_BULLETS = "-*+\u2022\u2013\u2014\xb7\u25aa\u25e6\u25ba\u27a2"
_LIST_MARK = re.compile(rf"^[ \t]*(?:[{_BULLETS}]|\(?\d{{1,2}}[.)]|\(?[a-h]\))(?:[ \t]+|$)", re.M)
_EMPHASIS = re.compile(r"(\*{1,3}|__|`)(?=\S)([^*_`\n]*?[^\s*_`])\1")
_INVISIBLE = re.compile("[\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff\u00ad]")
_QUOTES = {
    '"': '"',
    "'": "'",
    "`": "`",
    "\u201c": "\u201d",
    "\u2018": "\u2019",
    "\u201e": "\u201c",
    "\xab": "\xbb",
}
_NO_SENTENCE = ("{", "[", "<", "|", "```")
_KNOWN_AGAIN = 30  # characters of a prompt's line


def cut_control_tokens(text: str, context: Context) -> str:
    """Ends at the first token of the chat format; thoughts and tokens before the answer are dropped."""
    text = _THOUGHT.sub("", text)
    if not _CONTROL_TOKEN.search(text):
        return text
    return next((piece for piece in _CONTROL_TOKEN.split(text) if piece.strip()), "")


def unwrap(text: str, context: Context) -> str:
    """Takes an answer out of a code fence, and out of JSON that holds nothing else."""
    stripped = text.strip()
    fenced = _FENCED.match(stripped)
    if fenced:
        return fenced.group(1)
    if not (stripped.startswith("{") and stripped.endswith("}")):
        return text
    try:
        value = json.loads(stripped)
    except (ValueError, RecursionError):
        return text
    inner = next(iter(value.values())) if isinstance(value, dict) and len(value) == 1 else None
    return inner if isinstance(inner, str) else text


def cut_opening(text: str, context: Context) -> str:
    """Drops politeness, headings, labels and repeated questions before the answer."""
    if text.lstrip().startswith(_NO_SENTENCE):
        return text
    before = None
    while text != before:
        before = text
        labelled = (phrases.ANSWER_LABEL, phrases.HEADING) if ":" in text else ()
        for pattern in (phrases.POLITE, *labelled):
            rest = pattern.sub("", text, count=1)
            if rest != text:
                text = rest[:1].upper() + rest[1:] if text[:1].isupper() else rest
        pieces, at = sentences(text), 0
        while at < len(pieces) - 1 and (is_question(pieces[at]) or phrases.SEPARATOR.match(pieces[at])):
            at += 1
        text = "".join(pieces[at:])
    return text


def cut_run_on(text: str, context: Context) -> str:
    """Ends where a later sentence starts a new question, another turn, a note, or turns polite."""
    pieces = sentences(text)
    for at, piece in enumerate(pieces[1:], start=1):
        if (
            _starts_turn(piece, pieces[0], context)
            or phrases.ASIDE.match(plain(piece))
            or refusal_fault(piece)
        ):
            return "".join(pieces[:at])
    return text


def _starts_turn(piece: str, first: str, context: Context) -> bool:
    if phrases.SEPARATOR.match(piece) or phrases.TURN.match(piece):
        return True
    if piece.strip().startswith(_line_starts(context.prompt)):
        return True
    picture = phrases.PICTURE_LABEL.match(piece)
    return picture is not None and (
        picture.group(1) not in ("2", "") or not phrases.PICTURE_LABEL.match(first)
    )


@lru_cache(maxsize=16)
def _line_starts(prompt: tuple[str, ...]) -> tuple[str, ...]:
    """How the lines of a prompt begin, those that are long enough to be known again."""
    lines = {line.strip() for piece in prompt for line in piece.split("\n")}
    return tuple(sorted(line[:_KNOWN_AGAIN] for line in lines if len(line) >= _KNOWN_AGAIN))


def strip_marks(text: str, context: Context) -> str:
    """Takes off list marks, emphasis, quotes around the whole and superfluous whitespace; joins lines."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", _INVISIBLE.sub("", text))
    text = html.unescape(text)
    text = _EMPHASIS.sub(r"\2", text)
    if _ENUMERATED.match(text.lstrip()):
        text = _ENUMERATED.sub("", text.strip())
    listed = _LIST_MARK.search(text) is not None
    lines = [" ".join(_LIST_MARK.sub("", line).split()) for line in text.split("\n")]
    lines = [line for line in lines if line]
    if listed:
        lines = [_as_item(line) for line in lines[:-1]] + lines[-1:]
    text = " ".join(lines).strip("*_ ")
    while len(text) >= 2 and _QUOTES.get(text[0]) == text[-1] and text[0] not in text[1:-1]:
        text = text[1:-1].strip()
    return text


def _as_item(line: str) -> str:
    return line if has_end_mark(line) or line[-1] in ",;:" else line + ";"


CUTS: dict[str, Callable[[str, Context], str]] = {
    "control_tokens": cut_control_tokens,
    "wrapping": unwrap,
    "opening": cut_opening,
    "run_on": cut_run_on,
    "marks": strip_marks,
}
