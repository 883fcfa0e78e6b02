from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from change_world import WorldEncoders, features, world
from PIL import Image
from planted import evaluation_json, load_prepared, pictures, write

from pcclip.cli import main
from pcclip.errors import PcclipError
from pcclip.evaluation.encoding.encoders import CachedEncoders
from pcclip.evaluation.measured import Measured
from pcclip.evaluation.protocol import Results, Subject
from pcclip.evaluation.protocols.change_table import ChangeTable
from pcclip.model.checkpoint import save_folder
from pcclip.model.towers import load_towers

S = "change_retrieval/world-table"


def rows() -> list[dict[str, str]]:
    """Every change of a kind, and one of a colour."""
    found = []
    for colour in ("red", "green", "blue"):
        for size in (0.2, 0.8):
            for one, two in (("circle", "square"), ("square", "star"), ("star", "circle")):
                found.append(
                    {
                        "image1": f"{one}-{colour}-{size}",
                        "change": f"{two} instead of {one}",
                        "image2": f"{two}-{colour}-{size}",
                        "group": "kind",
                    }
                )
    colour = {"image1": "star-red-0.2", "change": "blue instead of red", "image2": "star-blue-0.2"}
    return [*found, colour | {"group": "colour"}]


def run(table: Path, seen: int = 1, **settings: object) -> Results:
    protocol = ChangeTable(tables={"test": str(table)}, weight=1.0, weights=(1.0,), **settings)
    data = world()
    return protocol.run(Subject(CachedEncoders(WorldEncoders(seen)), data, features(data)))


def save(path: Path, table: list[dict[str, str]]) -> Path:
    frame = pd.DataFrame(table)
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_of_changes_is_asked(tmp_path: Path, ending: str):
    table = save(tmp_path / f"changes.{ending}", rows())
    results = run(table, recall_at=(1, 10))
    values = results.values()
    assert values[f"{S}-mean/sentence_recall_at_1"] == 1
    assert values[f"{S}-mean/nearest_recall_at_1"] == pytest.approx(1 / 5)
    assert values[f"{S}-mean/chance_recall_at_1"] == pytest.approx(1 / 17)
    assert values[f"{S}-kind/sentence_alone_recall_at_10"] == 1  # six pictures are of the kind
    assert results.notes["change_retrieval/table"]["queries"] == {"colour": 1, "kind": 18}
    assert run(table, seen=-1).values()[f"{S}-mean/sentence_recall_at_1"] == 0
    assert run(table, seen=-1, speaks_of="image1").values()[f"{S}-mean/sentence_recall_at_1"] == 1


def test_rows_with_one_picture_and_text_are_one_query(tmp_path: Path):
    table = [row for row in rows() if row["group"] == "kind"]
    for row in table:
        del row["group"]
    table.append(table[0] | {"image2": "square-green-0.2"})
    found = run(save(tmp_path / "changes.csv", table), recall_at=(1,)).notes["change_retrieval/table"]
    assert found["queries"] == {"": 18}
    assert found["right candidates per query"][""] == pytest.approx(19 / 18)


def test_captions_in_the_table_give_the_word_delta(tmp_path: Path):
    table = [
        row | {"caption1": f"a {row['image1'].split('-')[0]}", "caption2": f"a {row['image2'].split('-')[0]}"}
        for row in rows()
        if row["group"] == "kind"
    ]
    values = run(save(tmp_path / "changes.csv", table)).values()
    assert values[f"{S}-mean/word_delta_recall_at_1"] == 1
    assert values[f"{S}-mean/caption_alone_recall_at_1"] == pytest.approx(1 / 6)
    table[3]["caption2"] = ""
    with pytest.raises(PcclipError, match="only 17 of 18 rows have both"):
        run(save(tmp_path / "some.csv", table))


def test_rows_of_other_splits_are_left_out_and_candidates_are_limited(tmp_path: Path):
    table = [row | {"split": "validation" if n else "test"} for n, row in enumerate(rows())]
    results = run(save(tmp_path / "changes.csv", table), recall_at=(1,), candidates=5)
    found = results.notes["change_retrieval/table"]
    assert (found["rows"], found["queries"]) == (1, {"kind": 1})
    assert 5 <= found["candidates"] <= 7


def test_what_the_table_gets_wrong_is_named(tmp_path: Path):
    good = rows()
    cases = (
        (
            [good[0] | {"image2": f"gone-{n}"} for n in range(12)],
            r"lacks 12 of .*'gone-0' \(row 2\).*'gone-9' \(row 11\) \.\.\.",
        ),
        ([good[0] | {"image2": good[0]["image1"]}], "row 2: .* changes into itself"),
        ([good[0], good[1] | {"change": " "}], "row 3: .* is empty"),
        ([{"picture": "a", "text": "b"}], "has the columns picture, text"),
        ([good[0] | {"split": "train"}], "has no row of the split 'test'"),
    )
    for number, (table, problem) in enumerate(cases):
        with pytest.raises(PcclipError, match=problem):
            run(save(tmp_path / f"{number}.csv", table))
    data = replace(world(), split="validation")
    alone = Subject(CachedEncoders(WorldEncoders()), data, features(data))
    with pytest.raises(PcclipError, match=r"none for the split 'validation'.*fixed 'weight'"):
        ChangeTable(tables={"test": "x.csv"}).run(alone)
    with pytest.raises(PcclipError, match="cannot be read"):
        run(tmp_path / "absent.csv")
    with pytest.raises(PcclipError, match="'frame' is 'no place'"):
        run(save(tmp_path / "good.csv", good), frame="no place")


