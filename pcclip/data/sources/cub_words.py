"""Words for CUB's attributes, so that differences between birds can be written by rules."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pcclip.generation.vocabulary import Category, NounPhrase

# Noun phrases of what a picture shows, with no "a" before the value; those that begin with it are plural.
WORDS: dict[str, tuple[str, str]] = {
    "size": ("a bird of {w} size", "a bird of {w} size"),
    "shape": ("a bird of {w} shape", "a bird with {w} shape"),
    "primary_color": ("a bird that is mostly {w}", "a bird that is {w} for the most part"),
    "bill_shape": ("a bill of the {w} kind", "a bird with a bill of the {w} kind"),
    "bill_length": ("a bill {w}", "a bird with a bill {w}"),
    "tail_shape": ("a tail that is {w}", "a bird with a tail that is {w}"),
    "wing_shape": ("{w} wings", "a bird with {w} wings"),
    **{
        f"{part}_color": ("{w} " + plural, "a bird with {w} " + plural)
        for part, plural in (
            ("wing", "wings"),
            ("upperparts", "upperparts"),
            ("underparts", "underparts"),
            ("leg", "legs"),
            ("eye", "eyes"),
        )
    },
    **{
        f"{part}_color": (f"a {part} that is {{w}}", f"a bird with a {part} that is {{w}}")
        for part in ("back", "breast", "throat", "forehead", "nape", "belly", "bill", "crown")
    },
    **{
        f"{part}_pattern": (f"a {part} that is {{w}}", f"a bird with a {part} that is {{w}}")
        for part in ("breast", "back", "tail", "belly")
    },
    "wing_pattern": ("{w} wings", "a bird with {w} wings"),
}
_LENGTHS = {
    "about the same as head": "about as long as the head",
    "longer than head": "longer than the head",
    "shorter than head": "shorter than the head",
}
_SOLID = {"solid": "plain"}


def value_words(attribute: str) -> tuple[str, str]:
    """Group and value of an attribute: "has_size::large_(16_-_32_in)" is ("size", "large")."""
    group, _, value = attribute.partition("::")
    group = group.removeprefix("has_")
    words = re.sub(r"_\(.*\)$", "", value).replace("_", " ")
    words = words.removesuffix(" tail") if group == "tail_shape" else words
    words = words.removesuffix("-wings") if group == "wing_shape" else words
    return group, (_SOLID if group.endswith("_pattern") else _LENGTHS).get(words, words)


def bird_attributes(names: Sequence[str]) -> tuple[Category, ...]:
    """The attributes of kind that have words, with the values that CUB's list gives them."""
    values: dict[str, dict[str, None]] = {}
    for name in names:
        group, value = value_words(name)
        values.setdefault(group, {})[value] = None
    return tuple(
        Category(
            group,
            tuple(values[group]),
            tuple(map(_phrase, dict.fromkeys(phrases))),
            f"a photo of {phrases[1]}",
        )
        for group, phrases in WORDS.items()
        if group in values
    )


def _phrase(text: str) -> NounPhrase:
    return NounPhrase(None, text) if text.startswith("{w}") else NounPhrase(text)
