"""`pcclip report` on runs whose truth is known: gains, losses, and what needs no training."""

import csv

import numpy as np
import pytest
from scipy import stats

from pcclip.cli import main
from pcclip.evaluation.measured import Measured
from pcclip.evaluation.protocol import Results
from tests.evaluation.known_results import FREE, MEAN, TOP1, results, save_experiment, save_run
from tests.report.pages import Page, assert_can_be_read_aloud, assert_keeps_to_itself


def report(tmp_path, *runs, more=()) -> tuple[Page, str]:
    out, text = tmp_path / "out" / "r.html", tmp_path / "out" / "r.md"
    words = [
        "--suite",
        "mine",
        "--out",
        str(out),
        "--markdown",
        str(text),
        "--csv",
        str(out.with_suffix(".csv")),
    ]
    assert main(["report", *map(str, runs), *words, *more]) == 0
    page = Page(out)
    assert_keeps_to_itself(page)
    assert_can_be_read_aloud(page)
    return page, text.read_text(encoding="utf-8")


def table(tmp_path, name: str = "r.csv") -> list[dict[str, str]]:
    with (tmp_path / "out" / name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_loss_is_a_loss_in_the_verdict_the_table_and_the_list(tmp_path):
    save_run(tmp_path / "one", 0, results(500), results(440, pairs_right=0.95))
    page, text = report(tmp_path, tmp_path / "one")
    assert "On single pictures it lost on 1 of 1 measures." in page.text
    assert "s: zero-shot top-1: 50.0 → 44.0 %, -6.0 [" in page.text
    assert "]: ▼ worse." in page.text
    assert "- s: zero-shot top-1: 50.0 → 44.0 %, -6.0 [" in text
    assert {"class": "loss"} in page.all("b")
    assert {"class": "loss"} in page.all("li")
    (lost,) = [row for row in table(tmp_path, "r-what-got-worse.csv") if row["metric"] == TOP1]
    assert [float(lost[name]) for name in ("before", "after", "change")] == pytest.approx([0.5, 0.44, -0.06])
    assert (lost["significant"], lost["outcome"]) == ("1", "▼ worse")
    assert (
        "It reads differences better than the base model on 1 of 2 measures" in page.text
    )  # the ranking is as it was
    assert "one: fewer than 3 seeds." in page.text


def test_a_fall_within_chance_is_told_as_one(tmp_path):
    save_run(tmp_path / "one", 0, results(500), results(499, pairs_right=0.95))
    page, _ = report(tmp_path, tmp_path / "one")
    assert "On single pictures it is lower on 1 of 1 measures, on none of them clearly." in page.text
    assert "▼ worse, not clearly" in page.text
    assert not [attributes for attributes in page.all("li") if attributes.get("class") == "loss"]


@pytest.mark.parametrize(
    ("share", "said", "word"),
    [
        (0.6, "; but the base model without any finetuning, by the text difference, is better still on",
         "▼ behind"),
        (0.97, ", and better than the base model does without finetuning by the text difference", "▲ ahead"),
        (0.75, "; it is clearly ahead of what the base model does without finetuning, by the text "
         "difference, on 0 of 1 measures", "clear"),
    ],
)  # fmt: skip
def test_the_training_free_baseline_stands_beside_and_the_difference_is_paired(tmp_path, share, said, word):
    tuned = results(500, pairs_right=share)
    save_run(tmp_path / "one", 0, results(500), tuned)
    page, text = report(tmp_path, tmp_path / "one")
    assert said in page.text
    assert said in text
    scores = tuned.groups["size"].scores
    ahead = scores["x"] - scores["f"]
    reach = 1.96 * ahead.std(ddof=1) / np.sqrt(len(ahead))
    (row,) = table(tmp_path, "r-against-what-needs-no-training.csv")
    assert (row["baseline"], float(row["training_free"])) == ("text difference", 0.75)
    assert float(row["change"]) == pytest.approx(ahead.mean(), abs=1e-6)
    low, high = float(row["low"]), float(row["high"])
    # Each picture is in one pair: draws of pictures leave out pairs of which one is not drawn.
    assert low == pytest.approx(ahead.mean() - reach, abs=0.03)
    assert high == pytest.approx(ahead.mean() + reach, abs=0.03)
    assert low < float(row["change"]) < high
    assert word in row["outcome"]
    shown = [row for row in table(tmp_path) if row["metric"] == FREE]
    assert float(shown[0]["base"]) == 0.75  # in the same table as well


def test_seeds_that_disagree_are_not_called_a_gain(tmp_path):
    save_experiment(tmp_path / "fickle", [700, 400, 640], pairs_right=0.9)
    page, _ = report(tmp_path, tmp_path / "fickle")
    gains = [0.2, -0.1, 0.14]
    low, high = stats.t.interval(0.95, 2, np.mean(gains), stats.sem(gains))
    assert f"over seeds [{100 * low:+.1f}, {100 * high:+.1f}]: no clear gain." in page.text
    assert "gained on" not in page.text
    assert "fewer than 3 seeds" not in page.text
    assert [one for one in page.pieces if one.startswith("Run fickle/seed")].count("Run fickle/seed2") == 2


def test_several_experiments_and_a_model_are_columns_and_each_run_a_section(tmp_path):
    save_experiment(tmp_path / "ours", [600, 605, 610], pairs_right=0.9)
    save_experiment(tmp_path / "captions", [400, 405, 410], pairs_right=0.52)
    public = Measured()
    public.add(results(650))
    (tmp_path / "public").mkdir()
    public.save(tmp_path / "public" / "base")
    page, text = report(tmp_path, tmp_path / "ours", tmp_path / "captions", tmp_path / "public")
    assert "Report: ours, captions, public" in page.text
    headings = [one.strip() for one in page.pieces]
    for name in ("ours", "captions", "public"):
        assert f"### {name}" in text
    for run in ("ours/seed0", "captions/seed2"):
        assert headings.count(f"Run {run}") == 2  # the link and the heading
    assert "40.5 (-9.5)" in page.text
    assert "▼ behind the first column" in page.text
    numbers = {(row["experiment"], row["metric"]): row for row in table(tmp_path)}
    assert float(numbers["ours", TOP1]["change"]) == pytest.approx(0.105)
    assert float(numbers["public", TOP1]["change"]) == pytest.approx(0.15)
    assert len(table(tmp_path, "r-cost.csv")) == 6  # a model has cost nothing here
    assert "captions (53.8) does not reach the base model's training-free text_difference (75.0)" in page.text


def test_the_same_numbers_as_compare_to_the_byte(tmp_path):
    save_experiment(tmp_path / "ours", [600, 605, 610], pairs_right=0.9)
    report(tmp_path, tmp_path / "ours")
    words = ["compare", str(tmp_path / "ours"), "--suite", "mine", "--csv", str(tmp_path / "c.csv")]
    assert main(words) == 0
    assert (tmp_path / "c.csv").read_bytes() == (tmp_path / "out" / "r.csv").read_bytes()
    everything = {row["metric"] for row in table(tmp_path, "r-every-measure.csv")}
    assert MEAN in everything
    assert "difference/s-wording-w1/two_alternative" in everything


def test_measures_of_ones_own_are_told_as_well(tmp_path):
    def own(found: Results) -> Results:
        return Results("s/test", found.pictures, found.groups, {"new/s/score": found.metrics[TOP1]})

    save_run(tmp_path / "one", 0, own(results(500)), own(results(440)))
    page, _ = report(tmp_path, tmp_path / "one")
    assert "It does worse than the base model" in page.text
    assert "new/s/score: 50.0 → 44.0 %, -6.0 [" in page.text


def test_names_that_are_code_are_text(tmp_path):
    nasty = '<script>alert("1")</script>|`x`&'
    # A folder cannot hold a slash.
    folder = tmp_path / nasty.replace("/", "")
    save_run(folder, 0, results(500), results(510))
    page, text = report(tmp_path, folder)
    assert '<script>alert("1")<script>|`x`&' in page.text
    assert "<script" not in page.source
    assert r"\<script>" in text
    assert r"\|\`x\`" in text


def test_what_is_missing_is_named_with_its_remedy(tmp_path, capsys):
    save_run(tmp_path / "one", 0, results(500), results(510))
    run = str(tmp_path / "one")
    assert main(["report", run, "--suite", "other", "--out", str(tmp_path / "r.html")]) == 1
    assert "pcclip evaluate --config" in capsys.readouterr().err
    assert main(["report", run, "--suite", "mine", "--out", str(tmp_path)]) == 1
    assert f"{tmp_path}: is a folder. Name a file in it." in capsys.readouterr().err
    taken = tmp_path / "one" / "seed0" / "summary.json" / "r.html"
    assert main(["report", run, "--suite", "mine", "--out", str(taken)]) == 1
    assert f"{taken}: cannot be written" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "absent"), "--out", str(tmp_path / "r.html")]) == 1
    assert "no finished run" in capsys.readouterr().err
    curve = tmp_path / "one" / "seed0" / "interpolation.json"
    curve.write_text("{}")
    assert main(["report", run, "--suite", "mine", "--out", str(tmp_path / "r.html")]) == 1
    assert f"{curve}: is no interpolation curve" in capsys.readouterr().err
    assert not (tmp_path / "r.html").exists()
