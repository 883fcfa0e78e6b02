"""`pcclip sweep` on real fits: killed and resumed, in parallel, with trials that fail."""

import csv
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import optuna
import pytest
from fitting import command, experiment
from ranked import full

from pcclip.cli import main
from pcclip.evaluation.interpolation import curve_point
from pcclip.evaluation.measured import Measured
from pcclip.sweep.configs import common, resolve
from pcclip.sweep.ranges import Range
from pcclip.sweep.report import sweep_section
from pcclip.sweep.settings import Sweep
from pcclip.sweep.study import Storage

LR = "model.optimizer.lr"
RANGE = {"low": 1e-4, "high": 1e-2, "log": True, "also": ["model.lr_scheduler.max_lr"]}


def write(place: Path, stem: str, **settings) -> Path:
    """A sweep over a fit that measures what a sweep looks at, and little of it."""
    fit = experiment(place / "data", place / "base")
    fit["data"]["init_args"]["num_workers"] = 0
    suite = fit["trainer"]["callbacks"][0]["init_args"]
    zero_shot, difference, _ = suite["evaluations"][0]["protocols"]
    suite["evaluations"][0]["protocols"] = [zero_shot, difference | {"init_args": {"pairs": 200}}]
    suite["interpolation"] = None
    (place / "swept.yaml").write_text(json.dumps(fit))
    file = place / f"{stem}.json"
    fixed = {"name": stem, "runs": str(place / "sweeps"), "fit": f"--config '{place / 'swept.yaml'}'"}
    file.write_text(json.dumps(fixed | settings))
    return file


def start(place: Path, file: Path, *more: str) -> subprocess.Popen:
    words = command(place, "sweep", f"--config={file}", *more)
    with file.with_suffix(".log").open("w") as log:
        return subprocess.Popen(words, stdout=log, stderr=log, cwd=Path.cwd(), start_new_session=True)


