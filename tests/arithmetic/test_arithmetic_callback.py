"""Pictures from arithmetic during a real fit: before it, at its end, in TensorBoard."""

import json
from pathlib import Path

import pytest
from lightning.pytorch import Callback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pcclip.cli import main
from pcclip.errors import PcclipError
from pcclip.evaluation.measured import Measured
from tests.arithmetic.arithmetic_world import make_world, settings
from tests.cli.fitting import experiment, fit_words, losses, prepare
from tests.faults.rank_world import full

SUITE = "in-the-fit"
STEPS = 4
PAGE, SCORE = "arithmetic/few/seed3-01", "arithmetic/few/mean/clip_score"


class Crash(Callback):
    """Ends a fit after a checkpoint, a validation and one more step; and once more before it has ended."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def _end(self, name: str) -> None:
        if not (self.folder / name).exists():
            (self.folder / name).touch()
            raise PcclipError("a crash")

    def on_train_batch_start(self, trainer, *others):
        if trainer.global_step == 3:
            self._end("crashed-amidst")

    def on_train_end(self, trainer, pl_module):
        self._end("crashed-last")


def events_of(run: Path) -> EventAccumulator:
    events = EventAccumulator(str(run), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    return events


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    place = make_world(tmp_path_factory.mktemp("callback"))
    prepare(place / "data", "pixels")
    return place


def fit(place: Path, version: str, callbacks: list, status: int = 0) -> Path:
    whole = experiment(place / "data", place / "towers/base/model", max_steps=STEPS, val_check_interval=2)
    whole["trainer"]["callbacks"] = callbacks
    (place / "fit.yaml").write_text(json.dumps(whole))
    assert main(fit_words(place, version)) == status
    return place / "runs" / "small" / version


@pytest.mark.slow
def test_pictures_before_and_after_a_fit_that_they_do_not_disturb(place: Path) -> None:
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
    events = events_of(run)
    assert [event.step for event in events.Images(PAGE)] == [0, 2, 4]
    assert [event.step for event in events.Scalars(f"{SCORE}/base")] == [0, 2, 4]
    assert [event.step for event in events.Scalars(f"{SCORE}/tuned")] == [2, 4]
    kept = {tower: Measured.load(run / "results" / SUITE / tower)["few"] for tower in ("base", "tuned")}
    assert kept["tuned"].minus(kept["base"]).estimates()[SCORE].n == 5
    drawn = {file: file.stat().st_mtime_ns for file in folder.glob("*/**/*.png") if "grids" not in file.parts}
    assert {file.relative_to(folder).parts[0] for file in drawn} == {"base", "tuned"}

    (place / "again.yaml").write_text(json.dumps({"suite": SUITE, "device": "cpu", "pictures": pictures}))
    assert main(["arithmetic", f"--config={place / 'again.yaml'}", f"--runs=[{run}]"]) == 0
    again = {file: file.stat().st_mtime_ns for file in drawn}
    assert again == drawn  # saved and loaded, they are the towers of the fit: nothing was to be drawn


@full
@pytest.mark.slow
def test_a_fit_that_crashed_has_every_picture_and_score_once(place: Path) -> None:
    pictures = settings(place, weights=[1.0], seeds=[3])["pictures"]
    callbacks = [
        {"class_path": f"{__name__}.Crash", "init_args": {"folder": str(place)}},
        {
            "class_path": "pcclip.callbacks.arithmetic.PicturesFromArithmetic",
            "init_args": {"pictures": pictures, "suite": SUITE, "every_n_validations": 1},
        },
    ]
    run = place / "runs/small/crashed"
    assert fit(place, "crashed", callbacks, status=1) == run
    assert main(["resume", str(run)]) == 1
    assert main(["resume", str(run)]) == 0
    events = events_of(run)
    assert [event.step for event in events.Images(PAGE)] == [0, 2, 4]
    assert [event.step for event in events.Scalars(f"{SCORE}/base")] == [0, 2, 4]
    assert [event.step for event in events.Scalars(f"{SCORE}/tuned")] == [2, 4]
