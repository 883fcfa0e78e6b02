"""`pcclip compare --suite` on results whose truth is known."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from pcclip.cli import main
from pcclip.evaluation.comparing.rows import describe
from pcclip.evaluation.measured import Measured
from pcclip.evaluation.protocol import Results
from pcclip.evaluation.statistics import Observations
from tests.evaluation.known_results import FREE, MEAN, RARE, RHO, TOP1, results, save_experiment, save_run


def rows(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return {(row["experiment"], row["metric"]): row for row in csv.DictReader(stream)}


def compare(tmp_path: Path, *words: str) -> dict[tuple[str, str], dict[str, str]]:
    file = tmp_path / "table.csv"
    assert main(["compare", *words, "--suite", "mine", "--csv", str(file)]) == 0
    return rows(file)


def test_intervals_over_pictures_and_over_seeds_are_two_things(tmp_path: Path):
    save_experiment(tmp_path / "steady", [560, 570, 580])
    save_experiment(tmp_path / "fickle", [700, 400, 640])  # +80 on average, as the seed has it
    found = compare(tmp_path, str(tmp_path / "steady"), str(tmp_path / "fickle"))
    for name, gains in (("steady", [0.06, 0.07, 0.08]), ("fickle", [0.2, -0.1, 0.14])):
        row = found[name, TOP1]
        expected = stats.t.interval(0.95, 2, np.mean(gains), stats.sem(gains))
        assert float(row["change"]) == pytest.approx(np.mean(gains))
        assert (float(row["seeds_low"]), float(row["seeds_high"])) == pytest.approx(expected, abs=1e-6)
        assert float(row["p_seeds"]) == pytest.approx(stats.ttest_1samp(gains, 0).pvalue, abs=1e-6)
        assert float(row["low"]) > 0  # pictures are many: certain for these three seeds
        assert float(row["p_holm"]) < 0.001
    # Over pictures: the spread of each picture's mean change over the seeds.
    changes = np.mean([np.arange(1000) < count for count in (560, 570, 580)], axis=0) - (
        np.arange(1000) < 500
    )
    reach = 1.96 * changes.std(ddof=1) / np.sqrt(1000)
    row = found["steady", TOP1]
    assert float(row["low"]) == pytest.approx(0.07 - reach, abs=0.003)
    assert float(row["high"]) == pytest.approx(0.07 + reach, abs=0.003)
    assert (row["significant"], found["fickle", TOP1]["significant"]) == ("1", "0")
    assert row["test"] == "bootstrap"


def test_one_seed_is_tested_by_mcnemar_and_corrected_for_the_table(tmp_path: Path):
    save_run(tmp_path / "one", 0, results(500), results(512, rho=0.3))
    found = compare(tmp_path, str(tmp_path / "one" / "seed0"))
    p_values = {metric: float(row["p_pictures"]) for (_, metric), row in found.items()}
    assert found["one", TOP1]["test"] == "McNemar"
    assert p_values[TOP1] == pytest.approx(stats.binomtest(12, 12).pvalue)
    assert (found["one", MEAN]["test"], p_values[MEAN], p_values[FREE]) == ("bootstrap", 1, 1)
    ordered = sorted(p_values, key=lambda metric: p_values[metric])
    assert float(found["one", ordered[0]]["p_holm"]) == pytest.approx(min(1, 4 * p_values[ordered[0]]))
    assert float(found["one", ordered[1]]["p_holm"]) == pytest.approx(min(1, 3 * p_values[ordered[1]]))
    assert found["one", TOP1]["seeds_low"] == "nan"
    alone = compare(tmp_path, str(tmp_path / "one"), "--metrics", "zero_shot/*")
    assert float(alone["one", TOP1]["p_holm"]) == pytest.approx(p_values[TOP1])  # a family of one


def test_statistics_are_tested_by_their_replicates_like_means(tmp_path: Path):
    for seed, rho in enumerate((0.5, 0.52, 0.51)):
        save_run(tmp_path / "one", seed, results(500), results(500, rho=rho))
    row = compare(tmp_path, str(tmp_path / "one"))["one", RHO]
    spread = np.random.default_rng(0).normal(0, 0.02, 200).std() * 0.31  # of replicates drawn alike
    assert float(row["change"]) == pytest.approx(0.31)
    assert float(row["high"]) - float(row["low"]) == pytest.approx(4 * spread, rel=0.15)
    expected = stats.t.interval(0.95, 2, 0.31, stats.sem([0.3, 0.32, 0.31]))
    assert (float(row["seeds_low"]), float(row["seeds_high"])) == pytest.approx(expected)
    assert row["significant"] == "1"


def test_losses_marks_and_what_no_training_reaches_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    save_experiment(tmp_path / "ours", [600, 605, 610], pairs_right=0.9)
    save_experiment(tmp_path / "captions", [400, 405, 410], pairs_right=0.52)
    capsys.readouterr()
    compare(
        tmp_path, str(tmp_path / "ours"), str(tmp_path / "captions"), "--markdown", str(tmp_path / "t.md")
    )
    text = (tmp_path / "t.md").read_text(encoding="utf-8")
    assert "| s: zero-shot top-1 | 50.0 [47.0, 53.0] | 60.5 (+10.5)*<br>" in text
    assert "| **40.5 (▼ -9.5)*†↓**<br>" in text
    assert "| ours; seeds 0, 1, 2; reference † | captions; seeds 0, 1, 2 |" in text
    assert "captions (53.8) does not reach the base model's training-free text_difference (75.0)" in text
    assert "ours (" not in text
    assert "wording" not in text
    printed = " ".join(capsys.readouterr().out.split())
    assert "after Holm's correction over these 8 tests" in printed
    assert "†↑ †↓ its change differs from ours's" in printed


def test_rows_are_chosen_by_pattern_or_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    save_run(tmp_path / "one", 0, results(500, extra=True), results(520, extra=True))
    run = str(tmp_path / "one")
    selected, everything = compare(tmp_path, run), compare(tmp_path, run, "--all")
    assert {metric for _, metric in selected} == {TOP1, MEAN, FREE, RHO}
    assert {metric for _, metric in everything} == {TOP1, MEAN, FREE, RHO, "new/s/score"}
    assert everything["one", "new/s/score"]["label"] == "new/s/score"
    asked = compare(tmp_path, run, "--metrics", "*-wording-*", "new/*")
    assert {metric for _, metric in asked} == {RARE, "new/s/score"}
    capsys.readouterr()
    assert main(["compare", run, "--suite", "mine", "--metrics", "old/*"]) == 1
    assert "none of the 6 metrics match old/*; there are zero_shot/s/top1, " in capsys.readouterr().err


def test_seeds_that_saw_other_pairs_are_averaged_over_their_own(tmp_path: Path):
    def shifted(found: Results, by: int) -> Results:
        pairs = found.groups["size"]
        moved = Observations(pairs.first, (pairs.second + by) % 500 + 500, pairs.scores)
        return Results(found.evaluated, found.pictures, found.groups | {"size": moved}, found.metrics)

    for seed in range(2):
        save_run(
            tmp_path / "one", seed, shifted(results(500), seed), shifted(results(500, 0.6 + seed / 5), seed)
        )
    row = compare(tmp_path, str(tmp_path / "one"))["one", MEAN]
    gains = [results(500, share).values()[MEAN] - results(500).values()[MEAN] for share in (0.6, 0.8)]
    assert float(row["change"]) == pytest.approx(np.mean(gains), abs=1e-6)
    assert float(row["low"]) < np.mean(gains) < float(row["high"])


def test_models_are_compared_with_the_runs_base_or_the_first_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    save_experiment(tmp_path / "ours", [600, 610])
    for name, right in (("public", 650), ("other", 450)):
        found = Measured()
        found.add(results(right))
        (tmp_path / name).mkdir()
        found.save(tmp_path / name / "base")
    beside = compare(tmp_path, str(tmp_path / "ours"), str(tmp_path / "public"))
    assert float(beside["public", TOP1]["change"]) == pytest.approx(0.15)
    assert beside["public", TOP1]["seeds_low"] == "nan"
    assert float(beside["public", TOP1]["over_ours_change"]) == pytest.approx(0.045)
    alone = compare(tmp_path, str(tmp_path / "public"), str(tmp_path / "other"))
    assert {experiment for experiment, _ in alone} == {"other"}
    assert float(alone["other", TOP1]["change"]) == pytest.approx(-0.2)
    assert float(alone["other", TOP1]["base"]) == pytest.approx(0.65)
    assert main(["compare", str(tmp_path / "public"), "--suite", "mine"]) == 1
    assert "public is a single model: name a run or another model" in capsys.readouterr().err


def test_of_another_set_the_base_is_that_of_the_experiment_that_has_it(tmp_path: Path):
    def of_another(found: Results) -> Results:
        names = {name: name.replace("/s", "/t") for name in (*found.metrics, *found.statistics)}
        metrics = {names[name]: parts for name, parts in found.metrics.items()}
        statistics = {names[name]: one for name, one in found.statistics.items()}
        return Results("t/test", found.pictures, found.groups, metrics, statistics=statistics)

    save_run(tmp_path / "one", 0, results(500), results(520))
    save_run(tmp_path / "two", 0, of_another(results(640)), of_another(results(600)))
    found = compare(tmp_path, str(tmp_path / "one"), str(tmp_path / "two"))
    assert float(found["one", TOP1]["base"]) == pytest.approx(0.5)
    assert float(found["two", TOP1.replace("/s", "/t")]["base"]) == pytest.approx(0.64)
    assert float(found["two", TOP1.replace("/s", "/t")]["change"]) == pytest.approx(-0.04)


def test_the_figure_shows_changes_and_curves(tmp_path: Path):
    save_experiment(tmp_path / "ours", [600, 605, 610], pairs_right=0.9)
    save_experiment(tmp_path / "captions", [400], pairs_right=0.52)
    picture = tmp_path / "new" / "table.png"
    compare(tmp_path, str(tmp_path / "ours"), str(tmp_path / "captions"), "--plot", str(picture))
    with Image.open(picture) as drawn:
        colours = drawn.convert("RGB").getcolors(2**24)
        assert drawn.width == 1320
    found = {colour for _, colour in colours or []}
    assert {(31, 119, 180), (255, 127, 14)} <= found  # both experiments, in matplotlib's first two colours


def test_what_is_missing_is_named_with_the_command_that_makes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    save_experiment(tmp_path / "ours", [600, 605], pairs_right=0.9)
    save_run(tmp_path / "old", 0, results(500), results(510), suite="fit")
    words = ["compare", str(tmp_path / "ours"), str(tmp_path / "old"), "--suite"]
    assert main([*words, "mine"]) == 1
    said = capsys.readouterr().err
    assert f"old/seed0: no {tmp_path / 'old' / 'seed0' / 'results' / 'mine' / 'base'}" in said
    assert f"--runs '[{tmp_path / 'old' / 'seed0'}]'" in said
    assert "These runs have the suites fit." in said
    assert main([*words[:2], "--suite", "mine", "--stage", "interpolated"]) == 1
    assert "has no such weights" in capsys.readouterr().err
    assert main(["compare", str(tmp_path / "ours"), "--plot", "x.png"]) == 1
    assert "need --suite" in capsys.readouterr().err
    save_run(tmp_path / "more", 0, results(500, extra=True), results(510, extra=True))
    assert main(["compare", str(tmp_path / "more"), str(tmp_path / "ours"), "--suite", "mine", "--all"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "ours lacks 1 of 5 rows (new/s/score)" in said
    assert "--again true" in said
    assert "ours has the seeds 0, 1, more 0: the two are compared on 0." in said
    assert main(["compare", str(tmp_path / "ours"), str(tmp_path / "ours" / "seed1"), "--suite", "mine"]) == 1
    assert "a second run of 'ours' with seed 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("metric", "label", "shown"),
    [
        ("zero_shot/s-unseen-combinations/top1", "s: zero-shot top-1, held-out combinations", "12.3"),
        ("difference/s-mean-unseen/sign", "s: differences, sign, held-out words", "12.3"),
        ("ranking/s-mean-unseen/direction_spearman", "s: ranking by direction, Spearman, held-out words",
         "0.123"),
        ("comparative/s-random-pairs/confused_gain",
         "s: comparative prompting, gain on confused classes, random pairs", "12.3"),
        ("retrieval/s/text_to_image_recall_at_5", "s: retrieval, text to image, R@5", "12.3"),
        ("difference_retrieval/s-to-picture-unseen/sentence_recall_at_10",
         "s: difference retrieval of the picture by sentence, recall at 10, held-out words", "12.3"),
        ("geometry/s/comparison/text_cosine", "s: comparison text . class difference, cosine", "0.123"),
        ("geometry/s/drift/prompts", "s: drift of prompts", "0.123"),
        ("geometry/s/analogy/accuracy", "s: analogies, accuracy", "12.3"),
        ("linear_probe/s/top1", "s: linear probe, top-1", "12.3"),
        ("retrieval/s/text_to_image_median_rank", "retrieval/s/text_to_image_median_rank", "0.123"),
    ],
)  # fmt: skip
def test_rows_have_readable_labels_and_units(metric: str, label: str, shown: str):
    row = describe(metric)
    assert (row.label, row.number(0.1234)) == (label, shown)


def test_less_is_better_for_ranks_and_neither_for_drift():
    signs = [describe(m).better for m in ("retrieval/s/x_median_rank", "geometry/s/drift/prompts", "new/s/x")]
    assert signs == [-1, 0, 1]
