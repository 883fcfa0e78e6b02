"""What a configuration cannot do, and that the page on configurations says what is so."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonargparse import ArgumentParser

from pcclip import config_rules
from pcclip.cli import main
from pcclip.data.decoding import MAX_PIXELS, PICTURE_FORMATS
from pcclip.data.index_checks import _MAX_NAME
from pcclip.errors import PcclipError
from pcclip.generation.prompts import PromptTemplate
from pcclip.generation.rows import Row
from pcclip.untrusted import _VALUES, MAX_DEPTH, check_yaml, parse_yaml

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "pcclip/docs/configs.md"
LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)
BOMBS = {
    "billion laughs": (LAUGHS, "its aliases make more than 1,000,000 values"),
    "laughs in mappings": (
        LAUGHS.replace("[", "{k: [").replace("]", "]}"),
        "its aliases make|nests|expected",
    ),
    "an alias of itself": ("a: &a [*a]", "stands within what it stands for"),
    "an alias of itself, deeper": ("a: &a {b: {c: [*a]}}", "stands within what it stands for"),
    "nesting that crashes libyaml": ("a: " + "[" * 200_000, "nests more than 64 deep"),
    "nesting by lines": ("\n".join(" " * n + "a:" for n in range(300)), "nests more than 64 deep"),
}


@pytest.mark.parametrize(
    ("case", "verb"),
    [(case, "prepare") for case in BOMBS]
    + [pytest.param("an alias of itself", verb, marks=pytest.mark.slow) for verb in ("fit", "evaluate")],
)
def test_yaml_that_blows_up_is_refused_by_every_verb(case, verb, tmp_path, capsys):
    text, message = BOMBS[case]
    (tmp_path / "theirs.yaml").write_text(text)
    assert main([verb, "--config", str(tmp_path / "theirs.yaml")]) == 1
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize("case", BOMBS)
def test_so_is_every_other_yaml_file(case):
    with pytest.raises(ValueError, match=BOMBS[case][1]):
        parse_yaml(BOMBS[case][0])


def test_aliases_that_people_write_are_fine():
    assert parse_yaml("base: &b {lr: 1.0}\none: {<<: *b, wd: 2}\ntwo: [*b, *b]")["one"] == {
        "lr": 1.0,
        "wd": 2,
    }
    for file in [*ROOT.glob("experiments/**/*.yaml"), *ROOT.glob("data_recipes/**/*.yaml")]:
        check_yaml(file.read_text())


@pytest.mark.parametrize(
    "tag", ["python/object/apply:os.system ['{0}']", "python/name:os.system", "python/module:os"]
)
@pytest.mark.parametrize("verb", ["prepare", pytest.param("fit", marks=pytest.mark.slow)])
def test_tags_make_nothing(tag, verb, mark, tmp_path, capsys):
    text = f"out: !!{tag.format(f'touch {mark}')}\n"
    (tmp_path / "theirs.yaml").write_text(text)
    with pytest.raises(SystemExit):
        main([verb, "--config", str(tmp_path / "theirs.yaml")])
    assert "could not determine a constructor for the tag" in capsys.readouterr().err
    with pytest.raises(ValueError, match="constructor"):
        parse_yaml(text)


DENIED = ("os.system", "subprocess.Popen", "builtins.eval", "torch.load", "posix.system", "pickle.Unpickler")


@pytest.mark.parametrize("path", DENIED)
def test_what_runs_commands_cannot_be_named(path, mark, capsys):
    config_rules.enforce()
    parser = ArgumentParser()
    parser.add_argument("--made", type=Callable[[list], Any])
    parser.add_argument("--of_any_class", type=object)
    parser.add_argument("--of_a_class", type=Path)
    spec = json.dumps({"class_path": path, "init_args": {"args": ["touch", str(mark)]}})
    for given in (spec, path):
        with pytest.raises(SystemExit):
            parser.parse_args([f"--made={given}"])
        assert f"Importing '{path}' is not allowed" in capsys.readouterr().err
    for setting in ("--of_any_class", "--of_a_class"):
        try:
            parser.instantiate_classes(parser.parse_args([f"{setting}={spec}"]))
        except (SystemExit, ValueError):
            continue
    with pytest.raises(SystemExit):
        parser.parse_args([f"--made={spec.replace(path, 'jsonargparse.set_parsing_settings')}"])


@pytest.mark.slow
def test_fit_makes_no_process_of_a_callback(mark, capsys):
    config = ROOT / "experiments/shapes/differences.yaml"
    spec = f'[{{"class_path": "subprocess.Popen", "init_args": {{"args": ["touch", "{mark}"]}}}}]'
    with pytest.raises(SystemExit):
        main(["fit", f"--config={config}", f"--trainer.callbacks={spec}"])
    assert "subprocess.Popen" in capsys.readouterr().err


def test_a_setting_that_may_be_anything_makes_nothing(mark):
    config_rules.enforce()
    parser = ArgumentParser()
    parser.add_argument("--body", type=dict[str, Any])
    parser.add_argument("--any", type=Any)
    spec = {"class_path": "subprocess.Popen", "init_args": {"args": ["touch", str(mark)]}}
    harmless = {"class_path": "collections.Counter", "init_args": {}}
    for given in (harmless, {"inner": harmless}, {"inner": spec}):
        made = parser.instantiate_classes(parser.parse_object({"body": given, "any": harmless}))
        assert made.any == harmless
        assert dict(made.body) == given


@pytest.mark.parametrize(
    "attack", ["{0.__class__}", "{caption1.__class__}", "{{7*7}}", "{% import os %}", "%(a)s"]
)
def test_prompts_fill_nothing_but_their_slots(attack):
    row = Row(0, "k", "a", "b", (f"one {attack}",), ("two",), {}, {}, None, None, {})
    asked = PromptTemplate("p", 1, f"{attack} {{caption1}}").render(row).messages[-1]["content"]
    assert asked == f"{attack} one {attack}"


def test_templates_of_questions_reach_no_attributes(tmp_path):
    from pcclip.evaluation.sources.words import _templates

    for attack in ("{0.__class__}", "{:>999999999}", "{} {0}", "{!r}"):
        with pytest.raises(PcclipError, match=r"should have one \{\}"):
            _templates([attack], "here")


@pytest.mark.slow
def test_the_commands_of_the_page_run(tmp_path):
    (tmp_path / "theirs.yaml").write_bytes((ROOT / "experiments/shapes/differences.yaml").read_bytes())
    blocks = re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.S)
    assert len(blocks) == 2
    printed = []
    for block in blocks:
        command = block.strip().replace("pcclip fit", f"{shlex.quote(sys.executable)} -m pcclip fit")
        done = subprocess.run(
            command,
            shell=True,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        printed.append(done.stdout)
    assert "class_path: pcclip." in printed[0]
    assert "class_path: pcclip.objective.DifferenceInfoNCE" in printed[1]
    assert [file.name for file in tmp_path.iterdir()] == ["theirs.yaml"], "nothing was started"


def test_the_page_names_the_limits_that_hold():
    page = PAGE.read_text()
    assert f"{MAX_PIXELS:,} pixels" in page
    assert f"more than {_VALUES:,} values" in page
    assert f"nesting beyond {MAX_DEPTH} " in page
    assert f"up to {_MAX_NAME:,} characters" in page
    named = {"WEBP": "WebP"}
    assert all(named.get(kind, kind) in page for kind in PICTURE_FORMATS)
