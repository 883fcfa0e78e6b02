"""`pcclip evaluate`, again: results and embeddings that are kept, and what they are not taken for."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from planted import COLOURS, evaluation_json, pictures, write

from pcclip.cli import main
from pcclip.model.checkpoint import save_folder
from pcclip.model.towers import load_towers


def save_model(folder: Path, seed: int) -> None:
    torch.manual_seed(seed)
    save_folder(load_towers("pcclip-tiny", random_init=True), folder)


def describe(folder: Path, text: str) -> None:
    texts = [{"class": colour, "texts": [text.format(colour)]} for colour in COLOURS]
    raw = {"schema": 1, "kind": "class texts", "card": {}, "texts": texts}
    (folder / "descriptions.json").write_text(json.dumps(raw))


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a set, a model, a suite and its results."""
    folder = tmp_path_factory.mktemp("evaluate")
    write(folder / "data", pictures(60))
    describe(folder, "it is {}")
    save_model(folder / "model", 0)
    suite = {
        "suite": "small",
        "evaluations": [
            {
                "data": str(folder / "data"),
                "protocols": [
                    {"class_path": "pcclip.evaluation.protocols.zero_shot.ZeroShot"},
                    {"class_path": "pcclip.evaluation.protocols.difference.DifferenceClassification"},
                    {
                        "class_path": "pcclip.evaluation.protocols.zero_shot.ZeroShot",
                        "init_args": {"descriptions": str(folder / "descriptions.json")},
                    },
                ],
            }
        ],
        "models": [{"name": f"local-dir:{folder / 'model'}", "label": "tiny"}],
        "out": str(folder / "out"),
        "cache_dir": str(folder / "cache"),
    }
    (folder / "suite.json").write_text(json.dumps(suite))
    assert main(["evaluate", "--config", str(folder / "suite.json")]) == 0
    return folder


@pytest.fixture
def place(measured: Path, tmp_path: Path) -> Path:
    """The same, to be changed; its paths point into the copy."""
    copy = tmp_path / "copy"
    shutil.copytree(measured, copy)  # keeps the times of change: cached shard indexes hold
    text = (copy / "suite.json").read_text()
    (copy / "suite.json").write_text(text.replace(str(measured), str(copy)))
    return copy


def evaluate(place: Path, *words: str) -> int:
    return main(["evaluate", "--config", str(place / "suite.json"), *words])


def results(place: Path) -> Path:
    return place / "out" / "small" / "tiny" / "base" / "planted.npz"


def written(file: Path) -> tuple[int, int]:
    """What changes when a file is written again."""
    status = file.stat()
    return status.st_ino, status.st_mtime_ns


def test_what_is_there_is_kept_and_shown(place: Path, capsys: pytest.CaptureFixture[str]):
    before = written(results(place))
    assert evaluate(place) == 0
    assert written(results(place)) == before
    assert "zero_shot/planted/top1" in capsys.readouterr().out
    assert evaluate(place, "--again", "true") == 0
    assert written(results(place)) != before


def other_pairs(place: Path) -> None:
    suite = json.loads((place / "suite.json").read_bytes())
    suite["evaluations"][0]["protocols"][1]["init_args"] = {"pairs": 50}
    (place / "suite.json").write_text(json.dumps(suite))


def fewer_protocols(place: Path) -> None:
    suite = json.loads((place / "suite.json").read_bytes())
    del suite["evaluations"][0]["protocols"][1]
    (place / "suite.json").write_text(json.dumps(suite))


def other_pictures(place: Path) -> None:
    shutil.rmtree(place / "data")
    made = pictures(60)
    write(place / "data", [replace(made[0], image=made[1].image), *made[1:]])


def other_prompts(place: Path) -> None:
    raw = evaluation_json()
    raw["prompts"]["seen"] = ["a {}"]
    (place / "data" / "evaluation.json").write_text(json.dumps(raw))


def other_weights(place: Path) -> None:
    shutil.rmtree(place / "model")
    save_model(place / "model", 1)


def other_descriptions(place: Path) -> None:
    describe(place, "{} paint")


