from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from set_making import save, spoken

from pcclip.data.sources.eurosat import COVERS
from pcclip.errors import PcclipError
from pcclip.evaluation.sources.folders import Folders
from pcclip.evaluation.sources.words import Words

SETS = ("awa2", "cifar100", "cub", "eurosat", "flowers102", "food101", "imagenet", "photos", "sun397")


@pytest.mark.parametrize("name", SETS)
def test_every_set_has_words_with_a_source(name: str):
    words = Words.of(name)
    assert words.source
    assert len(words.prompts) >= 4
    assert not set(words.prompts) & set(words.held_out)
    counts = {"awa2": 50, "cifar100": 100, "cub": 200, "eurosat": 10, "flowers102": 102, "food101": 101,
              "sun397": 397}  # fmt: skip
    assert len(words.names) == len(set(words.names.values())) == counts.get(name, 0)


def test_eurosat_has_one_set_of_names():
    assert Words.of("eurosat").names == COVERS


def test_names_of_birds_and_animals_are_of_the_official_lists(real_data: Path):
    for name, folder in (("cub", "CUB_200_2011"), ("awa2", "AwA2")):
        official = [line.split()[1] for line in (real_data / folder / "classes.txt").read_text().splitlines()]
        assert list(Words.of(name).names) == official


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, name in enumerate(("Black_Cat", "dog", "red-panda")):
        for copy in range(3):
            save(tmp_path / "pets" / name / f"{copy}.png", number * 3 + copy)
    return tmp_path / "pets"


def load(root: Path, **settings: Any):
    return Folders(str(root), **settings).load("all")


def test_names_come_from_folders(root: Path):
    found = load(root)
    assert found.name == "pets"
    assert found.classes == ("Black Cat", "dog", "red-panda")
    assert found.keys[:2] == ("Black_Cat/0", "Black_Cat/1")
    assert found.prompts == Words.of("photos").prompts


def test_names_are_joined_by_label_or_by_name(root: Path, tmp_path: Path):
    mapping = {"dog": "hound", "red-panda": "panda", "Black_Cat": "tomcat"}
    assert load(root, class_names=mapping).classes == ("tomcat", "hound", "panda")
    file = tmp_path / "names.yaml"
    file.write_text("red-panda: lesser panda\nBlack_Cat: cat\ndog: dog\n")
    assert load(root, class_names=str(file)).classes == ("cat", "dog", "lesser panda")
    # A list in another order than the folders': the names say which is which.
    file = tmp_path / "names.txt"
    file.write_text("Red Panda\nblack cat\nDog\n")
    found = load(root, class_names=str(file))
    assert found.classes == ("black cat", "Dog", "Red Panda")
    assert spoken(found)[0] == "black cat"


def test_clip_benchmarks_json_is_used_as_it_is(root: Path, tmp_path: Path):
    names, templates = tmp_path / "en_classnames.json", tmp_path / "templates.json"
    names.write_text(json.dumps({"pets": ["a", "b", "c"], "photos": ["feline", "canine", "ailurine"]}))
    templates.write_text(json.dumps({"photos": ["a photo of a {c}.", "my {c}."], "other": ["{c}"]}))
    found = load(root, class_names=str(names), class_names_in_order=True, prompts=str(templates))
    assert found.classes == ("feline", "canine", "ailurine")
    assert found.prompts == ("a photo of a {}.", "my {}.")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"class_names": ["feline", "canine", "panda"]},
            r"'class_names': 3 class names, a list, cannot be joined by name with the 3 classes of .*pets "
            r"\('Black_Cat', 'dog', 'red-panda'\); no label is like 'feline', 'canine', 'panda'",
        ),
        (
            {"class_names": ["dog", "black cat"]},
            r"pets: 3 classes, and .* has 2 names; .* a name: 'red-panda'",
        ),
        ({"class_names": ["dog", "Dog", "black cat"]}, r"cannot be joined by name"),
        (
            {"class_names": ["a", "b"], "class_names_in_order": True},
            r"2 class names for the 3 classes of .*pets",
        ),
        ({"class_names": {"dog": "hound"}}, r"labels without a name: 'Black_Cat', 'red-panda'"),
        (
            {"class_names": {"dog": "d", "Black_Cat": "c", "red-panda": "p", "cow": "w"}},
            r"names for labels that the set has not: 'cow'.*'allow_missing: true'",
        ),
        ({"class_names": "absent.yaml"}, r"absent.yaml: cannot be read"),
        ({"prompts": ["a photo"]}, r"the prompt 'a photo' should have one \{\}"),
        ({"prompts": ["{} {x}"]}, r"no other brace"),
        ({"prompts": []}, r"has no prompt"),
        ({"prompts": "absent.json"}, r"absent.json: cannot be read"),
    ],
)
def test_names_and_prompts_that_do_not_fit_are_refused(root: Path, settings: Any, message: str):
    with pytest.raises(PcclipError, match=message):
        load(root, **settings)


def test_broken_files_are_named(root: Path, tmp_path: Path):
    file = tmp_path / "names.json"
    file.write_text("{")
    with pytest.raises(PcclipError, match=r"names.json: is no JSON"):
        load(root, class_names=str(file))
    file.write_text('{"other": ["a"]}')
    with pytest.raises(PcclipError, match=r"names.json: has nothing for 'photos'; it has 'other'"):
        load(root, class_names=str(file))
    file = tmp_path / "prompts.yaml"
    file.write_text("prompts: [")
    with pytest.raises(PcclipError, match=r"prompts.yaml: is no YAML"):
        load(root, prompts=str(file))


def test_more_names_than_classes_may_be_allowed(root: Path):
    more = {"dog": "d", "Black_Cat": "c", "red-panda": "p", "cow": "w"}
    assert load(root, class_names=more, allow_missing=True).classes == ("c", "d", "p")


def test_two_classes_of_one_name_are_told(root: Path, caplog: pytest.LogCaptureFixture):
    load(root, class_names={"dog": "pet", "Black_Cat": "pet", "red-panda": "panda"})
    assert "several classes have the name 'pet'" in caplog.text