def config(tmp_path: Path, evaluations: list[dict[str, object]]) -> str:
    for label in ("tiny", "other"):
        save_folder(load_towers("pcclip-tiny", random_init=True), tmp_path / label, {})
    whole = {
        "suite": "changes",
        "out": str(tmp_path / "out"),
        "models": [{"name": f"local-dir:{tmp_path / label}", "label": label} for label in ("tiny", "other")],
        "evaluations": evaluations,
    }
    (tmp_path / "config.yaml").write_text(json.dumps(whole))
    return str(tmp_path / "config.yaml")


def folder_of_pictures(root: Path) -> Path:
    (root / "night").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("a.jpg", "b.png", "night/a.jpg", "night/b.jpg", "night/c.x.jpg"):
        Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(root / name)
    (root / "notes.txt").write_text("no picture")
    return root


def test_a_folder_and_a_table_run_from_a_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = folder_of_pictures(tmp_path / "photos")
    changes = [
        {"image1": "a.jpg", "change": "at night", "image2": "night/a.jpg"},
        {"image1": "b", "change": "at night", "image2": "night/b"},
    ]
    table = save(tmp_path / "changes.csv", changes)
    source = {
        "class_path": "pcclip.evaluation.sources.unlabelled.Unlabelled",
        "init_args": {"root": str(folder)},
    }
    protocol = {
        "class_path": "pcclip.evaluation.protocols.change_table.ChangeTable",
        "init_args": {"tables": {"test": str(table)}, "weight": 1.0, "recall_at": [1]},
    }
    where = config(tmp_path, [{"data": source, "protocols": [protocol]}])
    run_it = ["evaluate", "--config", where, "--cache_dir", str(tmp_path / "cache")]
    assert main(run_it) == 0
    stored = Measured.load(tmp_path / "out" / "changes" / "tiny" / "base")["photos"]
    assert stored.pictures == 5
    assert stored.values()["change_retrieval/photos-table-mean/chance_recall_at_1"] == pytest.approx(1 / 4)
    save(table, [*changes, {"image1": "a", "change": "in snow", "image2": "snow/a"}])
    capsys.readouterr()
    assert main([*run_it, "--again", "true"]) != 0
    assert "lacks 1 of the pictures that the table names: 'snow/a' (row 4)" in " ".join(
        capsys.readouterr().err.split()
    )


def test_a_prepared_set_is_compared_and_its_curve_is_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    description = evaluation_json()
    description["questions"][0]["margin"] = 0.1
    description["splits"] |= {"validation": "pictures/test", "train": "pictures/test"}
    data = write(tmp_path / "data", pictures(60), description)
    assert len(load_prepared(data, "test")) == 60
    protocol = {
        "class_path": "pcclip.evaluation.protocols.change_retrieval.ChangeRetrieval",
        "init_args": {"weights": [0.5, 1.0], "queries": 20},
    }
    where = config(tmp_path, [{"data": str(data), "protocols": [protocol]}])
    assert main(["evaluate", "--config", where, "--cache_dir", str(tmp_path / "cache")]) == 0
    capsys.readouterr()
    figure = tmp_path / "curve.png"
    results = [str(tmp_path / "out" / "changes" / label) for label in ("tiny", "other")]
    assert main(["compare", *results, "--suite", "changes", "--plot", str(figure)]) == 0
    shown = capsys.readouterr().out
    for label in ("sentence, R@1,", "caption difference (training-free), R@10", "the picture alone, R@1"):
        assert f"planted: changed picture by {label}".rstrip(",") in shown
    with Image.open(figure) as drawn:
        assert drawn.height > 900  # a panel of its own below the changes'


def test_a_table_of_birds_is_asked_of_real_pictures(tmp_path: Path, real_data: Path):
    images = real_data / "CUB_200_2011" / "images"
    birds = sorted(folder for folder in images.iterdir() if folder.is_dir())[:4]
    photos = {bird: sorted(f"{bird.name}/{file.name}" for file in bird.glob("*.jpg"))[:12] for bird in birds}
    names = {bird: bird.name.partition(".")[2].replace("_", " ") for bird in birds}
    changes = [
        {"image1": one, "change": f"a {names[new]} instead of a {names[old]}", "image2": two}
        for old in birds
        for new in birds
        if old != new
        for one in photos[old][:3]
        for two in photos[new]
    ]
    table = save(tmp_path / "birds.parquet", changes)
    source = {
        "class_path": "pcclip.evaluation.sources.unlabelled.Unlabelled",
        "init_args": {"root": str(images), "name": "birds"},
    }
    protocol = {
        "class_path": "pcclip.evaluation.protocols.change_table.ChangeTable",
        "init_args": {"tables": {"test": str(table)}, "weight": 1.0, "candidates": 1},
    }
    where = config(tmp_path, [{"data": source, "protocols": [protocol]}])
    assert main(["evaluate", "--config", where, "--cache_dir", str(tmp_path / "cache")]) == 0
    stored = Measured.load(tmp_path / "out" / "changes" / "tiny" / "base")["birds"]
    notes = stored.notes["change_retrieval/table"]
    assert notes["queries"] == {"": 4 * 3 * 3}
    assert notes["right candidates per query"] == {"": 12.0}
    assert notes["candidates"] in (48, 49)
    chance = 12 / (notes["candidates"] - 1)
    assert stored.values()["change_retrieval/birds-table-mean/chance_recall_at_1"] == pytest.approx(chance)
