"""What a clean run says: no warnings, no control characters and few lines without a terminal."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fitting import fit_words
from ranked import full

from pcclip.cli import main

ROOT = Path(__file__).parents[2]
SMOKE = ["--config=data_recipes/shapes/demo.yaml", "--config=data_recipes/shapes/smoke.yaml"]


PROGRESS = r"[\w ,.:/-]+: [\d,]+ of [\d,]+(, [^\x1b]*)?"
"""What a slow machine says more of."""
EXPECTED = re.compile(
    PROGRESS + "|"
    r"run folder: .*|step [\d,]+ of .*|(step \d+: )?zero_shot/.*|training [\d,]+ of .*"  # fits
    r"|write: [\d,/]+ rows, .*|judge-\d: parrot, the (first|second) picture shown first, seed \d"
    r"|(Restoring states|Restored all states|Loaded model weights) from the checkpoint (path )?at .*"
    r"|trial \d: .*|.*: finished; `pcclip compare .*"  # sweeps and their logs
    r"|pcclip serve: stopped by SIGTERM"
)
"""What a clean run may say on standard error."""


@pytest.mark.parametrize("which", ["quick", pytest.param("long", marks=[pytest.mark.slow, full])])
def test_no_verb_says_more_than_it_has_to(place, whole, tmp_path, which):
    """All warnings are on, also in child processes; nothing else may be said but progress."""
    script = Path(__file__).with_name("verbs_in_turn.py")
    done = subprocess.run(
        [sys.executable, "-W", "default", script, place, whole, tmp_path, which],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONWARNINGS": "default", "CI": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "what the process itself says at its end: resources, semaphores"
    said = json.loads((tmp_path / "said.json").read_text())
    for verb, (status, out, error) in said.items():
        assert status == (143 if "serve" in verb else 0), (verb, error)
        assert "\x1b" not in out + error
        assert "\r" not in out + error
        odd = [line for line in error.splitlines() if not EXPECTED.fullmatch(line)]
        assert not odd, (verb, odd)


def told(*words, **environment) -> tuple[str, str]:
    """Standard output, and error but for progress, of a command, with all of Python's warnings on."""
    done = subprocess.run(
        [sys.executable, "-W", "default", "-m", "pcclip", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines(keepends=True)
    return done.stdout, "".join(line for line in lines if not re.fullmatch(PROGRESS, line.rstrip("\n")))


@pytest.mark.slow
def test_a_fit_its_comparison_and_its_evaluation(place, tmp_path):
    words = fit_words(place, "clean", "--trainer.enable_progress_bar=true")
    out, error = told(*words, CI="1")
    run = place / "runs/small/clean"
    assert out.splitlines()[-1].startswith(f"{run}: finished; `pcclip compare {run}`")
    assert "warning" not in error.lower()
    assert "\x1b" not in out + error
    lines = error.splitlines()
    assert lines[0] == f"run folder: {run}"
    assert [line.split(":")[0].split(",")[0] for line in lines if line.startswith("step")][-2:] == [
        "step 12 of 12",
        "step 12",
    ]
    assert len(lines) < 20, "few lines: what trains, ten of the steps, one of every validation"
    out, error = told("compare", run, CI="1")
    assert error == ""
    assert "two-alternative" in out
    (tmp_path / "suite.yaml").write_text(
        f"suite: s\nevaluations: [{{data: {place / 'data'}, protocols: "
        "[{class_path: pcclip.evaluation.protocols.zero_shot.ZeroShot}]}]"
    )
    _, error = told(
        "evaluate", f"--config={tmp_path / 'suite.yaml'}", f"--runs=[{run}]", f"--cache_dir={tmp_path}"
    )
    assert error == ""


@pytest.mark.parametrize("environment", [{}, {"CI": "1"}])
def test_making_data(tmp_path, environment):
    out, error = told("prepare", *SMOKE, f"--out={tmp_path / 'data'}", **environment)
    assert error == ""
    assert len(out.splitlines()) == 1


def test_help_names_the_verb_and_groups_them(capsys):
    out, _ = told("--help")
    assert "make data:" in out
    assert "use a model:" in out
    for verb in ("prepare", "inspect", "export", "rank", "resume"):
        with pytest.raises(SystemExit) as ended:
            main([verb, "--help"])
        assert not ended.value.code
        assert capsys.readouterr().out.startswith(f"usage: pcclip {verb} "), verb
