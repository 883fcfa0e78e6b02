"""`pcclip evaluate` on a finished run finds what the fit found."""

import json
from pathlib import Path

import numpy as np
import pytest
from fitting import PROTOCOLS

from pcclip.cli import main
from pcclip.evaluation.measured import Measured

GEOMETRY = "geometry/shapes/drift"


@pytest.fixture(scope="module")
def again(place: Path, whole: Path) -> Path:
    protocols = [{"class_path": path} for path in PROTOCOLS]
    suite = {"suite": "again", "evaluations": [{"data": str(place / "data"), "protocols": protocols}]}
    (place / "suite.yaml").write_text(json.dumps(suite))
    words = [f"--config={place / 'suite.yaml'}", f"--runs=[{whole}]", f"--cache_dir={place / 'cache'}"]
    assert main(["evaluate", *words]) == 0
    return whole / "results" / "again"


@pytest.mark.parametrize("stage", ["base", "tuned", "interpolated"])
def test_loaded_weights_score_picture_by_picture_as_in_the_fit(whole, again, stage):
    during, after = (Measured.load(folder / stage)["shapes"] for folder in (whole / "results" / "fit", again))
    assert during.metrics == after.metrics
    assert during.groups.keys() == after.groups.keys()
    for name, seen in during.groups.items():
        assert seen.same_units(after.groups[name])
        for column, scores in seen.scores.items():
            assert np.array_equal(scores, after.groups[name].scores[column]), (name, column)
    for name, statistic in during.statistics.items():
        assert statistic.value == pytest.approx(after.statistics[name].value, abs=1e-5), name


def test_the_base_model_of_a_fit_is_the_one_that_drift_is_measured_from(whole):
    base, tuned = (
        Measured.load(whole / "results" / "fit" / stage).values_by_name() for stage in ("base", "tuned")
    )
    for what in ("pictures", "prompts", "differences"):
        assert base[f"{GEOMETRY}/{what}"] == pytest.approx(1, abs=1e-6)
    assert tuned[f"{GEOMETRY}/pictures"] == pytest.approx(1, abs=1e-6)
    assert tuned[f"{GEOMETRY}/prompts"] < 0.99999
    assert tuned[f"{GEOMETRY}/differences"] < 0.99999


def test_a_fit_compares_as_a_suite(whole, capsys):
    assert main(["compare", str(whole), "--suite", "fit"]) == 0
    assert "zero-shot" in capsys.readouterr().out
