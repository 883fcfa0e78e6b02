"""The rows of a job from picture sets and from sources, by every kind of plan, through the command line."""

import json
from pathlib import Path

import pytest
import yaml
from jobs import RULES, records

from pcclip.cli import main
from pcclip.data.sources.awa2 import Awa2
from pcclip.data.sources.coco import Coco
from pcclip.generation.pairs import PairPlan
from pcclip.generation.picture_pairs import PicturePairs, SourcePairs

SHAPES = ["--config", "data_recipes/shapes/demo.yaml", "--config", "data_recipes/shapes/smoke.yaml"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("shapes")
    assert main(["prepare", *SHAPES, "--differences", "null", f"--out={folder}", "--progress=false"]) == 0
    return str(folder / "pictures" / "train")


def write(folder: Path, shards: str, **plan: object) -> list[dict]:
    init = {"pictures": shards, "plan": plan, "name": "s", "seed": 5}
    rows = {"class_path": "pcclip.generation.picture_pairs.PicturePairs", "init_args": init}
    settings = {
        "rows": rows,
        "writer": RULES,
        "out": str(folder / "out"),
        "progress": False,
        "chunk_rows": 40,
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(settings))
    assert main(["write", f"--config={folder / 'recipe.yaml'}"]) == 0
    return records(folder / "out")


def test_both_directions_make_two_rows_of_each_pair(pictures: str, tmp_path: Path) -> None:
    told = write(tmp_path, pictures, pictures=30, pairs=75, direction="both")
    assert [r["row"] for r in told] == list(range(150))
    assert len({r["key"] for r in told}) == 150
    ordered = [(r["image1"], r["image2"]) for r in told]
    assert len(set(ordered)) == 150
    assert {(b, a) for a, b in ordered} == set(ordered)


@pytest.mark.parametrize("restriction", ["within_class", "across_class"])
def test_a_restriction_by_class_reads_the_classes_of_the_set(
    pictures: str, tmp_path: Path, restriction: str
) -> None:
    told = write(tmp_path, pictures, pictures=0, pairs=90, restriction=restriction)
    rows = PicturePairs(pictures, PairPlan(0, 1), "s")
    classes = {key: known.class_name for key, known in rows._known.items()}
    assert len({frozenset((r["image1"], r["image2"])) for r in told}) == 90
    same = {classes[r["image1"]] == classes[r["image2"]] for r in told}
    assert same == {restriction == "within_class"}


def test_rows_can_be_read_from_any_row_on(pictures: str) -> None:
    for plan in (PairPlan(0, 300, direction="both"), PairPlan(25, method="all", order="grouped", window=64)):
        rows = PicturePairs(pictures, plan, "s", 1)
        every = list(rows.rows())
        assert len(every) == rows.count()
        for start in (0, 1, 63, 64, 65, 299):
            assert [r.key for r in rows.rows(start)] == [r.key for r in every[start:]]


def test_all_captions_of_coco_make_pairs_without_their_pictures(real_data: Path) -> None:
    file = str(real_data / "coco/annotations/captions_val2017.json")
    source = Coco(file, with_images=False, train=1.0, validation=0.0)
    rows = SourcePairs(source, PairPlan(0, method="all"), "coco")
    assert rows.count() == 5000 * 4999 // 2
    last = next(rows.rows(rows.count() - 1))
    assert last.number == rows.count() - 1
    known = {}
    for note in json.loads(Path(file).read_text())["annotations"]:
        known.setdefault(note["image_id"], []).append(note["caption"].strip())
    for captions, key in ((last.captions1, last.image1), (last.captions2, last.image2)):
        assert sorted(captions) == sorted(known[int(key)])
    assert rows.licence() == Coco.licence
    assert rows.describe() == SourcePairs(source, PairPlan(0, method="all"), "coco").describe()


def test_a_source_with_attributes_is_written_about_by_rules(real_data: Path, tmp_path: Path) -> None:
    source = {
        "class_path": "pcclip.data.sources.awa2.Awa2",
        "init_args": {"root": str(real_data / "AwA2")},
    }
    plan = {"pictures": 0, "pairs": 20}
    rows = {
        "class_path": "pcclip.generation.picture_pairs.SourcePairs",
        "init_args": {"source": source, "plan": plan, "name": "awa2"},
    }
    recipe = tmp_path / "recipe.yaml"
    writer = {**RULES, "init_args": {"source": source}}
    recipe.write_text(yaml.safe_dump({"rows": rows, "writer": writer, "out": str(tmp_path / "out")}))
    assert main(["write", f"--config={recipe}"]) == 0
    told = records(tmp_path / "out")
    assert len({frozenset((r["image1"], r["image2"])) for r in told}) == 20
    attributes = {p.key: p.attributes for p in Awa2(str(real_data / "AwA2")).texts("train")}
    for record in told:
        for name in record["notes"]["attributes"]:
            assert attributes[record["image1"]][name] != attributes[record["image2"]][name]
