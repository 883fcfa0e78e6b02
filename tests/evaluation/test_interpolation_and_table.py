from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pcclip.errors import PcclipError
from pcclip.evaluation.finished import load_summaries
from pcclip.evaluation.interpolation import CurvePoint, choose_alpha, curve_point, plot_curve
from pcclip.evaluation.protocol import Results
from pcclip.evaluation.statistics import Observations
from pcclip.evaluation.table import COLUMNS, Cell, build_table, print_summaries

NAN = float("nan")


def shares_right(right: list[int], pictures: int, two_alternative: float) -> Results:
    """Results whose first pictures are right by zero-shot, with the prompts seen and held out, and a part."""
    seen, unseen = (np.array([i < r for i in range(pictures)], np.float32) for r in right)
    everything = np.arange(pictures)
    return Results(
        "s/validation",
        pictures,
        {
            "pictures": Observations(everything, None, {"top1": seen, "top1-unseen": unseen}),
            "part": Observations(everything[:3], None, {"top1": seen[:3]}),
            "size": Observations(
                everything, everything[::-1].copy(), {"x": np.full(pictures, two_alternative, np.float32)}
            ),
        },
        {
            "zero_shot/s/top1": (("pictures", "top1"),),
            "zero_shot/s-unseen/top1": (("pictures", "top1-unseen"),),
            "zero_shot/s-unseen-combinations/top1": (("part", "top1"),),
            "difference/s-mean/two_alternative": (("size", "x"),),
            "difference/s-size/two_alternative": (("size", "x"),),
        },
    )


def test_a_point_counts_whole_sets_and_knows_the_error_of_its_change():
    base, tuned = shares_right([50, 70], 100, 0.5), shares_right([46, 66], 100, 0.75)
    point = curve_point(0.5, [tuned], [base])
    assert (point.zero_shot, point.difference) == pytest.approx((0.56, 0.75))
    # 8 of 100 pictures change by -1/2: mean -0.04, variance (100 * 0.08 * 0.25 - 100 * 0.04^2) / 99.
    assert point.noise == pytest.approx(math.sqrt((2 - 0.16) / 99 / 100))
    assert curve_point(0, [base], [base]).noise == 0


def test_a_loss_that_is_not_significant_is_none():
    points = [(0, 0.60, 0.5), (0.5, 0.58, 0.8, 0.0105), (1, 0.57, 0.9, 0.015)]
    assert choose_alpha([CurvePoint(*point) for point in points]) == 0.5


@pytest.mark.parametrize(
    ("points", "chosen"),
    [
        ([(0, 0.9, 0.5), (0.5, 0.91, 0.8), (1, 0.85, 0.95)], 0.5),  # the best one costs zero-shot
        ([(1, 0.9, 0.95), (0.5, 0.91, 0.8), (0, 0.9, 0.5)], 1),  # equal is not below
        ([(0, 0.9, 0.5), (0.5, 0.89, 0.8), (1, 0.85, 0.95)], 0),  # all cost
        ([(0, 0.9, 0.5), (0.5, 0.95, 0.4), (1, 0.95, 0.3)], 0),  # none gains
        ([(0, 0.9, 0.5), (0.4, 0.9, 0.8), (0.6, 0.95, 0.8)], 0.4),  # of equals the nearest to the base
        ([(0, NAN, 0.5), (0.5, NAN, 0.8), (1, NAN, 0.95)], 1),  # no classes, nothing to lose
    ],
)
def test_alpha_is_the_best_that_costs_nothing(points: list[tuple[float, float, float]], chosen: float):
    assert choose_alpha([CurvePoint(*point) for point in points]) == chosen


def test_a_curve_that_cannot_be_judged_is_refused(tmp_path: Path):
    with pytest.raises(PcclipError, match=r"no base model \(alpha 0\), only alpha 0.5, 1"):
        choose_alpha([CurvePoint(0.5, 0.9, 0.9), CurvePoint(1, 0.9, 0.9)])
    with pytest.raises(PcclipError, match=r"difference accuracy at alpha 1 is not a number"):
        choose_alpha([CurvePoint(0, 0.9, 0.9), CurvePoint(1, 0.9, NAN)])
    with pytest.raises(PcclipError, match="no base model"):
        plot_curve([], 0, tmp_path / "curve.png")


