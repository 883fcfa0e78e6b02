"""The packaged cases name classes of CIFAR-100 and attributes of AwA2; broken files are refused by place."""

from pathlib import Path

import pytest
import yaml

from pcclip.arithmetic.cases import CaseFile
from pcclip.arithmetic.plan import Plan
from pcclip.arithmetic.vectors import Arithmetic
from pcclip.errors import PcclipError
from pcclip.evaluation.sources.sheets import QuestionSheet
from pcclip.evaluation.sources.words import Words
from tests.arithmetic.arithmetic_world import CASES


@pytest.fixture(scope="module")
def packaged() -> CaseFile:
    return CaseFile.load("cifar100-awa2")


def test_the_packaged_cases_are_of_the_sets_by_name(packaged) -> None:
    assert 60 <= len(packaged.cases) <= 150
    assert {case.subject for case in packaged.cases} <= set(Words.of("cifar100").names.values())
    known = {one.attribute for one in QuestionSheet.load("awa2-attributes", "test").questions}
    assert {case.attribute for case in packaged.cases} <= known


def test_attributes_stand_in_awa2s_own_list(packaged, real_data: Path) -> None:
    lines = (real_data / "AwA2" / "predicates.txt").read_text().splitlines()
    assert {case.attribute for case in packaged.cases} <= {line.split()[1] for line in lines}


def test_texts_are_filled_in_with_the_right_article(packaged) -> None:
    by_name = {case.name: case for case in packaged.cases}
    snowy = by_name["leopard/arctic"]
    assert (snowy.base, snowy.change, snowy.opposite) == ("a photo of a leopard", "snowier", "with less snow")
    assert (snowy.target, snowy.against) == (
        "a photo of a leopard in the snow",
        "a photo of a leopard in summer",
    )
    assert by_name["elephant/small"].base == "a photo of an elephant"
    assert by_name["elephant/small"].target == "a photo of a small elephant"
    assert snowy.groups == ("place",)


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ({"schema": 2}, "schema 2, this version reads 1"),
        (
            {"attributes": {"red": {"change": "redder", "target": "a red {}"}}},
            "attributes: red: lacks 'subjects'",
        ),
        ({"attributes": {}}, "has no cases"),
        ({"prompt": ""}, "'prompt' should be a text"),
    ],
)
def test_a_broken_file_is_named_with_the_place(tmp_path: Path, broken, told) -> None:
    file = tmp_path / "cases.yaml"
    file.write_text(yaml.safe_dump(CASES | broken))
    with pytest.raises(PcclipError, match=r"cases\.yaml") as refused:
        CaseFile.load(str(file))
    assert told in str(refused.value)


def test_a_file_that_is_not_there_is_told_from_the_packaged_ones() -> None:
    with pytest.raises(PcclipError, match="cifar100-awa2"):
        CaseFile.load("cifar10-awa2")


def test_a_subjects_plain_picture_is_drawn_once_for_all_its_cases(packaged) -> None:
    plan = Plan(packaged.cases, [1.0, 0.5], [0, 1], Arithmetic())
    assert plan.cells == ("w0", "w0.5", "w1", "words")
    subjects = {case.subject for case in packaged.cases}
    assert len(plan.wanted("w0")) == 2 * len(subjects)
    assert len(plan.wanted("w1")) == 2 * len(packaged.cases)


def test_an_opposite_that_is_to_be_subtracted_must_be_there(tmp_path: Path) -> None:
    red = CASES["attributes"]["red"] | {"opposite": None}
    (tmp_path / "cases.yaml").write_text(yaml.safe_dump(CASES | {"attributes": {"red": red}}))
    cases = CaseFile.load(str(tmp_path / "cases.yaml")).cases
    Plan(cases, [1.0], [0], Arithmetic(relative_to="empty"))
    with pytest.raises(PcclipError, match=r"apple/red has no 'opposite'"):
        Plan(cases, [1.0], [0], Arithmetic(relative_to="opposite"))