def wait_for(what, process: subprocess.Popen, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert process.poll() is None, "the sweep has ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def working_in(folder: Path) -> list[int]:
    """Processes of fits in a sweep's folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in words and b"sweep\0" not in words:
            found.append(int(process.name))
    return found


def trials(folder: Path) -> list[optuna.trial.FrozenTrial]:
    url = f"sqlite:///{folder / 'sweep.db'}"
    return optuna.load_study(study_name="sweep", storage=url).get_trials()


@pytest.fixture(scope="module")
def swept(place: Path) -> Path:
    """A sweep of three trials that was killed amidst its second."""
    file = write(place, "killed", trials=3, sampler="random", ranges={LR: RANGE})
    folder = place / "sweeps" / "killed"
    process = start(place, file)
    wait_for((folder / "trial001/checkpoints/last.ckpt").exists, process)
    process.kill()
    process.wait()
    assert not (folder / "trial001/summary.json").exists()
    stamp = (folder / "trial000/summary.json").stat().st_mtime_ns
    assert main(["sweep", f"--config={file}", "--final"]) == 0
    assert (folder / "trial000/summary.json").stat().st_mtime_ns == stamp
    return folder


def test_a_killed_sweep_loses_and_doubles_no_trial(place, swept, tmp_path):
    there = trials(swept)
    assert [(one.number, one.state.name) for one in there] == [(n, "COMPLETE") for n in range(3)]
    assert sorted(run.name for run in swept.glob("trial*") if run.is_dir()) == [
        "trial000",
        "trial001",
        "trial002",
    ]
    fit = f"--config={place / 'swept.yaml'}"
    undisturbed = Sweep(fit, {LR: Range(**RANGE)}, tmp_path, None, "random", 0, ("a",), ("b",))
    storage = Storage(undisturbed, {})
    assert [one.params for one in there] == [storage.take(3).params for _ in range(3)]
    assert storage.take(3) is None


def test_a_trial_is_the_users_fit_but_for_the_swept_keys_and_the_test_split(place, swept):
    base = common(resolve([f"--config={place / 'swept.yaml'}"]), [])
    suite, theirs = "trainer.callbacks.0.test", {"weights_only": True}  # which every fit has
    for trial in trials(swept):
        own = common(resolve([f"--config={swept / f'trial{trial.number:03d}/config.yaml'}"]), [])
        changed = {key: own.get(key) for key in {**base, **own} if base.get(key) != own.get(key)}
        lr = trial.params[LR]
        assert changed == {LR: lr, "model.lr_scheduler.max_lr": lr, suite: False} | theirs


def test_no_trial_has_looked_at_the_test_split_but_the_chosen_one(swept):
    with (swept / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    (chosen,) = (row for row in rows if row["chosen"] == "1")
    for row in rows:
        results = swept / f"trial{int(row['trial']):03d}" / "results"
        measured = {"validation"} | ({"final"} if row is chosen else set())
        assert {entry.name for entry in results.iterdir() if entry.is_dir()} == measured
        assert bool(row["test_difference_gain"]) == (row is chosen)
        summary = json.loads((results.parent / "summary.json").read_text())
        assert "tuned" not in summary
        assert "base" not in summary


def test_the_choice_is_the_one_that_the_files_of_the_runs_give(swept):
    """By the same rule and numbers as the interpolation's curve."""
    points = {}
    for trial in trials(swept):
        folder = swept / f"trial{trial.number:03d}" / "results" / "validation"
        base, tuned = (list(Measured.load(folder / stage).values()) for stage in ("base", "tuned"))
        before, after = curve_point(0, base, base), curve_point(1, tuned, base)
        points[trial.number] = (after.difference - before.difference, after.zero_shot - before.zero_shot)
        assert trial.values == pytest.approx(points[trial.number], abs=1e-9)
        gain, cost = trial.user_attrs["objectives"]
        assert gain["low"] <= gain["value"] <= gain["high"]
        assert cost["low"] <= cost["value"] <= cost["high"]
    allowed = [t.number for t in trials(swept) if t.user_attrs["objectives"][1]["high"] >= 0]
    best = max(allowed, key=lambda number: points[number][0])
    with (swept / "trials.csv").open() as file:
        rows = {int(row["trial"]): row for row in csv.DictReader(file)}
    chosen = [number for number, row in rows.items() if row["chosen"] == "1"]
    assert chosen == ([best] if points[best][0] > 0 else [])
    for number, (gain, cost) in points.items():
        beaten = any(g >= gain and c >= cost and (g, c) != (gain, cost) for g, c in points.values())
        assert rows[number]["pareto"] == str(int(not beaten))


def test_the_report_has_table_plot_and_what_speaks_against_the_choice(swept):
    section = sweep_section(swept)
    assert section is not None
    assert section.html.count("<tr>") == 4
    assert "data:image/png;base64," in section.html
    assert "The best of 3 looks better on the data that chose it than it is" in section.markdown
    assert "text difference, which needs no training" in section.markdown
    assert (swept / "pareto.png").read_bytes().startswith(b"\x89PNG")
    assert section.csv == (swept / "trials.csv").read_text()
    assert sweep_section(swept / "trial000") is None


def test_other_ranges_are_refused_and_more_trials_are_not(place, swept, capsys):
    ranges = {LR: RANGE | {"high": 1.0}}
    file = write(place, "other", name="killed", trials=3, sampler="random", ranges=ranges)
    assert main(["sweep", f"--config={file}"]) == 1
    said = capsys.readouterr().err
    assert f"{LR} was" in said
    assert "another `name`" in said
    words = ["sweep", f"--config={place / 'killed.json'}"]
    assert main([*words, f"--fit=--config='{place / 'swept.yaml'}' --data.batch_size=8"]) == 1
    assert "data.batch_size was 16 and is 8" in capsys.readouterr().err
    assert main([*words, "--trials=2"]) == 0
    assert len(trials(swept)) == 3


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ranges": {"model.optimizer.rate": RANGE}}, "ranges: model.optimizer.rate: no setting"),
        ({"ranges": {LR: {"low": 2, "high": 1}}}, f"ranges: {LR}: `low` (2) must be below"),
        ({"ranges": {LR: RANGE}, "sampler": "grid"}, f"ranges: {LR}: a grid needs `values` or a `step`"),
        ({"ranges": {LR: RANGE}, "fit": "--config nowhere.yaml"}, "nowhere.yaml"),
    ],
)  # fmt: skip
def test_mistakes_are_told_before_anything_is_made(place, capsys, settings, said):
    assert main(["sweep", f"--config={write(place, 'mistaken', **settings)}"]) == 1
    assert said in capsys.readouterr().err
    assert not (place / "sweeps/mistaken").exists()