@pytest.mark.parametrize("zero_shot", [0.9, NAN])
def test_the_curve_is_drawn(tmp_path: Path, zero_shot: float):
    points = [CurvePoint(alpha / 4, zero_shot + 0.01 * alpha, 0.5 + 0.1 * alpha) for alpha in range(5)]
    figure = plot_curve(points, 0.5, tmp_path / "new" / "curve.png")
    drawn = {text.get_text() for text in figure.axes[0].texts}
    assert drawn == {"0", "0.25", "0.5", "0.75", "1"}
    with Image.open(tmp_path / "new" / "curve.png") as picture:
        assert picture.size == (840, 600)


BASE = {
    "zero_shot/shapes/top1": 0.93,
    "zero_shot/shapes-unseen/top1": 0.90,
    "zero_shot/shapes-unseen-combinations/top1": 0.80,
    "zero_shot/shapes/top5": 0.99,
    "difference/shapes-mean/two_alternative": 0.54,
    "difference/shapes-mean-unseen/two_alternative": 0.52,
    "difference/shapes-mean/sign": 0.50,
    "difference/shapes-mean/text_difference": 0.96,
    "difference/shapes-mean/absolute": 0.90,
    "difference/shapes-wording-w03/two_alternative": 0.50,
    "difference/shapes-wording-w17-unseen/two_alternative": 0.51,
}
TUNED = BASE | {
    "zero_shot/shapes/top1": 0.92,
    "zero_shot/shapes-unseen/top1": 0.80,
    "difference/shapes-mean/two_alternative": 0.98,
    "difference/shapes-mean-unseen/two_alternative": 0.93,
    "difference/shapes-mean/sign": 0.97,
    "difference/shapes-wording-w17-unseen/two_alternative": 0.07,
}


def summary(seed: int = 0, shift: float = 0.0, experiment: str = "demo", **more: Any) -> dict[str, Any]:
    def estimates(values: dict[str, float], reach: float = 0.02) -> dict[str, Any]:
        return {
            name: {"value": v + shift, "low": v + shift - reach, "high": v + shift + reach, "n": 9}
            for name, v in values.items()
        }

    delta = {name: TUNED[name] - BASE[name] for name in BASE}
    changes = {name: {"value": v, "low": v - 0.02, "high": v + 0.02, "n": 9} for name, v in delta.items()}
    return {
        "schema": 1,
        "experiment": experiment,
        "seed": seed,
        "base": estimates(BASE),
        "tuned": estimates(TUNED),
        "delta": changes,
        **more,
    }


def cells(table: Any, label: str) -> dict[str, Cell]:
    (row,) = [found for name, found in table.rows if name == f"shapes: {label}"]
    return dict(zip(COLUMNS, row, strict=True))


def test_one_run_shows_its_bootstrap_intervals():
    table = build_table([summary()])
    assert [label for label, _ in table.rows] == [
        "shapes: zero-shot top-1",
        "shapes: zero-shot top-1, held-out prompts",
        "shapes: zero-shot top-1, held-out combinations",
        "shapes: two-alternative, seen wordings",
        "shapes: two-alternative, held-out wordings",
        "shapes: sign, seen wordings",
        "shapes: two-alternative, held-out wording w17",
    ]
    found = cells(table, "two-alternative, seen wordings")
    assert [found[column].text() for column in COLUMNS[:4]] == [
        "54.0 [52.0, 56.0]",
        "96.0 [94.0, 98.0]",
        "90.0 [88.0, 92.0]",
        "98.0 [96.0, 100.0] (+44.0)",
    ]
    assert found["interpolated"] is None


def test_retrieval_stands_in_the_table_where_it_was_measured():
    one = summary()
    for stage, value in (("base", 0.5), ("tuned", 0.4), ("delta", -0.1)):
        for way in ("text_to_image", "image_to_text"):
            estimate = {"value": value, "low": value - 0.02, "high": value + 0.02, "n": 9}
            one[stage][f"retrieval/own/{way}_recall_at_5"] = estimate
    rows = dict(build_table([one]).rows)
    for way in ("image to text", "text to image"):
        base, *_, tuned, _ = rows[f"own: retrieval, {way}, R@5"]
        assert base.text() == "50.0 [48.0, 52.0]"
        assert tuned.text() == "40.0 [38.0, 42.0] (▼ -10.0)"


