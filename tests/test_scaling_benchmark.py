"""The benchmark of cost as work grows: it runs, writes what it measured, and finds bends."""

import csv
import json
import os

import pytest

from tests.benchmarks.scaling.__main__ import run
from tests.benchmarks.scaling.measuring import Curve, measure_point
from tests.benchmarks.scaling.plotting import bends, slopes

long = pytest.mark.skipif(os.environ.get("PCCLIP_FAULTS") != "full", reason="PCCLIP_FAULTS=full runs it")


@pytest.mark.parametrize(
    "what",
    [
        "pictures",
        "evaluation",
        "ranks",
        *(pytest.param(name, marks=long) for name in ("loss", "triples", "texts")),
    ],
)
def test_a_tiny_run_writes_points_and_a_plot(what, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PCCLIP_SCALING_CLOCK", "")  # `run` sets it
    run(str(tmp_path / "out"), what, repeats=1, work=tmp_path, tiny=True)
    with (tmp_path / "out" / f"{what}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    points = json.loads((tmp_path / "out" / f"{what}.json").read_text())
    assert [list(point) for point in points] == [list(row) for row in rows]
    assert [list(map(str, point.values())) for point in points] == [list(row.values()) for row in rows]
    assert len(points) >= 2
    assert all(value > 0 for point in points for name, value in point.items() if name == "seconds")
    assert (tmp_path / "out" / f"{what}.png").read_bytes().startswith(b"\x89PNG")
    assert "exponents" in capsys.readouterr().out
    assert not list(tmp_path.glob("scaling-*"))  # shards and banks are gone


def made_curve():
    return Curve("made", lambda n, of: {"seconds": n**2.0}, "n", {"seconds": "s"}, [], "of")


def test_exponents_and_bends_are_those_of_the_line():
    bent = [{"n": n, "of": "a", "seconds": 3.0 * max(n, 1000)} for n in (10, 100, 1000, 10_000)]
    straight = [{"n": n, "of": "b", "seconds": n**2.0} for n in (10, 100, 1000)]
    assert slopes([(10, 100.0), (100, 10_000.0)]) == pytest.approx([2])
    assert list(bends(made_curve(), bent + straight)) == [
        "made, seconds (a): exponents 0.00 0.00 1.00; bends at 1,000",
        "made, seconds (b): exponents 2.00 2.00; bends at none",
    ]


def test_a_point_that_fails_says_why():
    def fails(n):
        raise ValueError(f"no {n}")

    curve = Curve("made", fails, "n", {}, [], "of")
    with pytest.raises(RuntimeError, match="no 3"):
        measure_point(curve, {"n": 3})
