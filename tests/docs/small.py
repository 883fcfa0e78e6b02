"""How the commands of pages are made small."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import page_running
from page_running import PAGES, Told, with_overlay

from pcclip.generation.judging.files import SHEET
from tests.generation.writing.parrot import completion

FETCHED = "fetches from the network"
ENVIRONMENT = "makes or enters an environment"
WEIGHTS = "needs published weights and a GPU: tests/cli/test_paper_tables.py runs such files on stand-ins"
SENDS = "sends to the hub"
SMALL_PAIRS = "{pictures: 20, pairs: 0, method: all}"


class Treatment:
    """How the pages' calls of `pcclip` are made small: overlays by verb and recipe.

    Args:
        world: The folder of overlays.
        server: Address of a server that writes and judges; else a stand-in within the process writes.
    """

    def __init__(self, world: Path, server: str | None = None) -> None:
        self.world = world
        self.writer, self.judges = Path("tests/smoke/writer.yaml"), world / "judges.yaml"
        if server is not None:
            kind = "pcclip.generation.writers.openai_server.OpenAIServer"
            one = {"class_path": kind, "init_args": {"url": server, "model": "./no/model"}}
            self.writer = world / "writer.yaml"
            self.writer.write_text(json.dumps({"writer": one}))
            self.judges.write_text(json.dumps({"writers": [one, one]}))

    def __call__(self, words: list[str]) -> tuple[list[str], str | None]:
        verb, line = words[0], " ".join(words)
        if verb == "fit":
            less = ["zero_shot.yaml"] if "experiments/shapes" in line else []
            if "--version seed0" in line and less:  # what the README and reports show
                less = ["both.yaml"] if "differences" in line else less
            small = with_overlay(words, *(self.world / name for name in ("fit.yaml", *less)))
            return [*small, *(["--model.name", "pcclip-tiny"] if "shapes/pretrain" in line else [])], None
        if verb == "prepare" and "shapes/demo" in line:
            return [*with_overlay(words, "data_recipes/shapes/smoke.yaml"), "--out", "data/shapes"], None
        if verb == "arithmetic":
            return with_overlay(words, "tests/smoke/arithmetic.yaml"), None
        if verb == "resume":
            Path(words[1], "summary.json").unlink()  # as if it had been stopped before its end
        if "--import" in words:
            rate(Path(words[words.index("--import") + 1]))
        if verb == "judge" and "--config" in words:
            return [*with_overlay(words, self.judges), "--texts.count", "8"], None
        if verb == "prepare" and "your_own/measured" in line:
            return with_overlay(words, self.world / "pairs.yaml"), None
        if verb == "write":
            small = [] if "--rows.plan" in line or "/class_" in line else ["--rows.plan", SMALL_PAIRS]
            if "class_pairs" in line:
                small += ["--rows.pairs", "[[Black footed Albatross, Laysan Albatross]]"]
            if "OpenAIServer" in line or "overlays/ray" in line:
                small += ["--writer.model", "./no/model"]  # a dry run asks no hub for its tokenizer
            elif "your_own/contrasts" not in line and "cub/rules" not in line:
                words = with_overlay(words, self.writer)
            return [*words, *small, "--progress", "false"], None
        return words, None


RATING = {"follows": "yes", "direction": "right", "specific": 3, "hallucinated": "no"}


def rate(file: Path) -> None:
    """What a person does: fills the table, every row alike."""
    rows = list(csv.DictReader(io.StringIO(file.read_text("utf-8-sig"), newline="")))
    with file.open("w", newline="") as filled:
        table = csv.DictWriter(filled, SHEET)
        table.writeheader()
        table.writerows(row | RATING for row in rows)


def answer(body: dict[str, Any], _: int) -> tuple[int, dict[str, str], bytes]:
    """A writer and a judge behind OpenAI's protocol: a sentence, or a rating where one is asked for."""
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema", {})
    if "follows" in schema.get("properties", {}):
        return 200, {}, completion(json.dumps({"reason": "so it is", "objects": [], **RATING}))
    spots = sum(json.dumps(body["messages"]).encode()) % 97
    text = f"The first picture has a larger sheet with {spots} brighter spots than the one in the second."
    return 200, {}, completion(text)


def run(
    name: str,
    world: Path,
    place: Path,
    settings: dict[str, object],
    reasons: dict[str, str],
    first: str = "",
    server: str | None = None,
) -> Told:
    """Runs a page, told by its name, as `page_running.run` does."""
    named = {setting: str(value) for setting, value in settings.items()}
    page = page_running.ROOT / "README.md" if name == "README" else PAGES / f"{name}.md"
    told = page_running.run(page, place, named, Treatment(world, server), reasons, first)
    for command, why in told.parsed.items():
        print(f"{name}: only parsed, {why}: {command}")
    return told
