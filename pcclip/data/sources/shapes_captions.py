"""Captions of the shapes world: an absolute sentence about one picture, in many wordings."""

from __future__ import annotations

import random
from collections.abc import Mapping

# What a caption may say, in the order of the sentence; which parts it has is drawn for each caption.
TEMPLATES: dict[str, tuple[str, ...]] = {
    "whole": (
        "{things}{where}{ground}",
        "{things}{where}{ground}",
        "a {look}{picture} of {things}{where}{ground}",
        "a {look}{picture} with {things}{where}{ground}",
        "an image of {things}{where}{ground}",
        "a {look}{picture} that shows {things}{where}{ground}",
        "this {look}{picture} contains {things}{where}{ground}",
        "this is a {look}{picture} of {things}{where}{ground}",
        "there {is} {things}{where} in the {look}{picture}",
        "{things}{where} in a {look}{picture}",
        "we see {things}{where}{ground}",
        "here we see {things}{where}{ground}",
        "here {is} {things}{where}{ground}",
        "what we see {is} {things}{where}{ground}",
        "{things} placed{where} of a {look}{picture}",
        "{where_first}{things}{ground}",
        "{where_first}there {is} {things}{ground}",
        "the {look}{picture} shows {things}{where}{ground}",
        "{ground_first}{things}{where}",
        "{ground_first}there {is} {things}{where}",
    ),
    "picture": ("picture", "picture", "image"),
    "one": ("a", "a", "one", "a single"),
    "many": ("{n}", "{n}", "{n}", "several", "a group of"),
    "large": ("large", "big"),
    "middling": ("medium-sized", "", "", ""),
    "small": ("small", "little", "tiny"),
    "bright": ("bright", "light"),
    "dim": ("",),
    "dark": ("dark", "dim"),
    "left": ("on the left", "at the left", "on the left side"),
    "centre": ("in the middle", "in the centre"),
    "right": ("on the right", "at the right", "on the right side"),
    "top": ("at the top", "near the top"),
    "bottom": ("at the bottom", "near the bottom"),
    "corner": ("in the {v} {h}", "at the {v} {h}", "in the {v} {h} corner"),
    "ground": (" on a {b} background", " against a {b} background", " over a {b} ground", ", {b} background"),
    "ground_first": ("on a {b} background ", "against a {b} background, ", "{b} background, "),
}
_WORDS = {1: "one", 2: "two", 3: "three", 4: "four"}


def caption(attributes: Mapping[str, float | str], rng: random.Random) -> str:
    """One caption, about a random part of what is known of the picture."""
    whole = rng.choice(TEMPLATES["whole"])
    several = float(attributes["number"]) > 1
    look = _look(float(attributes["brightness"]), rng) if rng.random() < 0.7 else ""
    place = _place(float(attributes["horizontal"]), float(attributes["vertical"]), rng)
    has_place = " placed{where}" in whole or rng.random() < 0.65
    has_ground = "{ground_first}" in whole or rng.random() < 0.35
    background = str(attributes["background"])
    text = whole.format(
        things=_things(attributes, rng),
        where=f" {place}" if has_place else "",
        where_first=f"{place} " if rng.random() < 0.5 else f"{place}, ",
        ground=rng.choice(TEMPLATES["ground"]).format(b=background) if has_ground else "",
        ground_first=rng.choice(TEMPLATES["ground_first"]).format(b=background),
        look=f"{look} " if look else "",
        picture=rng.choice(TEMPLATES["picture"]),
        **{"is": "are" if several else "is"},
    )
    # "a image" can only come from an empty look before "image".
    text = text.replace("a image", "an image")
    return text.replace("are a group", "is a group")


def _things(attributes: Mapping[str, float | str], rng: random.Random) -> str:
    number = int(attributes["number"])
    size = _size(float(attributes["size"]), rng) if rng.random() < 0.55 else ""
    draw = rng.random()
    # Mostly the full name; now and then only a part of it, so that "a large object" is known as a caption.
    noun = str(attributes["kind"]) if draw < 0.8 else rng.choice(("object", "object", "shape"))
    colour = str(attributes["colour"]) if draw < 0.7 or 0.8 <= draw < 0.92 else ""
    many = number > 1
    count = rng.choice(TEMPLATES["many" if many else "one"])
    if count in ("several", "a group of") and number == 2:
        count = "{n}"
    words = [count.format(n=_WORDS[number]), size, colour, noun + ("s" if many else "")]
    return " ".join(word for word in words if word).replace("a object", "an object")


def _size(size: float, rng: random.Random) -> str:
    return rng.choice(TEMPLATES["small" if size < 0.235 else "large" if size > 0.295 else "middling"])


def _look(brightness: float, rng: random.Random) -> str:
    return rng.choice(TEMPLATES["dark" if brightness < 0.6 else "bright" if brightness > 0.8 else "dim"])


def _place(horizontal: float, vertical: float, rng: random.Random) -> str:
    across = "left" if horizontal < 0.42 else "right" if horizontal > 0.58 else "centre"
    down = "bottom" if vertical < 0.42 else "top" if vertical > 0.58 else "centre"
    if across != "centre" and down != "centre" and rng.random() < 0.5:
        return rng.choice(TEMPLATES["corner"]).format(v=down, h=across)
    known = [word for word in (across, down) if word != "centre"] or ["centre"]
    return rng.choice(TEMPLATES[rng.choice(known)])
