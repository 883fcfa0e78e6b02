"""The table of what a language model's texts keep of the gain, by its command, on sets with known claims."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pcclip.data.records import Triple
from pcclip.data.shards import ShardSetWriter
from pcclip.data.sources.shapes import Shapes
from pcclip.demos import command
from pcclip.demos.small_writer_report import report, share_kept
from pcclip.evaluation.statistics import Estimate

ROOT = Path(__file__).parents[2]
METRICS = ("difference/shapes-mean/two_alternative", "difference/shapes-mean-unseen/two_alternative")


def summary(seed: int, base: float, gain: float, **more: Any) -> dict[str, Any]:
    def all_of(value: float) -> dict[str, dict[str, float]]:
        names = (*METRICS, "zero_shot/shapes/top1")
        return {name: {"value": value, "low": value - 0.01, "high": value + 0.01, "n": 100} for name in names}

    told = {"schema": 1, "experiment": "x", "seed": seed, "steps": 10, "precision": "32-true"}
    told |= {"base": all_of(base), "tuned": all_of(base + gain), "delta": all_of(gain)}
    return told | more


def write_runs(folder: Path, *summaries: dict[str, Any]) -> Path:
    for told in summaries:
        file = folder / f"seed{told['seed']}" / "summary.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(told))
    return folder


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures; by rules one right text twice, by the model one right, two wrong and one unreadable."""
    folder = tmp_path_factory.mktemp("sets")
    world = Shapes(seed=3, train=50)
    one, two = next(
        (a, b)
        for a in world.pictures("train")
        for b in world.pictures("train")
        if a.attributes["colour"] != b.attributes["colour"] and a.attributes["size"] > b.attributes["size"]
    )
    with ShardSetWriter(folder / "pictures", "pictures", 100, {}) as shards:
        for picture in (one, two):
            shards.write_picture(picture)
    mine, other = one.attributes["colour"], two.attributes["colour"]
    texts = {
        "rules": ["the first picture shows a larger object"] * 2,
        "job/triples": [
            "the second picture shows a smaller object",
            "the first picture shows a smaller object",
            f"a {other} object instead of a {mine} object",
            "the first picture is the second picture",
        ],
    }
    for name, written in texts.items():
        with ShardSetWriter(folder / name, "triples", 100, {}) as shards:
            for number, text in enumerate(written):
                shards.write_triple(Triple(f"t{number}", one.key, two.key, text, {}))
    answers = [{"reason": None, "error": None}] * 4 + [{"reason": "repetition", "error": None}]
    (folder / "job" / "answers").mkdir()
    (folder / "job" / "answers" / "000000.jsonl").write_text("".join(json.dumps(a) + "\n" for a in answers))
    (folder / "writer").mkdir()
    (folder / "writer" / "texts.txt").write_text("the second picture shows a smaller object\n")
    (folder / "writer" / "writer.json").write_text(json.dumps({"parameters": 1_000_000, "seconds": 9.0}))
    return folder


def words(sets: Path, rules: Path, written: Path, markdown: Path) -> list[str]:
    said = []
    for name, path in {
        "rule_runs": rules,
        "written_runs": written,
        "rule_triples": sets / "rules",
        "job": sets / "job",
        "pictures": sets / "pictures",
        "writer": sets / "writer",
        "markdown": markdown,
    }.items():
        said += [f"--{name}", str(path)]
    return said


def cells(markdown: Path, label: str) -> list[str]:
    line = next(x for x in markdown.read_text().splitlines() if x.startswith(f"| {label} |"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_the_table_counts_what_is_there(sets: Path, tmp_path: Path) -> None:
    rules = write_runs(tmp_path / "rules", summary(0, 0.5, 0.4), summary(1, 0.5, 0.4))
    written = write_runs(tmp_path / "written", summary(0, 0.5, 0.3), summary(1, 0.5, 0.36))
    table = tmp_path / "table.md"
    done = subprocess.run(
        [sys.executable, "-m", "pcclip.demos.small_writer_report", *words(sets, rules, written, table)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert cells(table, "texts") == ["2", "4"]
    assert cells(table, "different texts") == ["1", "4"]
    assert cells(table, "rejected") == ["", "1 (20.00%)"]
    assert cells(table, "- repetition") == ["", "1"]
    shares = {
        "right by the pictures' attributes": (100, 25),
        "wrong": (0, 50),
        "cannot be read, or tells no difference": (0, 25),
    }
    shares["equal to a training text"] = (0, 25)
    for label, (by_rules, by_model) in shares.items():
        found = cells(table, label)
        assert [float(cell.split(" ")[0]) for cell in found] == [by_rules, by_model], label
    assert cells(table, "- right of those about size") == ["100.0% of 2", "50.0% of 2"]
    assert cells(table, "- right of those about colour") == ["0.0% of 0", "0.0% of 1"]
    for label in ("two-alternative, seen wordings", "two-alternative, held-out wordings"):
        kept = cells(table, label)[-1]  # 0.75 and 0.9 of the gain: mean 0.825
        assert kept.startswith("82.5 ["), kept
        low, high = (float(part) for part in kept.partition("[")[2].strip("]").split(", "))
        assert low < 75
        assert high > 90  # two seeds say little
    assert "+40.0" in cells(table, "zero-shot top-1")[1]
    assert "Unreadable: the first picture is the second picture" in done.stdout


@pytest.mark.parametrize("odd", [{"base": None}, {"steps": 20}, {"precision": "bf16-mixed"}, {"seed": 5}])
def test_runs_that_cannot_be_compared_are_refused(
    sets: Path, tmp_path: Path, odd: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = {"base": summary(0, 0.4, 0.4)["base"]} if "base" in odd else odd
    rules = write_runs(tmp_path / "rules", summary(0, 0.5, 0.4))
    written = write_runs(tmp_path / "written", summary(0, 0.5, 0.3) | odd)
    monkeypatch.setattr(sys, "argv", ["report", *words(sets, rules, written, tmp_path / "table.md")])
    with pytest.raises(SystemExit) as ended:
        command(report)
    assert (next(iter(odd)) if "seed" not in odd else "no seed has") in str(ended.value.code)
    assert not (tmp_path / "table.md").exists()


def test_one_seeds_interval_holds_what_both_gains_may_be() -> None:
    kept = share_kept(Estimate(0.4, 0.38, 0.42, 100), Estimate(0.3, 0.28, 0.32, 100))
    assert kept.value == pytest.approx(0.75)
    assert 0.28 / 0.42 < kept.low < 0.28 / 0.4
    assert 0.32 / 0.4 < kept.high < 0.32 / 0.38