def no_record(place: Path) -> None:
    results(place).with_name("record.json").unlink()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (other_pairs, "protocols[1].pairs was 2000 and is 50"),
        (fewer_protocols, "evaluations[0].protocols"),
        (other_pictures, "evaluations[0].data.test"),
        (other_prompts, "evaluations[0].data.test"),
        (other_weights, "model.image"),
        (other_descriptions, "protocols[2].descriptions.sha256"),
        (no_record, "no record of how they were measured"),
    ],
)
def test_results_of_another_measurement_are_refused(
    place: Path, change: Callable[[Path], Any], told: str, capsys: pytest.CaptureFixture[str]
):
    before = results(place).read_bytes()
    change(place)
    assert evaluate(place) == 1
    error = capsys.readouterr().err
    assert told in error
    assert "--again true" in error
    assert results(place).read_bytes() == before
    assert evaluate(place, "--again", "true") == 0
    assert evaluate(place) == 0  # the new ones are now those of this measurement


def test_with_kept_embeddings_no_model_is_loaded_and_the_results_are_the_same(place: Path):
    script = (
        "import sys\nfrom pcclip.cli import main\n"
        f"assert main(['evaluate', '--config', {str(place / 'suite.json')!r}]) == 0\n"
        "print([name in sys.modules for name in ('torch', 'open_clip')], file=sys.stderr)"
    )
    shown = []
    for loaded in (True, False):  # the copied model is another one until it has been looked at
        shutil.rmtree(place / "out")
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert done.stderr.strip().endswith(str([loaded, loaded]))
        shown.append(done.stdout)
    assert shown[0] == shown[1]


def test_kept_embeddings_give_the_same_results(place: Path):
    estimates = place / "out" / "small" / "tiny" / "estimates.json"
    found = []
    for keep in (True, False):
        shutil.rmtree(place / "out")
        if not keep:
            shutil.rmtree(place / "cache")
        assert evaluate(place) == 0
        found.append(json.loads(estimates.read_bytes())["base"])
    assert found[0] == found[1]


def test_a_stopped_evaluation_goes_on_with_the_next_model(place: Path):
    """A suite of two models whose second one is broken: the first one's results stay, and are used."""
    suite = json.loads((place / "suite.json").read_bytes())
    suite["models"].append({"name": f"local-dir:{place / 'second'}", "label": "second"})
    shutil.rmtree(place / "out")
    (place / "suite.json").write_text(json.dumps(suite))
    assert evaluate(place) == 1  # there is no second model yet
    before = written(results(place))
    save_model(place / "second", 1)
    assert evaluate(place) == 0
    assert written(results(place)) == before
    assert (place / "out" / "small" / "second" / "base" / "planted.npz").is_file()


def test_a_stopped_run_goes_on_with_the_stage_that_is_missing(
    place: Path, capsys: pytest.CaptureFixture[str]
):
    base = {"name": f"local-dir:{place / 'model'}", "pretrained": None, "random_init": False}
    run = place / "runs" / "one"
    save_model(run / "model", 2)
    (run / "interpolated").mkdir()  # not yet complete
    (run / "summary.json").write_text(json.dumps({"schema": 1, "base_model": {"base": base}}))
    suite = json.loads((place / "suite.json").read_bytes()) | {"models": None}
    (place / "suite.json").write_text(json.dumps(suite))
    assert evaluate(place, "--runs", f"[{run}]") == 1
    tuned = run / "results" / "small" / "tuned" / "planted.npz"
    before = written(tuned)
    shutil.rmtree(run / "interpolated")
    save_model(run / "interpolated", 3)
    assert evaluate(place, "--runs", f"[{run}]") == 0
    assert written(tuned) == before
    estimates = json.loads((run / "results" / "small" / "estimates.json").read_bytes())
    name = "zero_shot/planted/top1"
    for stage in ("tuned", "interpolated"):
        change = estimates[stage][name]["value"] - estimates["base"][name]["value"]
        assert estimates[f"{stage}_delta"][name]["value"] == pytest.approx(change)
    other_weights(place)  # of the base: then the changes against it are others
    capsys.readouterr()
    assert evaluate(place, "--runs", f"[{run}]") == 1
    assert "model.image" in capsys.readouterr().err
