"""Every command of the documentation pages runs on small data, or is parsed, with the reason."""

import json
from pathlib import Path

import page_running
import pytest
from page_running import PAGES, Told, with_overlay

FETCHED = "fetches from the network"
ENVIRONMENT = "makes or enters an environment"


class Treatment:
    """How the pages' calls of `pcclip` are made small: overlays by verb and recipe."""

    def __init__(self, world: Path) -> None:
        self.world = world

    def __call__(self, words: list[str]) -> tuple[list[str], str | None]:
        verb, line = words[0], " ".join(words)
        if verb == "fit":
            return with_overlay(words, self.world / "fit.yaml"), None
        if verb == "prepare" and "your_own/measured" in line:
            return with_overlay(words, self.world / "pairs.yaml"), None
        if verb == "write":
            small = [] if "--rows.plan" in line else ["--rows.plan", "{pictures: 0, pairs: 100}"]
            if "language_model" in line or "coco/" in line or "cub/" in line:
                words = with_overlay(words, "tests/smoke/writer.yaml")
            return [*words, *small, "--progress", "false"], None
        return words, None


def run(name: str, world: Path, place: Path, settings: dict[str, object], reasons: dict[str, str]) -> Told:
    named = {setting: str(value) for setting, value in settings.items()}
    told = page_running.run(PAGES / f"{name}.md", place, named, Treatment(world), reasons)
    for command, why in told.parsed.items():
        print(f"{name}: only parsed, {why}: {command}")
    return told


@pytest.mark.slow
def test_the_tutorial_from_a_folder_and_a_table_to_the_gallery(docs_world: Path, tmp_path: Path) -> None:
    settings = {
        "PHOTOS": docs_world / "coco/val2017",
        "TABLE": "captions.csv",
        "MODEL": f"local-dir:{docs_world / 'base'}",
        "PRETRAINED": "null",
        "COCO": docs_world / "coco",
    }
    reasons = {
        "make env": ENVIRONMENT,
        "make vllm-env": ENVIRONMENT,
        "source .venv": ENVIRONMENT,
        "curl": FETCHED,
        "unzip": FETCHED,
    }
    run("tutorial_your_own_pictures", docs_world, tmp_path, settings, reasons)
    summary = json.loads((tmp_path / "runs/your-own-differences/seed0/summary.json").read_text())
    assert "difference/your-own-unseen/two_alternative" in " ".join(summary["tuned"])
    ranked = (tmp_path / "brighter.csv").read_text().splitlines()
    assert len(ranked) == 81
    assert (tmp_path / "brighter.html").stat().st_size > 10_000
    assert (tmp_path / "found.html").is_file()
