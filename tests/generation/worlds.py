"""Vocabularies of the shipped sources, with attributes drawn at random: texts without pictures."""

import random
from functools import cache

from pcclip.data.sources.base import Source
from pcclip.data.sources.eurosat import EuroSAT
from pcclip.data.sources.shapes import Shapes
from pcclip.generation.rules import RuleWriter
from pcclip.generation.vocabulary import Category

SOURCES: dict[str, Source] = {"shapes": Shapes(), "eurosat": EuroSAT(root="none")}


def draw(source: Source, rng: random.Random) -> dict:
    values = {}
    for attribute in source.attributes():
        if isinstance(attribute, Category):
            values[attribute.name] = rng.choice(attribute.values)
        elif attribute.name == "number":
            values[attribute.name] = rng.randint(1, 4)
        else:
            values[attribute.name] = rng.uniform(0, 2)
    return values


def categories(source: Source) -> dict[str, list[str]]:
    return {a.name: list(a.values) for a in source.attributes() if isinstance(a, Category)}


@cache
def training_texts(name: str, count: int = 20000) -> list[tuple[str, dict, dict]]:
    """Texts as a recipe would write them, each with the attributes of its two pictures."""
    source = SOURCES[name]
    writer = RuleWriter(source.attributes(), source.references(), seed=5)
    rng = random.Random(7)
    texts = []
    for number in range(count):
        a, b = draw(source, rng), draw(source, rng)
        written = writer.write(str(number), a, b)
        if written is not None:
            texts.append((written.text, a, b))
    return texts