@full
@pytest.mark.slow
def test_two_workers_end_with_ctrl_c_and_a_diverging_trial_is_recorded(place, capsys):
    file = write(
        place, "parallel", trials=9, sampler="grid", workers=2,
        fit=f"--config={place / 'swept.yaml'} --model.lr_scheduler=null",
        ranges={LR: {"values": [1e-3, 1e30]}},
    )  # fmt: skip
    folder = place / "sweeps" / "parallel"
    process = start(place, file)
    wait_for(lambda: len(list(folder.glob("trial*/.lock"))) == 2, process)
    assert len(working_in(folder)) >= 2
    heard = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 128 + signal.SIGINT
    assert time.monotonic() - heard < 20
    assert not working_in(folder)
    assert "the same command goes on" in file.with_suffix(".log").read_text()
    assert main(["sweep", f"--config={file}"]) == 0
    states = {trial.params[LR]: (trial.state.name, trial.user_attrs) for trial in trials(folder)}
    assert {lr: state for lr, (state, _) in states.items()} == {1e-3: "COMPLETE", 1e30: "FAIL"}
    assert "is not finite at step" in states[1e30][1]["error"]
    assert "failed: the loss" in (folder / "sweep.md").read_text()
    capsys.readouterr()
    assert main(["sweep", f"--config={file}", "--max_failures=0"]) == 0, "nothing new has failed"


@full
@pytest.mark.slow
def test_a_sweep_that_only_fails_ends_with_the_reason(place, capsys):
    fit = f"--config={place / 'swept.yaml'} --model.name=local-dir:nowhere"
    file = write(place, "failing", trials=4, workers=1, ranges={LR: {"values": [1e-3]}}, fit=fit)
    assert main(["sweep", f"--config={file}", "--max_failures=0"]) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert "1 trials have failed, more than --max_failures 0; the last: local-dir:nowhere" in told
    assert "no such folder" in told


@full
@pytest.mark.slow
def test_seeds_are_averaged_and_a_killed_fit_is_taken_up_once_more(place):
    file = write(
        place, "seeds", trials=1, seeds=[3, 4], ranges={LR: {"values": [1e-3]}}, workers=1,
        fit=f"--config={place / 'swept.yaml'} --trainer.max_steps=6",
    )  # fmt: skip
    folder = place / "sweeps" / "seeds"
    process = start(place, file)
    wait_for((folder / "trial000-seed3/checkpoints/last.ckpt").exists, process)
    for one in working_in(folder):
        os.kill(one, signal.SIGKILL)
    assert process.wait(240) == 0
    (trial,) = trials(folder)
    seeds = []
    for seed in (3, 4):
        run = folder / f"trial000-seed{seed}"
        assert json.loads((run / "summary.json").read_text())["seed"] == seed
        base, tuned = (
            list(Measured.load(run / "results" / "validation" / stage).values())
            for stage in ("base", "tuned")
        )
        seeds.append(curve_point(1, tuned, base).difference - curve_point(0, base, base).difference)
    assert trial.user_attrs["objectives"][0]["by_run"] == pytest.approx(seeds, abs=1e-9)
    assert trial.values[0] == pytest.approx(sum(seeds) / 2, abs=1e-9)
