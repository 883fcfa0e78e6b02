import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from jsonargparse import ArgumentParser, auto_cli

from pcclip.cli import main
from pcclip.data.bank_files import BankWriter
from pcclip.data.inspect import inspect_shards
from pcclip.data.prepare import prepare
from pcclip.data.recipe import recipe_of
from pcclip.data.records import Picture, Triple
from pcclip.data.shards import ShardIndex, resolve_shards
from pcclip.data.sources.shapes import Shapes
from pcclip.data.triples import Differences
from pcclip.errors import PcclipError
from pcclip.generation.neighbours import list_neighbours, read_vectors
from pcclip.generation.pairs import PairPlan, draw_pool

RECIPES = Path(__file__).parents[2] / "data_recipes"
SHAPES = [
    "--config",
    str(RECIPES / "shapes" / "demo.yaml"),
    "--config",
    str(RECIPES / "shapes" / "smoke.yaml"),
]
PARTS = ("pictures/train", "pictures/validation", "pictures/test", "triples/train", "triples/validation")


def run(out: Path, *more: str) -> None:
    auto_cli(prepare, args=[*SHAPES, "--out", str(out), "--progress", "false", *more], as_positional=False)


def files(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(out).parts)
    }


def triples(folder: Path) -> list[Triple]:
    return [
        Triple.parse(index.keys[at], index.read(at, "json"), path)
        for path in resolve_shards(str(folder))
        for index in (ShardIndex.load(path),)
        for at in range(len(index))
    ]


def pictures(folder: Path) -> dict[str, Picture]:
    return {
        index.keys[at]: Picture.parse(index.keys[at], index.read_record(at), path)
        for path in resolve_shards(str(folder))
        for index in (ShardIndex.load(path),)
        for at in range(len(index))
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prepared") / "shapes"
    run(out)
    return out


def test_a_recipe_makes_whole_sets_of_the_sizes_it_says(made: Path) -> None:
    sizes = {part: json.loads((made / part / "set.json").read_text())["records"] for part in PARTS}
    assert list(sizes.values()) == [200, 60, 100, 300, 60]
    for split in ("train", "validation"):
        report = inspect_shards(str(made / "triples" / split), pictures=str(made / "pictures" / split))
        assert report.records == sizes[f"triples/{split}"]
    card = (made / "CARD.md").read_text()
    assert "| triples/train | 300 | pixels |" in card
    assert "picture one" in card


def test_the_command_line_makes_the_same(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", *SHAPES]) == 0
    assert "data/shapes-smoke: made in" in capsys.readouterr().out
    assert files(Path("data/shapes-smoke")) == files(made)
    recipe = tmp_path / "data" / "shapes-smoke" / "recipe.json"
    recipe.write_text(recipe.read_text().replace('"source.seed": 0', '"source.seed": 8'))
    assert main(["prepare", *SHAPES]) == 1
    assert "source.seed: 8 there, 0 now" in capsys.readouterr().err


def test_triples_carry_the_pictures_that_they_name(made: Path) -> None:
    known = pictures(made / "pictures" / "train")
    used = set()
    for path in resolve_shards(str(made / "triples" / "train")):
        index = ShardIndex.load(path)
        for at in range(len(index)):
            triple = Triple.parse(index.keys[at], index.read(at, "json"), path)
            used |= {triple.image1, triple.image2}
            assert index.read(at, "1.jpg") == known[triple.image1].image
            assert index.read(at, "2.jpg") == known[triple.image2].image
            assert triple.source["writer"] == "rules"
    assert 90 < len(used) <= 100


def test_both_payloads_hold_the_same_texts_of_the_same_pairs(made: Path, tmp_path: Path) -> None:
    run(tmp_path / "keys", "--differences.payload", "keys")
    for split in ("train", "validation"):
        first, second = (triples(out / "triples" / split) for out in (made, tmp_path / "keys"))
        assert first == second
        pairs = [frozenset((t.image1, t.image2)) for t in first]
        assert len(set(pairs)) == len(pairs)


def test_evaluation_texts_are_in_no_training_text(made: Path) -> None:
    evaluation = json.loads((made / "evaluation.json").read_text())
    said = "\n".join(t.difference for t in triples(made / "triples" / "train"))
    for question in evaluation["questions"]:
        for wording in question["wordings"]:
            if wording["held_out"] and question["kind"] == "degree":
                for more, less in (
                    (question["more"], question["less"]),
                    (question["less"], question["more"]),
                ):
                    assert wording["text"].format(more=more, less=less) not in said
    assert evaluation["splits"] == {"validation": "pictures/validation", "test": "pictures/test"}
    test_set = pictures(made / "pictures" / "test").values()
    assert {p.class_name for p in test_set} <= set(evaluation["classes"])
    held_out = {p.class_name for p in test_set if p.attributes["combination"] == "held_out"}
    assert held_out <= set(evaluation["held_out_classes"]["test"])


def test_again_does_nothing_and_another_recipe_is_refused(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(made)
    run(made)
    assert "already made" in capsys.readouterr().out
    with pytest.raises(
        PcclipError, match=r"shapes: holds data of another recipe.*source\.seed: 0 there, 1 now"
    ):
        run(made, "--source.seed", "1")
    assert files(made) == before


def test_only_the_missing_parts_are_made(made: Path, tmp_path: Path) -> None:
    run(tmp_path)
    whole = files(tmp_path)
    assert whole == files(made)
    stamp = (tmp_path / "pictures" / "train" / "000000.tar").stat().st_mtime_ns
    (tmp_path / "triples" / "train" / "set.json").unlink()
    (tmp_path / "triples" / "train" / ".pcclip-writing").touch()
    (tmp_path / "CARD.md").unlink()
    run(tmp_path)
    assert files(tmp_path) == whole
    assert (tmp_path / "pictures" / "train" / "000000.tar").stat().st_mtime_ns == stamp


def test_a_killed_run_goes_on_and_ends_the_same(made: Path, tmp_path: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); "
    code += f"from test_prepare import run; from pathlib import Path; run(Path({str(tmp_path)!r}))"
    process = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"OMP_NUM_THREADS": "1"})
    while not list(tmp_path.glob("pictures/validation/*")) and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "CARD.md").exists()
    run(tmp_path)
    assert files(tmp_path) == files(made)


