"""`pcclip report` on a real run: what it was, what it cost, what its pictures show."""

import csv
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from fitting import STEPS
from ranked import full

from pcclip.checksums import seal
from pcclip.cli import main
from pcclip.evaluation.exhibits.files import read_exhibits
from pcclip.evaluation.measured import Measured
from pcclip.report.provenance import read_provenance
from tests.report.pages import Page, assert_can_be_read_aloud, assert_keeps_to_itself


def report(folder: Path, *runs: Path) -> tuple[Page, str]:
    words = ["--out", f"{folder}/r.html", "--markdown", f"{folder}/r.md", "--csv", f"{folder}/r.csv"]
    assert main(["report", *map(str, runs), *words]) == 0
    page = Page(folder / "r.html")
    assert_keeps_to_itself(page)
    assert_can_be_read_aloud(page)
    return page, (folder / "r.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def made(whole, tmp_path_factory) -> tuple[Page, str, Path]:
    folder = tmp_path_factory.mktemp("report")
    return *report(folder, whole), folder


def rewrite(file: Path, change) -> None:
    record = json.loads(file.read_text())
    record.pop("sha256", None)
    change(record)
    file.write_text(json.dumps(seal(record)))


def test_the_numbers_are_those_of_the_results(whole, made):
    page, text, folder = made
    base, tuned = (Measured.load(whole / "results/fit" / stage) for stage in ("base", "tuned"))
    before, after, delta = (one.estimates() for one in (base, tuned, tuned.minus(base)))
    with (folder / "r.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) > 8
    for row in rows:
        name = row["metric"]
        assert float(row["base"]) == pytest.approx(before[name]["value"], abs=1e-6)
        assert float(row["value"]) == pytest.approx(after[name]["value"], abs=1e-6)
        for mine, theirs in (("change", "value"), ("low", "low"), ("high", "high")):
            assert float(row[mine]) == pytest.approx(delta[name][theirs], abs=1e-6), name
        if name.startswith(("zero_shot", "difference")):
            change = f"{100 * delta[name]['value']:+.1f}"
            interval = f"[{100 * delta[name]['low']:+.1f}, {100 * delta[name]['high']:+.1f}]"
            shown = f"{row['label'].replace('*', '')} "
            assert f"{shown}{100 * before[name]['value']:.1f}" in page.text
            assert f"{change} {interval}" in page.text
            assert f"{interval} |" in text


def test_a_run_records_what_it_was_and_the_report_tells(place, whole, made):
    page, text, _ = made
    known = read_provenance(whole)
    assert known is not None
    (start,) = known.starts
    words = f"--config={place / 'fit.yaml'} --runs={place / 'runs'} --version=whole"
    assert start.command == f"pcclip fit {words} --dashboard.enabled=true"
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    told = f"commit {commit[:12]}" if commit else "the working directory was no git repository"
    card = (place / "data/CARD.md").read_text()
    assert list(known.cards.values()) == [card]
    records = {one.setting: one.records for one in start.sets}
    for setting, part in (("triples", "triples/train"), ("validation_triples", "triples/validation")):
        assert records[setting] == json.loads((place / "data" / part / "set.json").read_text())["records"]
    for said in (start.command, told, start.machine.processor, f"torch {start.packages['torch']}"):
        assert said in page.text
        assert said in text
    assert " ".join(card.split()) in page.text
    assert " ".join((whole / "config.yaml").read_text().split()) in page.text


def test_what_it_cost_is_what_the_summary_says(whole, made):
    page, _, folder = made
    summary = json.loads((whole / "summary.json").read_text())
    cost = summary["cost"]
    assert cost["samples_per_second"] > 0
    assert 0 <= cost["loader_wait_share"] <= 1
    assert 100 < cost["peak_memory_bytes"] / 2**20 < 16_000
    assert cost["peak_gpu_memory_bytes"] is None
    with (folder / "r-cost.csv").open(encoding="utf-8", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["run"], row["steps"]) == ("small/whole", str(STEPS))
    assert float(row["samples_per_second"]) == cost["samples_per_second"]
    assert float(row["seconds_fit"]) == summary["seconds"]["fit"]
    assert "peak memory of the GPU, MiB no GPU" in page.text
    assert "validation, s" in page.text


def test_pictures_answers_and_confusions_are_those_of_the_exhibits(whole, made):
    page, text, _ = made
    (exhibits,) = read_exhibits(whole)
    ranked = exhibits.rankings[0]
    for stage in ("base", "tuned"):
        ends = getattr(ranked, stage)
        placed = [*ends.top, *ends.middle, *ends.bottom]
        expected = [f"{stage}, rank {one.rank}: {ranked.attribute} {one.value:.3g}" for one in placed]
        alts = [str(picture["alt"]) for picture in page.all("img")]
        assert expected == [alt for alt in alts if alt in set(expected)]
        assert f"{stage}, Spearman {ends.spearman:.3f}" in page.text
    assert f"{ranked.attribute}: “{ranked.text}”" in page.text
    assert exhibits.classes is not None
    assert f"▼ right before, wrong now: {exhibits.classes.lost} of {exhibits.classes.asked}" in page.text
    for attribute, of in exhibits.pairs.items():
        line = f"| pairs that differ in {attribute} | {of.asked:,} | ▼ {of.lost:,} | ▲ {of.won:,} |"
        assert line in text
    (confusion,) = exhibits.confusions
    right = sum(confusion.tuned[n][n] for n in range(len(confusion.classes)))
    share = 100 * right / sum(map(sum, confusion.tuned))
    assert any(f"tuned model: {share:.1f} %" in str(picture["alt"]) for picture in page.all("img"))
    charts = [
        str(picture["alt"]) for picture in page.all("img") if "From first to last" in str(picture["alt"])
    ]
    assert [alt.split(". ")[0] for alt in charts] == [
        "Loss",
        "Differences on validation data",
        "Single pictures on validation data",
        "Weights between base (0) and tuned (1), validation data",
    ]


def test_a_run_of_an_earlier_version_is_told_as_far_as_it_goes(whole, tmp_path):
    run = tmp_path / "small" / "old"
    shutil.copytree(whole, run)
    shutil.rmtree(run / "exhibits")
    for name in ("provenance.json", "interpolation.json"):
        (run / name).unlink()
    for events in run.glob("events.*"):
        events.unlink()
    rewrite(run / "summary.json", lambda record: record.pop("cost"))
    page, text = report(tmp_path, run)
    assert "This run has no exhibits" in page.text
    assert "This run has no exhibits" in text
    assert "An earlier version made this run" in page.text
    assert "Not in this run: losses, evaluations on the way, interpolation." in page.text
    assert "samples/s (median) not recorded" in page.text
    assert not page.all("img")


def test_names_and_texts_from_strangers_do_nothing(whole, tmp_path):
    run = tmp_path / "small" / "nasty"
    shutil.copytree(whole, run)
    script, image = "<script>alert(1)</script>", '"><img src=x onerror=alert(2)>'

    def spoil(record):
        (one,) = record["sets"]
        one["confusions"][0]["classes"] = [
            f"{script} $x$ {n}" for n in range(len(one["confusions"][0]["classes"]))
        ]
        one["rankings"][0]["text"] = image
        one["classes"]["won_examples"].append(
            {"key": "k", "truth": script, "base": image, "tuned": "\ud800\x00", "margin": 0.1}
        )
        one["pictures"]["k"] = "../../../../../etc/passwd"
        one["pairs"] = {f"</h4>{script}": of for of in one["pairs"].values()}

    rewrite(run / "exhibits" / "exhibits.json", spoil)
    rewrite(run / "provenance.json", lambda record: record["cards"].update(x=f"</pre>{script}"))
    page, text = report(tmp_path, run)
    assert page.text.count(script) >= 3
    assert image in page.text
    assert "its thumbnail cannot be read" in page.text  # names nothing outside of the exhibits
    assert "<script" not in page.source
    assert "\n<script" not in text.replace(r"\<script", "")
    changed = r"taken for \<script>alert(1)\</script>"
    assert changed in text


def test_the_home_folder_is_not_named(place, whole, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(place))
    page, text = report(tmp_path, whole)
    assert "--runs=~/runs" in page.text
    assert str(place) not in page.text
    assert str(place) not in text


@full
def test_a_resumed_run_has_two_starts(place, whole, tmp_path):
    run = tmp_path / "small" / "resumed"
    shutil.copytree(whole, run)
    (run / "summary.json").unlink()
    for folder in ("results/fit/tuned", "exhibits", "model", "interpolated"):
        shutil.rmtree(run / folder)
    assert main(["resume", str(run)]) == 0
    known = read_provenance(run)
    assert known is not None
    first, second = known.starts
    assert f"--ckpt_path={run / 'checkpoints/last.ckpt'}" in second.command
    assert first.started < second.started
    page, _ = report(tmp_path, run)
    assert f"{first.started}, and again {second.started} (resumed)" in page.text
    assert "small/resumed was resumed" in page.text
    (run / "provenance.json").write_text("{}")
    assert main(["report", str(run), "--out", f"{tmp_path}/again.html"]) == 1


@pytest.mark.skipif(shutil.which("chromedriver") is None, reason="no chromedriver on PATH")
def test_a_browser_shows_all_of_it_at_any_width(made, tmp_path):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    _, _, folder = made
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options, Service(os.fspath(shutil.which("chromedriver") or "")))
    try:
        for width in (1280, 390):
            metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            driver.get(f"file://{folder / 'r.html'}")
            assert driver.execute_script("return document.documentElement.scrollWidth") <= width
            broken = "return [...document.images].filter(i => !i.complete || !i.naturalWidth).length"
            assert driver.execute_script(broken) == 0
            widest = "return getComputedStyle(document.querySelector('main')).maxWidth"
            assert driver.execute_script(widest) == "1216px"  # the policy has let the style sheet in
            assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []
    finally:
        driver.quit()
