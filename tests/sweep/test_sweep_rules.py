"""Ranges, grids, and which trial is chosen of what was measured."""

from pathlib import Path

import pytest

from pcclip.errors import PcclipError
from pcclip.evaluation.statistics import Estimate
from pcclip.sweep.choosing import Found, Trial, choose
from pcclip.sweep.lines import csv_text, notes
from pcclip.sweep.objectives import COST, GAIN, Objective
from pcclip.sweep.ranges import Range, grid


@pytest.mark.parametrize(
    ("one", "points"),
    [
        (Range(0.1, 0.5, step=0.1), [0.1, 0.2, 0.3, 0.4, 0.5]),
        (Range(2, 5, integer=True), [2, 3, 4, 5]),
        (Range(2, 9, step=3, integer=True), [2, 5, 8]),
        (Range(values=["a", None, [1, 2]]), ["a", None, "[1, 2]"]),
    ],
)
def test_a_grid_has_every_value_once(one, points):
    assert one.points("key") == pytest.approx(points) if isinstance(points[0], float) else points
    both = grid({"key": one, "other": Range(values=[True, False])})
    assert len(both) == 2 * len(points)
    assert len({str(point) for point in both}) == len(both)


def test_an_endless_grid_is_refused():
    with pytest.raises(PcclipError, match=r"ranges: lr: a grid needs `values` or a `step`"):
        grid({"lr": Range(1e-4, 1e-2, log=True)})
    with pytest.raises(PcclipError, match="100,000,000 points"):
        grid({f"key{n}": Range(1, 100, integer=True) for n in range(4)})


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (Range(), "give `low` and `high`, or `values`"),
        (Range(low=1), "give `low` and `high`"),
        (Range(1, 2, values=[3]), "without them"),
        (Range(values=[]), "empty"),
        (Range(2, 1), "must be below"),
        (Range(0, 1, log=True), "begins above 0"),
        (Range(1, 2, log=True, step=0.1), "no `step`"),
        (Range(1, 2, step=0), "above 0"),
        (Range(1, 2.5, integer=True), "whole"),
    ],
)
def test_a_range_that_makes_no_sense_is_refused_by_name(one, said):
    with pytest.raises(PcclipError, match=r"^ranges: a\.b: ") as refused:
        one.check("a.b")
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("value", "word"),
    [(1e-08, "1.0e-08"), (0.25, "0.25"), (3, "3"), (True, "true"), (None, "null"), ("a b", "a b")],
)
def test_values_are_words_that_yaml_reads_as_they_were(value, word):
    assert Range(values=[value], also=["c"]).words("a.b", value) == [f"--a.b={word}", f"--c={word}"]


def trial(number: int, gain: float, cost: float, reach: float = 0.01) -> Trial:
    gained, lost = (Objective(Estimate(v, v - reach, v + reach, 100), (v,)) for v in (gain, cost))
    return Trial(number, "complete", {"lr": 0.1}, (Path(f"trial{number:03d}"),), gained, lost, 1.0, None)


def test_the_greatest_gain_is_chosen_among_trials_that_do_not_surely_lose():
    trials = [trial(0, 0.4, -0.02), trial(1, 0.3, -0.009), trial(2, 0.2, 0.05), trial(3, 0.3, 0.0)]
    chosen = choose(trials, None)
    assert chosen is not None
    assert chosen.number == 1, "0 gains more, but its cost's interval ends below zero; 3 comes later"
    weighted = choose(trials, 10.0)
    assert weighted is not None
    assert weighted.number == 2


def test_nothing_is_chosen_that_the_base_model_is_as_good_as():
    assert choose([], None) is None
    assert choose([trial(0, 0.4, -0.2)], None) is None
    assert choose([trial(0, -0.1, 0.1)], None) is None
    assert choose([trial(0, 0.1, -0.1)], 2.0) is None


def found(*trials: Trial) -> Found:
    return Found(Path("sweeps/x"), trials, (GAIN, COST), None, ("lr",), {"text difference": 0.5}, {})


def test_pareto_trials_are_those_that_no_other_beats():
    there = found(trial(0, 0.4, -0.02), trial(1, 0.3, 0.0), trial(2, 0.3, -0.01), trial(3, 0.1, 0.0))
    assert there.pareto == {0, 1}


def test_what_speaks_against_the_choice_is_said():
    said = "\n".join(notes(found(trial(0, 0.005, 0.0), trial(1, 0.4, -0.2))))
    assert "Chosen: trial 0" in said
    assert "may be chance" in said
    assert "The best of 2 looks better" in said
    assert "+50.0 points" in said
    assert "does not reach it" in said
    assert "no trial is" in "\n".join(notes(found(trial(1, 0.4, -0.2))))


def test_the_csv_has_fractions_and_marks():
    lines = csv_text(found(trial(0, 0.25, -0.005), trial(1, 0.5, -0.2))).splitlines()
    assert lines[0].startswith("trial,state,chosen,pareto,lr,difference_gain,difference_gain_low")
    assert lines[1].startswith("1,complete,0,1,0.1,0.5,")
    assert lines[2].startswith("0,complete,1,1,0.1,0.25,")