def test_all_pairs_and_too_many_pairs(tmp_path: Path) -> None:
    source = Shapes(train=20, validation=6, test=4)

    def differences(pairs: int) -> Differences:
        return Differences(PairPlan(8, method="all"), PairPlan(6, pairs))

    prepare(source, str(tmp_path / "a"), differences(15), progress=False)
    assert 26 <= len(triples(tmp_path / "a" / "triples" / "train")) <= 28
    with pytest.raises(
        PcclipError, match=r"validation pictures: pairs: 16 pairs asked for, but 6 pictures make 15"
    ):
        prepare(source, str(tmp_path / "b"), differences(16), progress=False)
    assert not (tmp_path / "b" / "CARD.md").exists()


def test_differences_of_hard_pairs_grouped_and_in_both_directions(made: Path, tmp_path: Path) -> None:
    known = pictures(made / "pictures" / "train")
    with BankWriter(tmp_path / "bank", list(known), 8, "test") as bank:
        bank.append(np.random.default_rng(0).standard_normal((len(known), 8)))
    plan = {"pictures": 80, "pairs": 50, "method": "neighbours", "bank": str(tmp_path / "bank")}
    plan |= {"neighbours": 2, "direction": "both", "order": "grouped"}
    run(tmp_path / "out", "--differences.train", json.dumps(plan), "--differences.payload", "keys")
    written = [(t.image1, t.image2) for t in triples(tmp_path / "out" / "triples" / "train")]
    assert len(written) == len(set(written)) == 100
    assert len(set(map(frozenset, written))) in (50, 51)
    pool = draw_pool(list(known), PairPlan(80, 1), 0)
    whole = read_vectors(tmp_path / "bank", pool)
    near = {frozenset(pool[at] for at in pair) for pair in list_neighbours(whole, 2, 0.999).tolist()}
    assert set(map(frozenset, written)) <= near


def test_settings_at_their_default_leave_a_recipe_as_it_was_before_there_were_such() -> None:
    differences = Differences(PairPlan(8, method="all"), PairPlan(6, 5, direction="both", window=9))
    recipe = recipe_of(Shapes(), differences, 1000)
    assert recipe["differences.train"] == {"pictures": 8, "pairs": 0, "method": "all"}
    assert recipe["differences.validation"] == {
        **{"pictures": 6, "pairs": 5, "method": "random"},
        **{"direction": "both", "window": 9},
    }


PREPARED = [file for file in sorted(RECIPES.rglob("*.yaml")) if "\nsource:" in file.read_text()]


def test_there_are_recipes_for_the_shipped_sources() -> None:
    assert {file.parent.name for file in PREPARED} >= {"shapes", "eurosat", "coco", "cub"}


@pytest.mark.parametrize("recipe", PREPARED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_shipped_recipe_parses(recipe: Path) -> None:
    parser = ArgumentParser()
    parser.add_argument("--config", action="config")
    parser.add_function_arguments(prepare)
    base = {"shapes": "demo.yaml", "eurosat": "measures.yaml"}.get(recipe.parent.name, "pictures.yaml")
    configs = dict.fromkeys([str(recipe.parent / base), str(recipe)])
    parsed = parser.parse_args([word for config in configs for word in ("--config", config)])
    module = {"your_own": "own"}.get(recipe.parent.name, recipe.parent.name)
    assert parsed.source.class_path.startswith(f"pcclip.data.sources.{module}.")
    assert parsed.out.startswith("data/")


def test_a_world_without_differences_still_has_its_evaluation(made: Path, tmp_path: Path) -> None:
    run(tmp_path / "a", "--differences", "null")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        *("CARD.md", "evaluation.json", "pictures", "recipe.json")
    ]
    ours, theirs = files(tmp_path / "a"), files(made)
    for name, data in ours.items():
        assert name in ("CARD.md", "recipe.json") or theirs[name] == data, name
    with pytest.raises(PcclipError, match=r"differences\.train: None there"):
        run(tmp_path / "a")


def test_keys_of_a_world_give_its_pictures() -> None:
    source = Shapes(train=9, validation=3, test=3)
    for split in ("train", "validation", "test"):
        for picture in source.pictures(split):
            assert source.image(picture.key) == picture.image
    for key in ("shapes-train-000009", "shapes-dev-000001", "000001", "shapes-train-x"):
        with pytest.raises(PcclipError, match=f"there is no picture '{key}'"):
            source.image(key)
