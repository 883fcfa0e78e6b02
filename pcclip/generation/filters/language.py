"""Whether a text is language at all, and the one that was asked for: by scripts, letters and small words."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache

from pcclip.generation.filters.languages import (
    AUXILIARIES,
    CONJUNCTIONS,
    DETERMINERS,
    ENGLISH,
    LANGUAGES,
    OTHERS,
    Language,
    word_set,
)
from pcclip.generation.filters.text import is_name, sentences, words
from pcclip.generation.filters.types import Limits

_FOREIGN_LETTERS = 0.1
_ACCENTED_LETTERS = 0.03
_INNER_CAPITAL = re.compile(r"[a-z][A-Z]")
_PUNCTUATION = ".,;:!?\"')("
# What no English sentence has side by side: an article and a word that opens no noun phrase, ...
_ARTICLES = DETERMINERS | {"A", "An", "The"}
_NOT_AFTER_ARTICLE = (ENGLISH - OTHERS) | {""}
# ... a preposition that needs its object and what cannot be one, ...
_NOT_AFTER_OF = CONJUNCTIONS | AUXILIARIES | {""}
_NEEDS_OBJECT = word_set("of with from at for into onto than")
# ... two prepositions that do not follow each other, a number or an owner and an article.
_NEVER_AFTER = {
    **dict.fromkeys(("of", "with"), word_set("of with in on at to")),
    "to": word_set("of with in on"),
    **dict.fromkeys(("in", "on"), word_set("of")),
    **dict.fromkeys(word_set("some several two three four five his its their"), word_set("a an the")),
}


def language_fault(text: str, limits: Limits) -> str | None:
    """What shows that a text is no language or another one than `limits.language`; None: nothing does."""
    language = LANGUAGES[limits.language]
    return (
        _letters(text, language)
        or _wrong_words(text, limits.language)
        or _babble(text, language, limits.min_function_words)
        or (_ungrammatical(text) if limits.language == "en" else None)
    )


def _letters(text: str, language: Language) -> str | None:
    if text.isascii() and text.isprintable():
        letters = sum(map(str.isalpha, text))
        foreign = 0 if "LATIN" in language.scripts else letters
    else:
        broken = next((c for c in text if _is_broken(c)), None)
        if broken is not None:
            return f"the character U+{ord(broken):04X}"
        letters = sum(map(str.isalpha, text))
        scripts = Counter(_script(c) for c in text if c.isalpha())
        foreign = letters - sum(scripts[script] for script in language.scripts)
        accented = sum(not c.isascii() for c in text if c.isalpha())
        if language.plain and accented >= 3 and accented > _ACCENTED_LETTERS * letters:
            return f"{accented} of {letters} letters have accents"
    # Languages with a script of their own write foreign names in Latin letters.
    allowed = _FOREIGN_LETTERS if "LATIN" in language.scripts else 0.4
    if foreign > allowed * letters:
        return f"{foreign} of {letters} letters are of another script"
    spaces = sum(map(str.isspace, text))
    if letters < 0.5 * (len(text) - spaces):
        return f"{letters} letters in {len(text) - spaces} characters"
    return None


def _is_broken(character: str) -> bool:
    return character == "\ufffd" or (
        not character.isspace() and unicodedata.category(character) in ("Cc", "Cn", "Co", "Cs")
    )


@lru_cache(maxsize=4096)
def _script(letter: str) -> str:
    return unicodedata.name(letter, "?").split()[0]


def _wrong_words(text: str, code: str) -> str | None:
    """Another language's small words, more than the right language's, in the text or one of its sentences."""
    language = LANGUAGES[code]
    if not language.function_words:
        return None
    for piece in {text, *sentences(text)}:
        found = words(piece)
        right = [word for word in found if word in language.function_words]
        if len(right) * 3 > len(found):
            continue
        for other, wrong in LANGUAGES.items():
            foreign = [w for w in found if w in wrong.function_words and w not in language.function_words]
            own = sum(word not in wrong.function_words for word in right)
            if other != code and len(set(foreign)) >= 2 and len(foreign) > own:
                return f"{other}: {' '.join(foreign[:6])}"
    return None


def _babble(text: str, language: Language, least: float) -> str | None:
    found = words(text)
    capitals = len(_INNER_CAPITAL.findall(text))
    if capitals >= 3 and capitals * 8 > len(found):
        return f"{capitals} capitals inside of words"
    if not language.function_words or len(found) < 10:
        return None
    small = sum(word in language.function_words for word in found)
    if small == 0 or (len(found) >= 12 and small < least * len(found)):
        return f"{small} of {len(found)} words are function words"
    return None


def _ungrammatical(text: str) -> str | None:
    """Pairs of small words that cannot stand side by side, where they are too many for slips of the pen."""
    tokens = text.split()
    neighbours = zip(["", *tokens], tokens, [*tokens[1:], "."], strict=False)
    wrong = [f"{x} {y}" for before, x, y in neighbours if _impossible(before, x, y)]
    return ", ".join(wrong[:6]) if len(wrong) >= 2 and len(wrong) * 25 > len(tokens) else None


def _impossible(before: str, first: str, second: str) -> bool:
    bare = first.rstrip(_PUNCTUATION)
    if bare in _ARTICLES and not is_name(bare, before):
        return bare != first or second.strip(_PUNCTUATION).lower() in _NOT_AFTER_ARTICLE
    if first in _NEEDS_OBJECT and second.strip(_PUNCTUATION).lower() in _NOT_AFTER_OF:
        return True
    return first in _NEVER_AFTER and second in _NEVER_AFTER[first]
