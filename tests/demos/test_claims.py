"""What difference texts claim, and whether the pictures' attributes agree."""

import random
import sys
from pathlib import Path

import pytest

from pcclip.data.sources.shapes import Shapes
from pcclip.demos.claims import Judgement, Unreadable, judge, read
from pcclip.demos.told import told
from pcclip.generation.rules import RuleWriter

sys.path.insert(0, str(Path(__file__).parents[1] / "generation"))  # reading.py

ONE = {"size": 0.2, "number": 3, "brightness": 0.5, "horizontal": 0.2, "vertical": 0.8}
ONE |= {"kind": "star", "colour": "red", "background": "plain"}
TWO = {"size": 0.3, "number": 1, "brightness": 0.9, "horizontal": 0.7, "vertical": 0.3}
TWO |= {"kind": "ring", "colour": "blue", "background": "dotted"}

RIGHT = [
    ("smaller", "size"),
    ("the objects in picture one are smaller than the one in picture two", "size"),
    ("The object in the second image is larger than the ones in the first.", "size"),
    ("picture 2 has fewer objects", "number"),
    ("unlike the latter, the former shows more shapes", "number"),
    ("compared with the second picture, the first picture is darker", "brightness"),
    ("going from image one to image two, the picture gets brighter", "brightness"),
    ("of the two, the object in picture B is closer to the bottom", "vertical"),
    ("while the object in the first is further to the left, the one in the second is further to the right",
     "horizontal"),
    ("stars instead of a ring", "kind"),
    ("the second picture shows a ring, the first shows stars", "kind"),
    ("a blue object in the second picture and not red objects", "colour"),
    ("where picture two has a dotted ground, picture one has a plain ground", "background"),
]  # fmt: skip
WRONG = [
    "larger",
    "the objects in picture one are larger than the one in picture two",
    "the object in the second image is smaller than the ones in the first",
    "picture 1 has fewer objects",
    "unlike the former, the latter shows more shapes",
    "the second picture is darker than the other",
    "going from image two to image one, the picture gets brighter",
    "the first picture shows a ring, the second shows stars",
    "a ring",
    "the first picture shows green objects",
    "stars instead of a heart",  # the second picture has none
    "the second picture has a plain background and not a dotted background",
]
UNREADABLE = [
    "",
    "the first picture",
    "the first picture differs from the second",
    "the first picture is the one in the second is larger and smaller",
    "the first picture is larger and it is darker",
    "larger than in the first picture",  # without a subject image1 is meant
    "the other picture is darker",  # than which?
    "the first picture shows a star and the first picture shows a ring",
    "the first is larger. The second is smaller. Both are red.",
    "the first picture shows a giraffe",
    "not a star",
]


@pytest.mark.parametrize(("text", "attribute"), RIGHT)
def test_true_texts_are_right_and_false_the_other_way_round(text: str, attribute: str) -> None:
    assert judge(text, ONE, TWO) == (Judgement.RIGHT, attribute)
    assert judge(text, TWO, ONE) == (Judgement.WRONG, attribute)


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_direction_or_value_is_wrong(text: str) -> None:
    assert judge(text, ONE, TWO)[0] is Judgement.WRONG


@pytest.mark.parametrize("text", UNREADABLE)
def test_what_cannot_be_read_is_not_guessed(text: str) -> None:
    with pytest.raises(Unreadable):
        read(text)
    assert judge(text, ONE, TWO) == (Judgement.UNREADABLE, None)


def test_equal_pictures_make_every_comparison_wrong() -> None:
    assert judge("larger", ONE, ONE)[0] is Judgement.WRONG
    assert judge("fewer objects", ONE, ONE)[0] is Judgement.WRONG


def test_all_rule_written_texts_are_read_as_another_reader_reads_them() -> None:
    from reading import read as read_otherwise

    world = Shapes(seed=5, train=400)
    values = [picture.attributes for picture in world.pictures("train")]
    writer = RuleWriter(world.attributes(), world.references(), 0, [1.0])
    kinds = {a.name: list(a.values) for a in world.attributes() if hasattr(a, "values")}
    rng = random.Random(0)
    for number in range(3000):
        one, two = rng.sample(values, 2)
        written = writer.write(f"pair-{number}", one, two)
        if written is None:
            continue
        assert judge(written.text, one, two) == (Judgement.RIGHT, written.attributes[0]), written.text
        assert judge(written.text, two, one)[0] is Judgement.WRONG, written.text
        mine = {(c.attribute, c.picture, c.says if c.holds else f"not {c.says}") for c in read(written.text)}
        theirs = set(read_otherwise(written.text, kinds))
        assert theirs <= mine, written.text  # of "a star, not a ring" it does not say who has the ring


def test_captions_tell_only_what_is_true() -> None:
    told_of = dict.fromkeys((*ONE,), 0)
    pictures = list(Shapes(seed=6, train=1500).pictures("train"))
    for picture in pictures:
        for name, known in told(picture.captions).items():
            value = picture.attributes[name]
            if isinstance(known, str):
                assert value == known, (picture.captions, name)
            else:
                assert known[0] - 1e-4 <= float(value) <= known[1] + 1e-4, (picture.captions, name)
            told_of[name] += isinstance(known, str) or known[0] > 0 or known[1] < 1
    assert all(count > 0.4 * len(pictures) for count in told_of.values()), told_of