def test_a_loss_is_shown_as_a_loss():
    table = build_table([summary()])
    unsure = cells(table, "zero-shot top-1")["tuned"]
    assert (unsure.loss, unsure.sure_loss) == (True, False)
    assert unsure.text() == "92.0 [90.0, 94.0] (▼ -1.0)"
    assert cells(table, "zero-shot top-1, held-out prompts")["tuned"].sure_loss
    backward = cells(table, "two-alternative, held-out wording w17")["tuned"]
    assert backward.below_chance
    text = table.markdown()
    assert "| **80.0 [78.0, 82.0] (▼ -10.0)** |" in text
    assert "**7.0 [5.0, 9.0] (▼ -44.0) ✗**" in text
    assert "| 92.0 [90.0, 94.0] (▼ -1.0) |" in text
    assert "two-alternative, held-out wordings: tuned (93.0) does not reach text difference" in text
    assert "seen wordings: tuned (98.0) does not reach" not in text


def test_several_seeds_show_the_mean_and_the_spread_over_seeds():
    runs = [
        summary(seed, shift, interpolated=summary(seed, shift)["tuned"], alpha=alpha)
        for seed, shift, alpha in ((0, -0.01, 0.5), (1, 0.0, 0.6), (2, 0.01, 0.5))
    ]
    table = build_table(runs)
    base = cells(table, "zero-shot top-1")["base"].estimate
    assert (base.value, base.low, base.high, base.n) == pytest.approx(
        (0.93, 0.93 - 0.02484, 0.93 + 0.02484, 3), abs=1e-4
    )
    for column in ("tuned", "interpolated"):
        change = cells(table, "zero-shot top-1")[column].change
        assert change.value == pytest.approx(-0.01)
        assert change.n == 3
    assert "seeds 0, 1, 2; intervals: t over seeds; interpolated at alpha 0.5, 0.6, 0.5" in table.title


def test_runs_that_cannot_be_averaged_are_refused():
    odd = summary(1)
    del odd["base"]["zero_shot/shapes/top5"]
    with pytest.raises(
        PcclipError, match=r"seeds 0 and 1 have different metrics \(zero_shot/shapes/top5, 1 in all"
    ):
        build_table([summary(), odd])
    unfinished = summary(3)
    del unfinished["tuned"]
    with pytest.raises(PcclipError, match=r"seed 3 has no 'tuned'"):
        build_table([unfinished])


def save(folder: Path, content: dict[str, Any]) -> None:
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(content))


def test_compare_prints_a_table_per_experiment(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    save(tmp_path / "demo" / "v000", summary(0, -0.2))
    save(tmp_path / "demo" / "v001", summary(1))
    save(tmp_path / "demo" / "v002", summary(0))  # seed 0 once more: the newest counts
    save(tmp_path / "demo" / "test000", {"schema": 1, "experiment": "demo", "seed": 0, "tuned": {}})
    (tmp_path / "demo" / "latest").symlink_to("v002")
    save(tmp_path / "paper" / "v000", summary(experiment="paper"))
    found = load_summaries([tmp_path / "demo"])
    assert [(one["seed"], one["base"]["zero_shot/shapes/top1"]["value"]) for one in found] == [
        (0, 0.93),
        (1, 0.93),
    ]
    print_summaries([str(tmp_path / "demo"), str(tmp_path / "paper" / "v000")], str(tmp_path / "table.md"))
    printed = capsys.readouterr().out
    assert "demo: seeds 0, 1" in printed
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert text.count("| shapes: zero-shot top-1 |") == 2
    assert "**paper: seed 0; intervals: bootstrap over pictures, one run**" in text


def test_folders_without_a_finished_run_are_refused(tmp_path: Path):
    with pytest.raises(PcclipError, match="no finished run"):
        load_summaries([tmp_path])
    save(tmp_path / "v000", summary() | {"schema": 7})
    with pytest.raises(PcclipError, match=r"summary.json: schema 7, this version reads 1"):
        load_summaries([tmp_path])
    (tmp_path / "v000" / "summary.json").write_text("{")
    with pytest.raises(PcclipError, match=r"summary.json: is no summary of a run"):
        load_summaries([tmp_path])
