"""Captions made safe for a prompt: whatever a caption holds, it stays one line of plain text."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

JOINERS = "\u200c\u200d"  # several scripts cannot be spelled without them
_PLAIN = re.compile(r"[ !\"#$%&'()*+,\-./0-9:;=?@A-Z\\^_`a-z{|}~>]*")
# What tokenizers take for their own marks: <s>, </s>, <|im_end|>, <start_of_turn>, <<SYS>>, [INST], [gMASK].
_ANGLE = re.compile(r"<(?=[/|<!A-Za-z\uff5c])")
_SQUARE = re.compile(r"\[(?=/?[A-Za-z_]+\])")
_BAR = re.compile(r"([|\uff5c])>")


@lru_cache(maxsize=8192)
def clean_caption(text: str, limit: int) -> tuple[str, tuple[str, ...]]:
    """Makes a caption one line of plain text of at most `limit` characters.

    Control, format and unassigned characters and lone surrogates become spaces or go; what a tokenizer could
    take for a mark of its own (`<|im_end|>`, `[INST]`) is pulled apart by a space. Other scripts, braces,
    quotes and JSON stay as they are.

    Returns:
        The text, and what was done to it: of "control characters", "marks pulled apart", "shortened".
    """
    done: list[str] = []
    text = text.strip()
    if not _PLAIN.fullmatch(text):
        kept = "".join(map(_safe, text))
        if kept != text:
            done.append("control characters")
        text = _BAR.sub(r"\1 >", _SQUARE.sub("[ ", _ANGLE.sub("< ", kept)))
        if text != kept:
            done.append("marks pulled apart")
    text = " ".join(text.split())
    if len(text) > limit:
        cut = text[: limit + 1].rsplit(" ", 1)[0]
        text = cut if limit // 2 < len(cut) <= limit else text[:limit].rstrip()
        done.append("shortened")
    return text, tuple(done)


def _safe(character: str) -> str:
    if character.isascii():
        return character if " " <= character <= "~" else " "
    kind = unicodedata.category(character)
    if kind in ("Cc", "Zl", "Zp"):
        return " "
    if kind in ("Cf", "Cs", "Cn", "Co") and character not in JOINERS:
        return ""
    return character
