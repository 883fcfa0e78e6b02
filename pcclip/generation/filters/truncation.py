"""Whether an answer stops before its end, as far as its end can tell; a last half sentence is cut off."""

from __future__ import annotations

from collections.abc import Sequence

from pcclip.generation.filters.languages import CONJUNCTIONS, DETERMINERS, ENGLISH, word_set
from pcclip.generation.filters.text import has_end_mark, is_name, sentences, words
from pcclip.generation.filters.types import Context, Limits

# No English sentence ends with these (with "on", "in", "at", "is" some do).
_NEVER_LAST = (
    DETERMINERS
    | (CONJUNCTIONS - {"so", "though", "since"})
    | word_set("of with from into onto than without toward towards against their its our my your very")
)
_OPENERS = ENGLISH | {"image", "picture", "photo", "compared"}
# What may follow a whole word inside of a longer one: endings, and second halves of compounds.
_ENDINGS = word_set(
    """s es d ed r er rs ers y ly ing n en ful ness t 's ball balls board boards boarder boarders boarding top
    tops walk walks room rooms light lights work works man men woman women time side sides bike bikes house
    houses yard yards way ways port ports stick sticks glass glasses book books dog dogs boat boats"""
)
_HANGING = (",", ";", ":", "-", "\u2013", "\u2014", "/", "&", "(", "[")
_BRACKETS = {"(": ")", "[": "]", "\u201c": "\u201d", "\xab": "\xbb"}
_LEAST_WORDS = 10


def cut_unfinished(text: str, limits: Limits, cut_off: bool) -> str:
    """Drops a last sentence without an end mark, where the others have theirs or the engine stopped."""
    if has_end_mark(text) or (limits.end_mark == "never" and not cut_off):
        return text
    pieces = sentences(text)
    whole = [has_end_mark(piece) for piece in pieces[:-1]]
    return "".join(pieces[:-1]) if whole and (cut_off or all(whole)) else text


def truncation_fault(text: str, limits: Limits, context: Context, cut_off: bool) -> str | None:
    """What shows that a text stops too early; None: nothing does."""
    if has_end_mark(text):
        return None
    if cut_off:
        return "the engine stopped it"
    if text.endswith(_HANGING):
        return f"ends with {text[-1]!r}"
    found = words(text)
    if limits.language == "en" and text[-1:].isalpha() and found[-1] in _NEVER_LAST:
        before, last = ["", *text.split()][-2:]
        if not is_name(last, before):
            return f"ends with {last!r}"
    opened = next((a for a, z in _BRACKETS.items() if text.count(a) > text.count(z)), None)
    if opened is not None:
        return f"{opened!r} is never closed"
    return _half_word(text, found, context) or _end_mark_missed(text, found, limits)


def _half_word(text: str, found: Sequence[str], context: Context) -> str | None:
    """The last word, where it is the beginning of a caption's word and no word of its own."""
    if len(found) < _LEAST_WORDS or not text[-1:].isalpha():
        return None
    last = found[-1]
    captions = {word for caption in context.captions for word in words(caption)}
    if len(last) < 3 or last in captions or last in ENGLISH or last in found[:-1]:
        return None
    halves = [word for word in captions if word.startswith(last) and word[len(last) :] not in _ENDINGS]
    return f"{last!r} is half of {min(halves)!r}" if halves else None


def _end_mark_missed(text: str, found: Sequence[str], limits: Limits) -> str | None:
    if limits.end_mark == "always":
        return "no end mark"
    if limits.end_mark == "never" or len(found) < _LEAST_WORDS:
        return None
    punctuated = text[:1].isupper() and any(mark in text for mark in (", ", "; ", ": ", ". "))
    if punctuated and not text.isupper() and (limits.language != "en" or found[0] in _OPENERS):
        return "a capital and commas, but no end mark"
    return None
