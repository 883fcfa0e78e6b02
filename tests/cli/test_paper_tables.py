"""The paper's tables by make: the chain of commands of each, and one of them whole, on stand-ins."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ranked import full

from pcclip.cli import main

ROOT = Path(__file__).parents[2]
SUITES = {
    "1": ["table_1_difference"],
    "2": ["table_2_zero_shot"],
    "3": ["table_3_comparative"],
    "4": ["table_4_descriptions"],
    "5": ["table_5_geometry"],
    "6": ["table_6_arithmetic"],
    "7": ["table_7_retrieval"],
    "8": ["table_8_linear_probe"],
    "9": ["table_1_difference", "table_2_zero_shot"],
    "10": ["table_1_difference", "table_2_zero_shot"],
}

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make(*words: str) -> str:
    """What `make` prints, the environment taken as made."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    ran = subprocess.run(
        ["make", "-o", "env", f"VENV={sys.prefix}", *words],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=550,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    return ran.stdout


def link(place: Path) -> None:
    """What make reads, in a folder where nothing has been made."""
    for name in ("experiments", "data_recipes", "pyproject.toml", "constraints.txt"):
        if not (place / name).exists():
            (place / name).symlink_to(ROOT / name)


def dry(tmp_path: Path, table: str) -> list[str]:
    """The pcclip commands of a table where nothing has been made yet."""
    link(tmp_path)
    place = ["-C", str(tmp_path), "-f", str(ROOT / "Makefile")]
    said = make("-n", "-o", "vllm-env", "SETS=/sets", *place, f"paper-table-{table}")
    return re.findall(r"/bin/pcclip (\w+ [^;\n]*)", re.sub(r"pcclip resume [^;]*;", "", said))


@pytest.mark.parametrize("table", SUITES)
def test_a_table_makes_its_data_then_its_runs_then_measures_and_compares(tmp_path: Path, table: str) -> None:
    commands = dry(tmp_path, table)
    verbs = [command.split()[0] for command in commands]
    ends = len(SUITES[table])
    measured = "arithmetic" if table == "6" else "evaluate"
    assert verbs[-2 * ends :] == [measured, "compare"] * ends
    assert set(verbs[: -2 * ends]) == {"prepare", "write", "fit"}
    for name, command in zip(SUITES[table], commands[-2 * ends :: 2], strict=True):
        assert f"--config experiments/paper/{name}.yaml" in command
    fitted = {f"runs/{experiment(command)}/seed0" for command in commands if command.startswith("fit")}
    for command in commands[-2 * ends :]:
        assert set(re.findall(r"runs/[\w-]+/seed0", command)) <= fitted


def test_what_a_run_reads_is_made_before_it(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(ROOT)
    made: set[str] = set()
    fits = 0
    for command in [*dry(tmp_path, "1"), *dry(tmp_path, "9"), *dry(tmp_path, "10")]:
        verb, *words = shlex.split(command)
        if verb in ("prepare", "write"):
            recipe = yaml.safe_load((ROOT / words[words.index("--config") + 1]).read_text())
            made.add(words[words.index("--out") + 1] if "--out" in words else recipe["out"])
        elif verb == "fit":
            fits += 1
            with pytest.raises(SystemExit):
                main([verb, *words, "--print_config"])
            data = yaml.safe_load(capsys.readouterr().out)["data"]["init_args"]
            for name in ("triples", "captions", "pictures"):
                assert data[name] is None or "/".join(data[name].split("/")[:2]) in made, (command, name)
    assert fits >= 7


def test_every_suite_and_experiment_of_the_paper_has_a_target() -> None:
    rules = (ROOT / "experiments/paper/tables.mk").read_text()
    for file in (ROOT / "experiments/paper").glob("*.yaml"):
        assert re.search(rf"[ ,]{file.stem}[ ,)]", rules), file.name


def test_a_set_that_is_not_there_is_named_with_the_remedy(tmp_path: Path) -> None:
    link(tmp_path)
    words = ["-C", str(tmp_path), "-f", str(ROOT / "Makefile"), "-o", "env", "-o", "vllm-env"]
    ran = subprocess.run(
        ["make", *words, "SETS=/no/sets", "paper-table-7"], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode != 0
    assert "/no/sets/coco is not there: fetch the set, and say SETS=FOLDER" in ran.stdout + ran.stderr


@full
@pytest.mark.slow
def test_a_table_from_stand_ins_to_the_comparison(tmp_path: Path) -> None:
    place = tmp_path / "smoke"
    said = make("paper-table-7-smoke", f"SMOKE_PLACE={place}", "PAPER_RUNS=paper-pc-clip")
    results = place / "runs/paper-pc-clip/seed0/results/table_7_retrieval"
    found = json.loads((results / "estimates.json").read_text())
    recall = found["tuned"]["retrieval/coco/image_to_text_recall_at_1"]
    assert (recall["n"], 0 <= recall["value"] <= 1) == (30, True)
    assert "text_to_image_recall_at_5" in said or "R@5" in said
    # What a dry run does not look into is the make that it would call.
    inner = make("-n", "paper-table-7-smoke", f"SMOKE_PLACE={place}").splitlines()[-1]
    words = [*shlex.split(inner.partition(" make ")[2]), "PAPER_RUNS=paper-pc-clip"]
    verbs = re.findall(r"cli (fit|prepare|write|evaluate|compare)", make("-n", *words))
    assert verbs == ["evaluate", "compare"]  # what is made stays


def experiment(fit: str) -> str:
    """The name of the experiment that a fit's last configuration gives it."""
    return yaml.safe_load((ROOT / re.findall(r"--config (\S+)", fit)[-1]).read_text())["experiment"]
