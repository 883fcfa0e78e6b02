"""`pcclip completion bash` in a real bash: verbs, options, values, files; without Python."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pcclip.cli import VERBS, main

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("completion") / "pcclip"
    done = subprocess.run(
        [sys.executable, "-m", "pcclip", "completion", "bash"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert done.stderr == ""
    file.write_text(done.stdout)
    return file


def completed(script: Path, *words: str) -> list[str]:
    """What bash offers for the last word; nothing but bash is on the path."""
    line = " ".join(map(shlex.quote, words))
    text = f"""
    source {script}
    complete -p pcclip >&2
    COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}
    _shtab_pcclip
    printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["/bin/bash", "--norc", "-c", text],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={"PATH": "/nowhere", "HOME": os.environ.get("HOME", "/")},
    )
    assert "-o filenames -F _shtab_pcclip pcclip" in done.stderr
    return done.stdout.split()


def test_verbs_options_values_and_files(script):
    assert set(completed(script, "pcclip", "")) == set(VERBS)
    assert completed(script, "pcclip", "comple") == ["completion"]
    assert completed(script, "pcclip", "fit", "--trainer.max_s") == ["--trainer.max_steps"]
    assert {"--data.bank", "--data.batch_size"} <= set(completed(script, "pcclip", "fit", "--data.ba"))
    assert completed(script, "pcclip", "fit", "--model.trai") == ["--model.trainable"]
    assert completed(script, "pcclip", "resume", "RUN", "--trainer.dev") == ["--trainer.devices"]
    assert completed(script, "pcclip", "judge", "--peo") == ["--people"]
    assert completed(script, "pcclip", "rank", "photos", "larger", "--stage", "") == [
        "base",
        "tuned",
        "interpolated",
    ]
    assert set(completed(script, "pcclip", "evaluate", "--again", "")) == {"true", "false"}
    file = "experiments/shapes/differences.yaml"
    assert completed(script, "pcclip", "fit", "--config", file[:-6]) == [file]
    assert completed(script, "pcclip", "inspect", "data_rec") == ["data_recipes"]


@pytest.mark.slow
def test_zsh(capsys):
    assert main(["completion", "zsh"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("#compdef pcclip")
    assert "--trainer.max_steps" in told


def test_other_shells(capsys):
    with pytest.raises(SystemExit):
        main(["completion", "bas"])
    assert "Is bash meant?" in capsys.readouterr().err
