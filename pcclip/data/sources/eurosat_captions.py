"""Captions of EuroSAT: the land's use and what stands out in the pixels, in many wordings."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Literal

Level = Literal["low", "high"]

# For each measure and level: adjectives of a photo, and phrases that follow "with".
LEVELS: dict[str, dict[Level, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "brightness": {
        "high": (("bright", "light"), ("much light", "a bright ground")),
        "low": (("dark", "dim"), ("little light", "a dark ground")),
    },
    "green": {
        "high": (("green", "greenish", "very green"), ("much green", "a strong green tone")),
        "low": ((), ("little green", "a weak green tone")),
    },
    "blue": {
        "high": (("blue", "bluish", "very blue"), ("much blue", "a strong blue tone")),
        "low": ((), ("little blue", "a weak blue tone")),
    },
    "red": {
        "high": (("red", "reddish", "very red"), ("much red", "a strong red tone")),
        "low": ((), ("little red", "a weak red tone")),
    },
    "texture": {
        "high": (("rough", "busy", "coarse"), ("a rough surface", "much structure")),
        "low": (("smooth", "calm", "plain"), ("a smooth surface", "little structure")),
    },
}
TEMPLATES: dict[str, tuple[str, ...]] = {
    "whole": (
        "{a} {photo} of {cover}{extra}",
        "{a} satellite {photo} of {cover}{extra}",
        "{an_aerial} {photo} of {cover}{extra}",
        "{cover}{extra}",
        "{cover} seen from above{extra}",
        "{cover} from above, {a} {photo}{extra}",
        "{a} {photo} that shows {cover}{extra}",
        "this {photo} shows {cover}{extra}",
        "this is {a} satellite {photo} of {cover}{extra}",
        "we see {cover}{extra}",
        "{a} view of {cover}{extra}",
        "what we see from above is {cover}{extra}",
        "{a} satellite view of {cover}{extra}",
        "{a} {photo}{extra}",
    ),
    "photo": ("photo", "photo", "picture", "image"),
    "extra": (" with {w}", ", with {w}", ", a scene with {w}"),
    "look": (", {adjective}", ", a {adjective} scene", ", a {adjective} view"),
}


def caption(cover: str, levels: Mapping[str, Level], rng: random.Random) -> str:
    """One caption: the cover and up to three of the measures that stand out."""
    spoken = [name for name in levels if rng.random() < 0.55]
    rng.shuffle(spoken)
    adjective, phrases, looks = "", list[str](), list[str]()
    for name in spoken[:3]:
        adjectives, shown = LEVELS[name][levels[name]]
        if adjectives and not adjective and rng.random() < 0.6:
            adjective = rng.choice(adjectives)
        elif adjectives and rng.random() < 0.2:
            looks.append(rng.choice(adjectives))
        else:
            phrases.append(rng.choice(shown))
    whole = rng.choice(TEMPLATES["whole"])
    if "{cover}" not in whole and not (adjective or phrases):
        whole = "{a} {photo} of {cover}{extra}"  # "a photo" alone says nothing
    if adjective and "{a}" not in whole and "{an_aerial}" not in whole:
        looks.append(adjective)
    extra = rng.choice(TEMPLATES["extra"]).format(w=" and ".join(phrases)) if phrases else ""
    if looks:
        extra += rng.choice(TEMPLATES["look"]).format(adjective=" and ".join(looks))
    photo = rng.choice(TEMPLATES["photo"])
    text = whole.format(
        a=f"a {adjective}" if adjective else "a",
        an_aerial=f"a {adjective} aerial" if adjective else "an aerial",
        photo=photo,
        cover=cover,
        extra=extra,
    )
    return text.replace("a image", "an image")
