"""Whether a text goes round in circles: characters, words, phrases, sentences, and what zlib makes of it."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from operator import eq

from pcclip.generation.filters.languages import ENGLISH
from pcclip.generation.filters.text import runs, sentences, words
from pcclip.generation.filters.types import Limits

_PHRASE = 12
_LEAST_BYTES = 100
# A group of two to eight characters, five times or more: "hahahahaha", "- - - - -".
_GROUP = re.compile(r"(\S.{1,7}?)\1{4,}", re.S)


def repetition_fault(text: str, limits: Limits) -> str | None:
    """What shows that a text repeats itself; None: nothing does."""
    return (
        _characters(text, limits.max_character_run)
        or _words(words(text), limits.max_loop)
        or _sentences(text)
        or _compression(text, limits.max_compression)
    )


@lru_cache(maxsize=8)
def _character_run(longest: int) -> re.Pattern[str]:
    return re.compile(rf"([^\s\d])\1{{{longest},}}")


def _characters(text: str, longest: int) -> str | None:
    match = _character_run(longest).search(text) or _GROUP.search(text)
    return f"{match.group()[:20]!r}" if match else None


def _words(found: Sequence[str], max_loop: float) -> str | None:
    """A word four times in a row, a phrase three times in a row, or phrases that fill the text."""
    # A loop says few different words; most texts can be told from one by that alone.
    if len(set(found)) > 0.75 * len(found):
        return None
    for length in range(1, min(_PHRASE, len(found) // 3) + 1):
        wanted = 3 if length == 1 else 2 * length
        if sum(map(eq, found, found[length:])) < wanted:
            continue
        same = 0
        for i in range(len(found) - length):
            same = same + 1 if found[i] == found[i + length] else 0
            if same == wanted:
                return " ".join(found[i + 1 : i + 1 + length]) + ", again and again"
    if len(found) < 9:
        return None
    for word, times in Counter(found).most_common(3):
        if times > (0.5 if word in ENGLISH else 0.4) * len(found) and times > 3:
            return f"{word!r} is {times} of {len(found)} words"
    counts = Counter(runs(found, 3))
    looped = [False] * len(found)
    for i, run in enumerate(runs(found, 3)):
        if counts[run] >= 3:
            looped[i : i + 3] = [True] * 3
    if sum(looped) > max_loop * len(found):
        return f"{sum(looped)} of {len(found)} words in phrases that come three times or more"
    if len(found) >= 20 and len(set(found)) < 0.3 * len(found):
        return f"{len(set(found))} different words among {len(found)}"
    return None


def _sentences(text: str) -> str | None:
    said = [" ".join(words(sentence)) for sentence in sentences(text)]
    twice = [sentence for sentence, times in Counter(said).items() if times > 1 and sentence.count(" ") >= 2]
    return f"twice: {twice[0][:60]}" if twice else None


def _compression(text: str, most: float) -> str | None:
    raw = text.encode("utf-8", "replace")
    if len(raw) < _LEAST_BYTES:
        return None
    ratio = len(raw) / len(zlib.compress(raw, 6))
    return f"zlib shrinks it {ratio:.1f} times" if ratio > most else None
