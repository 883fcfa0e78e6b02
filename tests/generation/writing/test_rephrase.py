"""Captions in other words by rules, through the command line and by the shipped recipes."""

import json
import random
import re
from pathlib import Path

import pytest
import yaml

from pcclip.cli import main
from pcclip.data.records import Picture
from pcclip.data.shards import ShardIndex, ShardSetWriter, resolve_shards
from pcclip.data.sources.eurosat_captions import LEVELS
from pcclip.data.sources.eurosat_captions import caption as eurosat_caption
from pcclip.data.sources.shapes_captions import caption as shapes_caption
from pcclip.generation.writers.rephrase import Rephrase

RECIPES = Path(__file__).parents[3] / "data_recipes"
CAPTIONS = {
    "one": ("this photo shows a big dog", "a big dog runs"),
    "two": ("a cat", "nothing of the kind"),
}
RULES = {
    "phrases": {
        "big": ["enormous"],
        "a big dog": ["an elephantine dog"],
        "dog": ["hound"],
        "cat": ["old tomcat"],
    },
    "orders": {"^this (?P<it>photo|image) shows (?P<what>.+)": ["{what}, shown in this {it}"]},
}


def written(out: Path, pictures: Path, **writer: object) -> dict[str, tuple[str, ...]]:
    recipe = {
        "rows": {
            "class_path": "pcclip.generation.caption_rows.CaptionRows",
            "init_args": {"pictures": str(pictures), "name": "captions"},
        },
        "writer": {
            "class_path": "pcclip.generation.writers.rephrase.Rephrase",
            "init_args": RULES | writer,
        },
        "out": str(out),
        "progress": False,
    }
    file = out.with_suffix(".json")
    file.write_text(json.dumps(recipe))
    assert main(["write", "--config", str(file)]) == 0
    indexes = [ShardIndex.load(path) for path in resolve_shards(str(out / "pictures"))]
    found = [
        Picture.parse(index.key(at), index.read_record(at), index.path)
        for index in indexes
        for at in range(len(index))
    ]
    return {picture.key: picture.captions for picture in found}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    with ShardSetWriter(tmp_path / "pictures", "pictures", 10, {}) as shards:
        for key, captions in CAPTIONS.items():
            shards.write_picture(Picture(key, b"\xff\xd8\xff", "jpg", captions[0], captions=captions))
    return tmp_path / "pictures"


def test_order_then_longest_phrases_then_articles_and_the_rest_stays(pictures: Path, tmp_path: Path) -> None:
    assert written(tmp_path / "out", pictures) == {
        "one": ("an elephantine dog, shown in this photo", "an elephantine dog runs"),
        "two": ("an old tomcat", "nothing of the kind"),
    }
    counts = json.loads((tmp_path / "out/pictures/set.json").read_text())["card"]["captions"]
    assert counts == {"rewritten": 3, "kept as they were": 1}


def test_the_seed_decides_and_nothing_else(pictures: Path, tmp_path: Path) -> None:
    many = {"phrases": {"dog": [f"hound {n}" for n in range(50)]}}
    first, second, third = (
        written(tmp_path / name, pictures, seed=seed, **many) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == second != third


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ({"phrases": {"big": []}}, "writer.phrases: 'big' has nothing to be replaced by"),
        ({"phrases": {}, "orders": {"(": ["x"]}}, "is no regular expression"),
        ({"phrases": {}, "orders": {"(?P<a>x)": ["{b}"]}}, "whose groups are ['a']"),
        ({"phrases": {}, "share": 0.0}, "'share' is 0.0"),
    ],
)
def test_rules_that_cannot_be_applied_are_refused(rules: dict, told: str) -> None:
    from pcclip.errors import PcclipError

    with pytest.raises(PcclipError, match=re.escape(told)):
        Rephrase(**rules)


def recipe(world: str) -> Rephrase:
    settings = yaml.safe_load((RECIPES / world / "rewritten_captions.yaml").read_text())
    return Rephrase(**settings["writer"]["init_args"])


def told(text: str, words: tuple[str, ...]) -> list[str]:
    return sorted(word for word in re.findall(r"[a-z]+", text.replace("-", " ")) if word in words)


def colours(text: str) -> list[str]:
    plain = text.replace("reddish", "red").replace("greenish", "green").replace("bluish", "blue")
    return told(plain, ("red", "green", "blue"))


def test_eurosat_s_recipe_keeps_every_colour_and_whether_it_is_much_or_little() -> None:
    writer, rng = recipe("eurosat"), random.Random(0)
    much = r"much|strong|a lot of|plenty of|marked|pronounced"
    little = r"not much|little|weak|hardly any|faint|feeble"
    changed = 0
    for number in range(2000):
        levels = {name: rng.choice(list(LEVELS[name])) for name in LEVELS if rng.random() < 0.5}
        old = eurosat_caption(rng.choice(("forest", "a river", "a sea or lake")), levels, rng)
        new = writer.rephrase(old, str(number))
        changed += new != old
        assert colours(new) == colours(old), (old, new)
        for kind in (little, much):
            without = re.compile(rf"\b(?:{little})\b") if kind is much else None
            counts = [
                len(re.findall(rf"\b(?:{kind})\b", without.sub("", text) if without else text))
                for text in (old, new)
            ]
            assert counts[0] == counts[1], (old, new)
    assert changed > 1900


def test_shapes_recipe_keeps_colours_and_kinds() -> None:
    writer, rng = recipe("shapes"), random.Random(0)
    facts = ("red", "blue", "green", "yellow", "circle", "star", "ring", "circles", "stars", "rings")
    for number in range(2000):
        attributes = {
            "kind": rng.choice(("circle", "star", "ring")),
            "colour": rng.choice(facts[:4]),
            "number": rng.randint(1, 4),
            "size": rng.uniform(0.2, 0.33),
            "horizontal": rng.random(),
            "vertical": rng.random(),
            "brightness": rng.random(),
            "background": rng.choice(("plain", "striped", "checked", "dotted")),
        }
        old = shapes_caption(attributes, rng)
        new = writer.rephrase(old, str(number))
        assert told(new, facts) == told(old, facts), (old, new)
