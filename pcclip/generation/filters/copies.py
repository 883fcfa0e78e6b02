"""Whether an answer only gives back what the model was shown: the prompt, or the captions."""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

from pcclip.generation.filters.languages import word_set
from pcclip.generation.filters.text import runs, words
from pcclip.generation.filters.types import Context, Limits

_RUN = 4
_ENDING = re.compile(r"(?<=\w{3})(?:ing|ed|s)$")
# How much of a caption a copy holds. Who tells the captions apart in own words leaves more of both away.
_OF_ONE, _OF_BOTH = 0.6, 0.8

# Words that say that two things are not alike: a text with more of them than the captions names a difference.
_CONTRAST = word_set(
    """while whereas but unlike instead rather than not no without only however more less fewer different
    differ differs difference differences contrast contrasts compared comparison opposed lacks lack
    neither nor missing absent although though another just isn't aren't doesn't don't vs versus
    conversely"""
)
# Words that present a picture and say nothing about it.
_FRAME = word_set(
    """a an the this that these it its it's is are was be been there here in of on and with at by to for
    first second third one two 1 2 other left right former latter image images picture pictures photo
    photos photograph caption captions captioned scene show shows showing shown depict depicts depicting
    feature features featuring display displays describe describes see seen we can you contain contains
    has have both respectively b"""
)


def echo_fault(text: str, context: Context, limits: Limits) -> str | None:
    """What shows that a text repeats the prompt; None: nothing does."""
    if not context.prompt:
        return None
    lines, known = _prompt(context.prompt)
    said = words(text)
    if len(said) >= 2 and " ".join(said) in lines:
        return "a line of the prompt"
    if len(said) <= _RUN:
        return None
    own = runs(said, _RUN)
    echoed = sum(run in known for run in own)
    return f"{echoed} of {len(own)} runs of {_RUN} words" if echoed >= limits.max_echo * len(own) else None


@lru_cache(maxsize=16)
def _prompt(pieces: tuple[str, ...]) -> tuple[frozenset[str], frozenset[tuple[str, ...]]]:
    """The lines and sentences of a prompt in plain words, and its runs of four words."""
    lines: set[str] = set()
    known: set[tuple[str, ...]] = set()
    for piece in pieces:
        known.update(runs(words(piece), _RUN))
        for line in [piece, *re.split(r"\n|(?<=[.!?])\s", piece)]:
            lines.add(" ".join(words(line)))
            lines.add(" ".join(words(line.partition(":")[2])))
    return frozenset(lines), frozenset(known)


def copy_fault(text: str, context: Context, limits: Limits) -> str | None:
    """What shows that a text is one of the captions, or both, without a word of difference; None: nothing."""
    said = words(text)
    contrast = Counter(word for word in said if word in _CONTRAST)
    shown = Counter(word for caption in context.captions for word in words(caption))
    if not context.captions or not said or contrast - shown or "on the other hand" in text:
        return None
    content = _content(text)
    if not content:
        return "nothing but an announcement of the pictures"
    captions = [_content(caption) for caption in context.captions]
    for there, least in [*((caption, _OF_ONE) for caption in captions), (sum(captions, Counter()), _OF_BOTH)]:
        common = (content & there).total()
        if common >= limits.max_copied * content.total() and common >= least * there.total():
            return f"{common} of {content.total()} words are the captions'"
    return None


def equal_fault(text: str, context: Context) -> str | None:
    """What shows that a text has the very words of a caption; None: it has others, or another order."""
    said = words(text)
    return "a caption, word for word" if any(said == words(c) for c in context.captions) else None


@lru_cache(maxsize=64)
def _content(text: str) -> Counter[str]:
    """The words that say something, without the ending by which captions and sentences differ."""
    return Counter(_ENDING.sub("", word) for word in words(text) if word not in _FRAME)
