"""What a clean run says: no warnings, no control characters and few lines without a terminal."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fitting import fit_words

from pcclip.cli import main

ROOT = Path(__file__).parents[2]
SMOKE = ["--config=data_recipes/shapes/demo.yaml", "--config=data_recipes/shapes/smoke.yaml"]


def told(*words, **environment) -> tuple[str, str]:
    """Standard output and error of a command, with all of Python's warnings on."""
    done = subprocess.run(
        [sys.executable, "-W", "default", "-m", "pcclip", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.mark.slow
def test_a_fit_its_comparison_and_its_evaluation(place, tmp_path):
    words = fit_words(place, "clean", "--trainer.enable_progress_bar=true")
    out, error = told(*words)
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
