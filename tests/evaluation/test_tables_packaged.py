"""The sheets that come with pcclip, on the real lists of their sets, and the published mistakes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from class_set import Classes, by_class
from torchvision.datasets import CIFAR100, Flowers102

from pcclip.data.sources.awa2 import VISUAL
from pcclip.errors import PcclipError
from pcclip.evaluation.sets import EvaluationSet
from pcclip.evaluation.sources.asked import Asked
from pcclip.evaluation.sources.published import PublishedMistakes
from pcclip.evaluation.sources.sheets import SHEETS, QuestionSheet

# What every child knows of these animals; see the second list for what the published row order makes of it.
ANIMALS = {
    "stripes": ({"zebra", "tiger", "skunk"}, {"elephant", "giraffe", "polar bear", "blue whale", "cow"}),
    "tusks": ({"elephant", "walrus"}, {"rabbit", "zebra", "dolphin", "mouse"}),
    "flippers": ({"dolphin", "seal", "walrus", "blue whale"}, {"horse", "lion", "mouse"}),
    "longneck": ({"giraffe"}, {"mole", "hamster", "seal"}),
    "hooves": ({"horse", "zebra", "cow", "sheep"}, {"lion", "dolphin", "squirrel"}),
    "white": ({"polar bear", "sheep"}, {"gorilla", "buffalo"}),
    "furry": ({"rabbit", "fox"}, {"blue whale", "dolphin", "elephant"}),
}


def animals(real_data: Path) -> list[str]:
    lines = (real_data / "AwA2" / "classes.txt").read_text().split()
    return [name.replace("+", " ") for name in lines[1::2]]


def wrong(data: EvaluationSet) -> list[str]:
    """Which of the facts the set has wrong."""
    found = []
    for attribute, (have, lack) in ANIMALS.items():
        values = by_class(data, attribute)
        found += [f"{one}: {attribute}" for one in have if values[one] != 1]
        found += [f"{one}: no {attribute}" for one in lack if values[one] != 0]
    return found


def test_awa2_is_joined_by_name_and_the_published_row_order_is_not(real_data: Path):
    names, table = animals(real_data), str(real_data / "AwA2")
    # Whatever the order in which a loader numbers the classes.
    for order in (names, sorted(names), sorted(names, reverse=True)):
        data = Asked(Classes(order), "awa2-attributes", table).load("test")
        assert wrong(data) == []
        assert data.name == "some-attributes"
        published = PublishedMistakes(
            Classes(order), "awa2-attributes", table, mistakes=["alphabetical_rows"]
        ).load("test")
        assert len(wrong(published)) > 10
        # The first animal by alphabet, the antelope, is the first of the file as well.
        assert {published.name, *(one for one in wrong(published) if "antelope" in one)} == {
            "some-attributes-published"
        }


def test_awa2_leaves_out_by_name_what_no_photo_shows(real_data: Path):
    table = str(real_data / "AwA2")
    predicates = (real_data / "AwA2" / "predicates.txt").read_text().split()[1::2]
    sheet = QuestionSheet.load("awa2-attributes", "test")
    assert [one.attribute for one in sheet.questions] == predicates
    assert {one.attribute for one in sheet.asked} == set(VISUAL)
    assert set(sheet.left_out) == set(predicates) - set(VISUAL)
    shifted = PublishedMistakes(
        Classes(animals(real_data)), "awa2-attributes", table, mistakes=["ignored_off_by_one"]
    ).load("test")
    asked = {one.attribute for one in shifted.questions}
    assert "chewteeth" in asked  # the first that is left out comes back
    assert not {"horns", "bipedal"} & asked  # each follows one that is left out


def test_awa2_size_reads_small_as_small(real_data: Path):
    names, table = animals(real_data), str(real_data / "AwA2")
    truth = by_class(Asked(Classes(names), "awa2-size", table).load("test"), "size")
    assert {truth[one] for one in ("elephant", "blue whale", "giraffe", "hippopotamus")} == {1}
    assert {truth[one] for one in ("mouse", "hamster", "mole", "squirrel")} == {0}
    turned = PublishedMistakes(Classes(names), "awa2-size", table, mistakes=["size_inverted"]).load("test")
    opposite = {1: 0, 0: 1, None: None}
    assert by_class(turned, "size") == {name: opposite[value] for name, value in truth.items()}


def test_a_set_of_a_few_classes_takes_its_rows_from_the_whole_matrix(real_data: Path):
    few = Classes(["zebra", "grizzly bear", "blue whale"])
    data = Asked(few, "awa2-attributes", str(real_data / "AwA2")).load("test")
    assert by_class(data, "stripes") == {"zebra": 1, "grizzly bear": 0, "blue whale": 0}


def test_cifar100_size():
    names = _cifar100()
    sizes = by_class(Asked(Classes(names), "cifar100-size").load("test"), "size")
    assert {name for name, value in sizes.items() if value == 1} == {"camel", "leopard", "lion", "wolf"}
    assert {name for name, value in sizes.items() if value == 0} == {"hamster", "rabbit", "shrew", "squirrel"}
    assert Counter(sizes.values())[None] == 92


def _cifar100() -> list[str]:
    # The release keeps its names in the archive; of the 100 the sheet's eight and filling.
    assert CIFAR100.meta["key"] == "fine_label_names"
    eight = ["camel", "hamster", "leopard", "lion", "rabbit", "shrew", "squirrel", "wolf"]
    return sorted([*eight, *(f"thing {number}" for number in range(92))])


def test_flowers_have_the_colours_they_have():
    truth = by_class(Asked(Classes(Flowers102.classes), "flowers102-colour").load("test"), "colour")
    for flower in ("sunflower", "daffodil", "yellow iris", "buttercup"):
        assert truth[flower] == "yellow"
    assert {name for name, colour in truth.items() if colour == "blue"} == {
        "stemless gentian",
        "grape hyacinth",
        "love in the mist",
    }
    assert truth["bolero deep blue"] is None
    assert truth["rose"] is None
    moved = PublishedMistakes(
        Classes(Flowers102.classes), "flowers102-colour", mistakes=["class_ids_off_by_one"]
    ).load("test")
    published = by_class(moved, "colour")
    # By number, the flower after the sunflower is a pelargonium, and that after the daffodil a sword lily.
    assert published["pelargonium"] == published["sword lily"] == "yellow"
    assert published["sunflower"] is None
    assert moved.name == "some-colour-published"


def test_cub_joined_by_name(real_data: Path):
    folder = real_data / "CUB_200_2011"
    names = (folder / "classes.txt").read_text().split()[1::2]
    spoken = [name.partition(".")[2].replace("_", " ") for name in reversed(names)]
    data = Asked(Classes(spoken, each=1), "cub-attributes", str(folder)).load("test")
    crown, bill = by_class(data, "crown_color"), by_class(data, "bill_shape")
    assert (crown["American Crow"], crown["Indigo Bunting"], crown["Scarlet Tanager"]) == (
        "black",
        "blue",
        "red",
    )
    assert bill["Cardinal"] == "cone"
    assert by_class(data, "belly_color")["American Goldfinch"] == "yellow"


@pytest.mark.parametrize("file", sorted(SHEETS.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_sheet_is_whole(file: Path):
    sheet = QuestionSheet.load(file.stem, "test")
    assert "source:" in file.read_text()
    for question in sheet.questions:
        assert len(question.wordings) >= 3
        for wording in question.wordings:
            assert not wording.held_out
            first, second = list(question.phrases)[:2]
            forward, back = (question.statement(wording, *of) for of in ((first, second), (second, first)))
            assert forward != back
            assert "{" not in forward


def test_mistakes_must_be_named():
    with pytest.raises(PcclipError, match="no published mistakes are named; use Asked"):
        PublishedMistakes(Classes(["camel"]), "cifar100-size").load("test")
