"""Several processes share a sweep's storage; one that dies leaves nothing behind that is lost or doubled."""

import json
import multiprocessing
import os
from pathlib import Path

import optuna
import pytest

from pcclip.errors import PcclipError
from pcclip.evaluation.statistics import Estimate
from pcclip.sweep.choosing import found
from pcclip.sweep.objectives import Objective
from pcclip.sweep.ranges import Range
from pcclip.sweep.settings import Sampler, Sweep
from pcclip.sweep.study import Storage, Taken

RANGES = {"lr": Range(1e-4, 1e-2, log=True), "steps": Range(values=[1, 2, 3])}


def settings(folder: Path, sampler: Sampler = "random", **other) -> Sweep:
    return Sweep("", other.get("ranges", RANGES), folder, None, sampler, other.get("seed", 0), ("a",), ("b",))


def end(storage: Storage, taken: Taken, gain: float = 0.1, cost: float = 0.0) -> None:
    objectives = [Objective(Estimate(v, v - 0.01, v + 0.01, 9), (v,)) for v in (gain, cost)]
    storage.tell(taken, objectives, 1.0)
    os.close(taken.lock)


def work(folder: Path, out: Path) -> None:
    storage, numbers = Storage(settings(folder, "tpe"), {}), []
    while (taken := storage.take(12)) is not None:
        numbers.append(taken.number)
        end(storage, taken, taken.params["lr"])
    out.write_text(json.dumps(numbers))


def test_processes_share_the_trials(tmp_path):
    Storage(settings(tmp_path / "sweep", "tpe"), {})
    context = multiprocessing.get_context("spawn")
    outs = [tmp_path / f"{n}.json" for n in range(3)]
    workers = [context.Process(target=work, args=(tmp_path / "sweep", out)) for out in outs]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    numbers = [number for out in outs for number in json.loads(out.read_text())]
    assert sorted(numbers) == list(range(12))
    there = found(tmp_path / "sweep")
    assert there is not None
    assert [trial.state for trial in there.trials] == ["complete"] * 12
    assert sum(there.importances.values()) == pytest.approx(1)


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2", "grid"])
def test_a_trial_of_a_dead_process_is_taken_up_with_its_settings(tmp_path, sampler):
    ranges = RANGES if sampler != "grid" else {"lr": Range(values=[1, 2, 3]), "steps": Range(values=[1, 2])}
    first = Storage(settings(tmp_path, sampler, ranges=ranges), {})
    one = first.take(2)
    other = Storage(settings(tmp_path, sampler, ranges=ranges), {})
    two = other.take(2)
    assert (one.number, two.number) == (0, 1)
    assert other.take(2) is None, "both are being worked on"
    os.close(one.lock)  # as a kill does
    again = other.take(2)
    assert (again.number, again.params) == (0, one.params)
    end(other, again)
    end(other, two)
    assert other.take(2) is None
    assert other.take(3).number == 2


def test_a_process_killed_while_it_asked_leaves_a_trial_that_is_completed(tmp_path):
    undisturbed = Storage(settings(tmp_path / "undisturbed"), {}).take(1)
    storage = Storage(settings(tmp_path / "killed"), {})
    url = f"sqlite:///{tmp_path / 'killed/sweep.db'}"
    optuna.load_study(study_name="sweep", storage=url).ask()  # no settings yet
    taken = storage.take(1)
    assert (taken.number, taken.params) == (0, undisturbed.params)


def test_a_grid_tries_each_point_once(tmp_path):
    ranges = {"lr": Range(1, 3, step=1), "steps": Range(values=["x", "y"])}
    storage = Storage(settings(tmp_path, "grid", ranges=ranges), {})
    tried = []
    while (taken := storage.take(6)) is not None:
        tried.append(tuple(taken.params.values()))
        end(storage, taken)
    assert sorted(tried) == [(lr, step) for lr in (1.0, 2.0, 3.0) for step in ("x", "y")]


def test_other_settings_are_refused_by_name(tmp_path):
    Storage(settings(tmp_path), {"data.batch_size": 8})
    for changed, common, said in (
        (settings(tmp_path, "tpe"), {"data.batch_size": 8}, 'sampler was "random" and is "tpe"'),
        (settings(tmp_path), {"data.batch_size": 9}, "data.batch_size was 8 and is 9"),
        (settings(tmp_path, ranges={"lr": RANGES["lr"]}), {"data.batch_size": 8}, "steps was {"),
    ):
        with pytest.raises(PcclipError, match="give this sweep another `name`") as refused:
            Storage(changed, common)
        assert said in str(refused.value)


def test_a_damaged_storage_is_told(tmp_path):
    (tmp_path / "sweep.db").write_bytes(b"no database" * 1000)
    with pytest.raises(PcclipError, match=r"sweep\.db: cannot be read or written"):
        Storage(settings(tmp_path), {})
    with pytest.raises(PcclipError, match=r"sweep\.db: cannot be read or written"):
        found(tmp_path)


def test_a_file_of_another_kind_is_told(tmp_path):
    (tmp_path / "sweep.db").touch()
    with pytest.raises(PcclipError, match=r"sweep\.db: holds no sweep"):
        found(tmp_path)
