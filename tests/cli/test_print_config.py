"""`--print_config` of every verb that takes a configuration: what it prints is that configuration."""

from pathlib import Path

import pytest
import yaml

from pcclip.cli import VERBS, main

ROOT = Path(__file__).parents[2]
SHAPES = ["--config=experiments/shapes/differences.yaml", "--data.batch_size=17"]
RECIPE = ["--config=data_recipes/shapes/demo.yaml", "--config=data_recipes/shapes/smoke.yaml"]

COMMANDS = {
    "prepare": [*RECIPE, "--source.train=77"],
    "write": ["--config=data_recipes/shapes/rewritten_captions.yaml", "--chunk_rows=77"],
    "judge": ["--config=data_recipes/coco/judge.yaml", "--chunk_rows=77"],
    "bank": ["--pictures=p", "--out=o", "--name=ViT-B-32", "--batch_size=77"],
    "fit": [*SHAPES, "--config=experiments/hardware/ddp.yaml", "--model.trainable=lora"],
    "validate": [*SHAPES, "--ckpt_path=last"],
    "test": SHAPES,
    "evaluate": ["--config=experiments/evaluations/shapes.yaml", "--batch_size=77"],
    "arithmetic": ["--config=experiments/arithmetic/sdxl.yaml", "--pictures.batch_size=7"],
    "sweep": [
        "--config=experiments/sweeps/shapes.yaml",
        "--config=experiments/sweeps/smoke.yaml",
        "--trials=7",
    ],
    "inspect": ["data", "--samples=7"],
    "export": ["runs/x/y", "--to=transformers"],
}
NONE = {"resume", "rank", "search", "serve", "compare", "report", "completion"}
"""Of a few options, or, `resume`, of a configuration that the run has."""


def printed(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        main([*words, "--print_config"])
    told = capsys.readouterr()
    assert ended.value.code == 0, told.err
    assert told.err == ""
    return told.out


@pytest.mark.parametrize("verb", COMMANDS)
def test_what_is_printed_is_the_configuration(monkeypatch, capsys, tmp_path, verb):
    monkeypatch.chdir(ROOT)
    first = printed(capsys, verb, *COMMANDS[verb])
    assert COMMANDS[verb][-1].partition("=")[2] in first
    (tmp_path / "printed.yaml").write_text(first)
    again = printed(capsys, verb, f"--config={tmp_path / 'printed.yaml'}")
    assert yaml.safe_load(again) == yaml.safe_load(first)


def test_no_verb_is_forgotten():
    assert COMMANDS.keys() | NONE == VERBS.keys()
