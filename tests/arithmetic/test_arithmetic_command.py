"""`pcclip arithmetic` end to end on a tiny Stable Diffusion XL: pictures, scores, tables, pages, kills."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pcclip.arithmetic.cases import CaseFile
from pcclip.arithmetic.sdxl import StableDiffusionXL
from pcclip.arithmetic.vectors import Arithmetic
from pcclip.cli import main
from pcclip.evaluation.measured import Measured
from pcclip.model.towers import load_towers
from tests.arithmetic.arithmetic_world import make_world, words

ROOT = Path(__file__).parents[2]
SUITE = "small-pictures"
# Four subjects without change; five cases by two weights and in words; two seeds.
PER_TOWER = 2 * (4 + 5 * 3)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return make_world(tmp_path_factory.mktemp("arithmetic"))


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    run = place / "runs" / "small" / "seed0"
    assert main(words(place, run)) == 0
    return run


@pytest.fixture
def copied(place: Path, run: Path, tmp_path: Path) -> Path:
    """The finished run once more, to be disturbed."""
    return Path(shutil.copytree(run, tmp_path / "small" / "seed0"))


def pictures(run: Path) -> dict[str, bytes]:
    folder = run / "arithmetic" / SUITE
    files = [file for tower in ("base", "tuned") for file in folder.glob(f"{tower}/**/*.png")]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def stamps(run: Path) -> dict[str, int]:
    folder = run / "arithmetic" / SUITE
    return {name: (folder / name).stat().st_mtime_ns for name in pictures(run)}


def test_every_picture_is_there_and_the_generators_own(place: Path, run: Path) -> None:
    found = pictures(run)
    assert len(found) == 2 * PER_TOWER
    generator = StableDiffusionXL(model=str(place / "pipeline"), steps=2, device="cpu", guidance=3.0).load()
    case = next(c for c in CaseFile.load(str(place / "cases.yaml")).cases if c.name == "wolf/arctic")
    arithmetic = Arithmetic(kind="direction", relative_to="opposite")
    for stage, folder in (("base", place / "towers/base/model"), ("tuned", run / "model")):
        tower = load_towers(f"local-dir:{folder}")
        base, change, opposite = (
            generator.encode([t], tower) for t in (case.base, case.change, case.opposite)
        )
        for cell, conditioning in (
            ("wolf/w0", base),
            ("wolf/w0", arithmetic.apply(base, change, 0.0, opposite)),
            ("wolf/arctic/w0.5", arithmetic.apply(base, change, 0.5, opposite)),
            ("wolf/arctic/words", generator.encode([case.target], tower)),
        ):
            drawn = generator.draw(conditioning, [4])[0]
            with Image.open(run / "arithmetic" / SUITE / stage / f"{cell}-s4.png") as stored:
                assert np.array_equal(np.asarray(stored), np.asarray(drawn)), (stage, cell)


def test_towers_share_the_noise_and_differ_by_their_weights(run: Path) -> None:
    folder = run / "arithmetic" / SUITE
    for cell in ("wolf/w0-s3.png", "wolf/arctic/w1-s3.png"):
        one, other = (np.asarray(Image.open(folder / tower / cell), int) for tower in ("base", "tuned"))
        assert not np.array_equal(one, other)
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.5  # the noise decides most, the texts little


def test_tables_results_and_costs_say_the_same(run: Path, capsys) -> None:
    folder = run / "arithmetic" / SUITE
    whole = json.loads((folder / "arithmetic.json").read_text())
    rows = list(csv.DictReader((folder / "pictures.csv").read_text().splitlines()))
    assert len(rows) == 2 * 5 * 4 * 2
    for tower in ("base", "tuned"):
        measured = Measured.load(run / "results" / SUITE / tower)["few"]
        for cell in ("w0", "w0.5", "w1", "words"):
            own = [float(r["clip_score"]) for r in rows if (r["tower"], r["cell"]) == (tower, cell)]
            metric = f"arithmetic/few/{cell}/clip_score"
            assert measured.values()[metric] == pytest.approx(np.mean(own), abs=1e-6)
            assert whole[tower][metric]["value"] == pytest.approx(np.mean(own), abs=1e-6)
            assert whole[tower][metric]["n"] == 5  # cases, not pictures
    changes = whole["tuned_delta"]["arithmetic/few/mean/clip_score"]
    means = [whole[tower]["arithmetic/few/mean/clip_score"]["value"] for tower in ("tuned", "base")]
    assert changes["value"] == pytest.approx(means[0] - means[1], abs=1e-6)
    assert changes["low"] < changes["value"] < changes["high"]
    words_of_base = whole["base"]["arithmetic/few/words/clip_score"]["value"]
    over = whole["tuned_over_words"]["arithmetic/few/mean/clip_score"]["value"]
    assert over == pytest.approx(means[0] - words_of_base, abs=1e-6)
    assert whole["base"]["arithmetic/few/mean-place/clip_score"]["n"] == 2 * 3
    cost = whole["costs"]["tuned"]
    assert (cost["pictures"], cost["seconds_per_picture"] > 0) == (PER_TOWER, True)
    assert cost["peak_memory_gib"] > 0.1
    assert main(["compare", str(run), "--suite", SUITE]) == 0
    assert "pictures from arithmetic, clip_score, mean over weights" in " ".join(
        capsys.readouterr().out.split()
    )


def test_scores_that_need_a_base_picture_have_no_row_without_change(run: Path) -> None:
    metrics = Measured.load(run / "results" / SUITE / "base")["few"].metrics
    assert "arithmetic/few/w0/class_kept" in metrics
    assert "arithmetic/few/w0/attribute_gained" not in metrics
    assert "arithmetic/few/w1/attribute_gained" in metrics
    (parts,) = [metrics["arithmetic/few/w1/attribute_over_opposite"]]
    seen = Measured.load(run / "results" / SUITE / "base")["few"].groups[parts[0][0]]
    assert len(seen.first) == 3  # red has no `against`


def test_pages_show_both_towers_and_go_to_tensorboard(run: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = run / "arithmetic" / SUITE
    with Image.open(folder / "grids" / "seed3-01.png") as page:
        shown = np.asarray(page.convert("RGB"))
    # The first case (leopard) is the first row: its pictures, thrice as large, stand behind the labels.
    for tower, left in (("base", 190), ("tuned", 190 + 4 * 100 - 4 + 28)):
        picture = np.asarray(Image.open(folder / tower / "leopard/w0-s3.png"))
        assert np.array_equal(shown[56 : 56 + 96, left : left + 96], picture.repeat(3, 0).repeat(3, 1)), tower
    events = EventAccumulator(str(folder))
    events.Reload()
    assert events.Tags()["images"] == ["arithmetic/few/seed3-01"]
    assert "arithmetic/few/mean/clip_score/tuned" in events.Tags()["scalars"]


def test_what_is_there_is_not_drawn_again_and_what_is_damaged_is(place: Path, copied: Path) -> None:
    before, whole = stamps(copied), pictures(copied)
    folder = copied / "arithmetic" / SUITE
    damaged = "tuned/wolf/red/w1-s3.png"
    (folder / damaged).write_bytes(whole[damaged][:-20])
    (folder / "base/wolf/.w0-s3.png.0123.tmp").write_bytes(b"half")
    assert main(words(place, copied)) == 0
    after = stamps(copied)
    assert [name for name in after if after[name] != before[name]] == [damaged]
    assert pictures(copied) == whole
    assert not list(folder.rglob("*.tmp"))


def test_other_settings_draw_what_they_change(place: Path, copied: Path) -> None:
    before = stamps(copied)
    assert main(words(place, copied, "--pictures.arithmetic.kind=add")) == 0
    after = stamps(copied)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {name for name in after if "/w0.5-" in name or "/w1-" in name}


@pytest.mark.slow
def test_a_killed_evaluation_goes_on_with_the_same_pictures(place: Path, run: Path, tmp_path: Path) -> None:
    other = tmp_path / "small" / "seed0"
    shutil.copytree(run, other, ignore=shutil.ignore_patterns("arithmetic", "results"))
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }
    started = subprocess.Popen(
        [sys.executable, "-m", "pcclip", *words(place, other)],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 200
        while len(pictures(other)) < 10:
            assert started.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        started.send_signal(signal.SIGKILL)
        started.wait()
    there = stamps(other)
    assert 10 <= len(there) < 2 * PER_TOWER
    assert main(words(place, other)) == 0
    after = stamps(other)
    assert {name: after[name] for name in there} == there  # none was drawn twice
    assert pictures(other) == pictures(run)


def test_a_scorer_that_is_one_of_the_towers_is_refused_before_anything_is_drawn(
    place: Path, tmp_path: Path, run: Path, capsys
) -> None:
    other = tmp_path / "small" / "seed0"
    shutil.copytree(run, other, ignore=shutil.ignore_patterns("arithmetic", "results"))
    scorer = {"class_path": "pcclip.arithmetic.clip_scorer.ClipScorer",
              "init_args": {"model": str(run / "model"), "device": "cpu"}}  # fmt: skip
    assert main(words(place, other, f"--pictures.scorers={json.dumps([scorer])}")) == 1
    assert "reads texts as the tuned tower does" in capsys.readouterr().err
    assert pictures(other) == {}


def test_a_model_from_anywhere_is_drawn_by_alone(place: Path, tmp_path: Path, capsys) -> None:
    few = ["--pictures.weights=[1]", "--pictures.seeds=[3]", "--pictures.sample=2", f"--out={tmp_path}"]
    model = json.dumps([{"name": f"local-dir:{place / 'towers/base/model'}", "label": "plain"}])
    assert main(["arithmetic", f"--config={place / 'arithmetic.yaml'}", f"--models={model}", *few]) == 0
    assert len(list((tmp_path / SUITE / "plain/pictures/base").glob("**/*.png"))) == 2 * 3
    assert "arithmetic/few/mean/clip_score" in Measured.load(tmp_path / SUITE / "plain/base")["few"].metrics
    assert main(["arithmetic", f"--config={place / 'arithmetic.yaml'}"]) == 1
    assert "nothing to evaluate" in capsys.readouterr().err
