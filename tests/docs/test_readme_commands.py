"""Every command of the README, and of pages about hours of work, parses: targets, words, files are there."""

import re
import shlex
from pathlib import Path

import pytest
from page_running import PAGES, ROOT, blocks, make_targets, parse

STOOD_FOR = {
    "EXPERIMENT.yaml": "experiments/shapes/differences.yaml",
    "EVALUATION.yaml": "experiments/evaluations/shapes.yaml",
}


PARSED = ("arithmetic", "evaluations", "finished_models", "language_models", "many_machines")
"""Pages whose figures took hours, GPUs or trained models; tests of their subjects run the same verbs."""


def commands() -> list[str]:
    files = [ROOT / "README.md", *(PAGES / f"{name}.md" for name in PARSED)]
    text = "\n".join(block for file in files for block in blocks(file)).replace("\\\n", " ")
    return list(dict.fromkeys(line for line in text.splitlines() if shlex.split(line, comments=True)))


@pytest.fixture(scope="module")
def targets() -> set[str]:
    return make_targets()


@pytest.mark.parametrize("command", commands(), ids=lambda line: line.split("#")[0].strip()[:60])
def test_a_command_parses(command: str, targets: set[str], tmp_path: Path, monkeypatch, capsys) -> None:
    words = [STOOD_FOR.get(word, word) for word in shlex.split(command, comments=True)]
    while re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    if words[0] == "source":
        assert words == ["source", ".venv/bin/activate"]  # `make env` makes it
        return
    if words[0] == "make":
        assert words[1] in targets
        return
    if "-m" in words[:-1] and words[words.index("-m") + 1] != "pcclip":
        assert (ROOT / words[words.index("-m") + 1].replace(".", "/")).with_suffix(".py").is_file()
        return
    if "pcclip" not in words:
        script = next(word for word in words if word.startswith("experiments/"))
        assert (ROOT / script).is_file()
        words = ["pcclip", "fit", *words[words.index(script) + 1 :]]
        if len(words) == 2:
            return
    for name in ("data_recipes", "experiments"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    status = parse(words[words.index("pcclip") + 1 :])
    assert status == 0, capsys.readouterr().err
