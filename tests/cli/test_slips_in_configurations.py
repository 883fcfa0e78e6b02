"""Slips in a configuration: the file, the line, the key, and what is meant."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHAPES = "experiments/shapes/differences.yaml"
RECIPE = "data_recipes/shapes/demo.yaml"


def changed(file, old, new, to):
    text = (ROOT / file).read_text()
    assert old in text
    to.write_text(text.replace(old, new))
    return to


YAML = {
    "top": ("experiment:", "experment:", ["line 3", "experment", "Is experiment meant?"]),
    "model": ("trainable: text", "trainible: text", ["line 10: model.trainible", "Is trainable meant?"]),
    "data": ("batch_size: 256", "batch_sise: 256", ["line 32: data.batch_sise", "Is batch_size meant?"]),
    "objective": (
        "ature: 0.07",
        "ture: 0.07",
        ["line 13: model.objective.temperture", "Is temperature meant?"],
    ),
    "trainer": ("max_steps: 1500", "max_step: 1500", ["trainer.max_step:", "max_steps meant?"]),
    "callback": (
        "- data: data/sh",
        "- date: data/sh",
        ["trainer.callbacks.evaluations.date", "Is data meant?"],
    ),
    "optimizer": ("{lr: 2.0e-3}", "{lrr: 2.0e-3}", ["model.optimizer.lrr", "Is lr meant?"]),
    "type": (
        "batch_size: 256",
        "batch_size: many",
        ["line 32: data.batch_size", "'many' is not a whole number"],
    ),
    "class": (
        "optim.MuonAdamW",
        "optim.MuonAdam",
        ["line 17: model.optimizer", "Is pcclip.optim.MuonAdamW meant?"],
    ),
    "module": ("pcclip.training.", "pcclip.trainning.", ["Is pcclip.training.DifferenceTraining meant?"]),
    "reference": (
        "${trainer.max_steps}",
        "${trainer.max_stepz}",
        ["total_steps", "no setting trainer.max_stepz"],
    ),
    "brackets": ("{lr: 2.0e-3}", "{lr: 2.0e-3", ["line 2", "is no YAML", ".yaml, line"]),
    "tab": ("\n  max_steps", "\n\tmax_steps", ["line 38", "spaces, not tabs"]),
}


@pytest.mark.parametrize(("old", "new", "says"), YAML.values(), ids=YAML)
def test_slips_in_a_configuration_name_its_line(said, tmp_path, old, new, says):
    told = said("fit", "--config", changed(SHAPES, old, new, tmp_path / "mine.yaml"))
    assert str(tmp_path / "mine.yaml") in told or "max_stepz" in told  # a reference is followed later
    assert all(text in told for text in says), told


RECIPES = {
    "source": ("captions: 4", "caption: 4", ["source.caption", "Is captions meant?"]),
    "group": ("pairs: 60000", "pears: 60000", ["line 18: differences.train.pears", "Is pairs meant?"]),
    "class": ("shapes.Shapes", "shapes.Shape", ["Is pcclip.data.sources.shapes.Shapes meant?"]),
}


@pytest.mark.parametrize(("old", "new", "says"), RECIPES.values(), ids=RECIPES)
def test_slips_in_a_recipe(said, tmp_path, old, new, says):
    told = said(
        "prepare", "--config", changed(RECIPE, old, new, tmp_path / "mine.yaml"), "--out", tmp_path / "o"
    )
    assert all(text in told for text in says), told
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(("text", "says"), [("", "is empty"), ("- a\n- b\n", "holds no settings")])
def test_what_is_no_configuration(said, tmp_path, text, says):
    (tmp_path / "mine.yaml").write_text(text)
    assert says in said("prepare", "--config", tmp_path / "mine.yaml")
