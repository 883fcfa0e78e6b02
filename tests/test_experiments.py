"""The shipped experiments and evaluation suites: the commands of their headers parse."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from pcclip.cli import main

ROOT = Path(__file__).parents[1]
EXPERIMENTS = sorted((ROOT / "experiments").glob("**/*.yaml"))
VERBS = {"fit": "trainer", "evaluate": "evaluations", "arithmetic": "pictures", "sweep": "ranges"}
NAMES = {"fit": "experiment", "sweep": "name"}


def commands(config: Path) -> list[list[str]]:
    """The commands of a configuration's header that use it."""
    lines = config.read_text().splitlines()
    header = "\n".join(line.removeprefix("#") for line in lines if line.startswith("#"))
    told = re.findall(rf"^ +pcclip ((?:{'|'.join(VERBS)}) --config (?:.*\\\n)*.*)$", header, re.M)
    words = [shlex.split(text.replace("\\\n", " ")) for text in told]
    return [command for command in words if str(config.relative_to(ROOT)) in command]


@pytest.mark.parametrize("config", EXPERIMENTS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_the_commands_of_the_header_parse(config: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(ROOT)
    told = commands(config)
    assert told, "its header names no command for it"
    for words in told:
        with pytest.raises(SystemExit) as ended:
            main([*words, "--print_config"])
        printed = capsys.readouterr()
        assert ended.value.code == 0, printed.err
        settings = yaml.safe_load(printed.out)
        assert VERBS[words[0]] in settings
        own = yaml.safe_load(config.read_text())
        name = NAMES.get(words[0], "suite")
        assert settings[name] == own.get(name, settings[name])


@pytest.mark.parametrize("config", sorted((ROOT / "experiments/sweeps").glob("*.yaml")), ids=lambda p: p.stem)
def test_a_sweep_varies_settings_that_its_fit_has(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(ROOT)
    (words,) = commands(config)
    with pytest.raises(SystemExit):
        main([*words, "--print_config"])
    printed = yaml.safe_load(capsys.readouterr().out)
    fit = shlex.split(printed["fit"])
    for key, one in printed["ranges"].items():
        value = one["low"] if one["values"] is None else one["values"][0]
        fit += [f"--{name}={value}" for name in (key, *one["also"])]
    with pytest.raises(SystemExit) as ended:
        main(["fit", *fit, "--print_config"])
    assert ended.value.code == 0
