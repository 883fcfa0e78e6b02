"""Pictures from arithmetic during a real fit: before it, at its end, in TensorBoard."""

import json
from pathlib import Path

import pytest

from pcclip.cli import main
from pcclip.evaluation.measured import Measured
from tests.arithmetic.arithmetic_world import make_world, settings
from tests.cli.fitting import experiment, fit_words, losses, prepare

SUITE = "in-the-fit"
STEPS = 4


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    place = make_world(tmp_path_factory.mktemp("callback"))
    prepare(place / "data", "pixels")
    return place


def fit(place: Path, version: str, callbacks: list) -> Path:
    whole = experiment(place / "data", place / "towers/base/model", max_steps=STEPS, val_check_interval=2)
    whole["trainer"]["callbacks"] = callbacks
    (place / "fit.yaml").write_text(json.dumps(whole))
    assert main(fit_words(place, version)) == 0
    return place / "runs" / "small" / version


@pytest.mark.slow
def test_pictures_before_and_after_a_fit_that_they_do_not_disturb(place: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    pictures = settings(place, weights=[1.0], seeds=[3])["pictures"]
    callback = {
        "class_path": "pcclip.callbacks.arithmetic.PicturesFromArithmetic",
        "init_args": {"pictures": pictures, "suite": SUITE, "every_n_validations": 1},
    }
    keeps_models = {
        "class_path": "pcclip.callbacks.evaluation.EvaluationSuite",
        "init_args": {"evaluations": [], "cache_dir": None},
    }
    plain = fit(place, "plain", [])
    run = fit(place, "drawn", [callback, keeps_models])
    assert losses(run) == losses(plain)

    folder = run / "arithmetic" / SUITE
    events = EventAccumulator(str(run))
    events.Reload()
    assert [event.step for event in events.Images("arithmetic/few/seed3-01")] == [0, 2, 4, 4]
    scalar = "arithmetic/few/mean/clip_score"
    assert {event.step for event in events.Scalars(f"{scalar}/base")} == {0, 2, 4}
    assert {event.step for event in events.Scalars(f"{scalar}/tuned")} == {2, 4}
    kept = {tower: Measured.load(run / "results" / SUITE / tower)["few"] for tower in ("base", "tuned")}
    assert kept["tuned"].minus(kept["base"]).estimates()[scalar].n == 5
    drawn = {file: file.stat().st_mtime_ns for file in folder.glob("*/**/*.png") if "grids" not in file.parts}
    assert {file.relative_to(folder).parts[0] for file in drawn} == {"base", "tuned"}

    (place / "again.yaml").write_text(json.dumps({"suite": SUITE, "device": "cpu", "pictures": pictures}))
    assert main(["arithmetic", f"--config={place / 'again.yaml'}", f"--runs=[{run}]"]) == 0
    again = {file: file.stat().st_mtime_ns for file in drawn}
    assert again == drawn  # saved and loaded, they are the towers of the fit: nothing was to be drawn
