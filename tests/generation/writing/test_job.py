import itertools
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from jobs import (
    COLOURS,
    HOSTILE,
    PROMPTS,
    ROOT,
    RULES,
    made,
    recipe,
    records,
    row_lines,
    server,
    triples,
    write_rows,
)
from jsonargparse import ArgumentParser
from parrot import Misbehaviour, Parrot

from pcclip.cli import main
from pcclip.data.inspect import inspect_shards
from pcclip.generation.checks import Check, Verdict
from pcclip.generation.rows import Row
from pcclip.generation.write import write
from pcclip.generation.writers import openai_server
from pcclip.generation.writers.base import Answer, Sampling

Start = Callable[[Misbehaviour | None], Parrot]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_server, "_FIRST_PAUSE", 0.02)


@dataclass
class OnlyRed(Check):
    """Takes answers that speak of red, and cuts them to their last words."""

    words: int = 4

    def __call__(self, answer: Answer, row: Row) -> Verdict:
        if "trip" in answer.text:
            raise ValueError("tripped")
        if "red" not in answer.text:
            return Verdict(None, "not red")
        return Verdict(" ".join(answer.text.split()[-self.words :]))


def test_rows_become_answers_shards_and_a_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", row_lines(250))
    config = recipe(tmp_path, rows, RULES, chunk_rows=100, records_per_shard=64)
    assert main(["write", "--config", str(config), "--progress=true"]) == 0
    out = tmp_path / "out"
    said = capsys.readouterr()
    assert f"see {out / 'CARD.md'}" in said.out
    assert re.search(r"write: 250/250 rows, .+, in \d:\d\d\n", said.err)
    assert [r["row"] for r in records(out)] == list(range(250))
    written = triples(out)
    assert [t.key for t in written] == [r["key"] for r in records(out) if r["difference"]]
    assert written[0].source["writer"] == "rules"
    report = inspect_shards(str(out / "triples"))
    assert (report.fault_count, report.records, report.writers) == (0, len(written), {"rules": len(written)})
    rejected = sum(r["reason"] == "nothing differs by its margin" for r in records(out))
    card = (out / "CARD.md").read_text()
    assert f"| 250 | {len(written)} | {rejected} | 0 | 0 | 0 |" in card
    assert len(written) + rejected == 250
    before = made(out)
    assert main(["write", "--config", str(config)]) == 0
    assert "already made" in capsys.readouterr().out
    assert made(out) == before


def test_a_server_writes_with_origin_and_check(parrot: Start, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", row_lines(60))
    config = recipe(
        tmp_path,
        rows,
        server(parrot(None).url),
        prompt=str(PROMPTS / "caption_pair_json.yaml"),
        sampling={"temperature": 0.2, "seed": 11},
        check={"class_path": "test_job.OnlyRed", "init_args": {"words": 3}},
    )
    assert main(["write", "--config", str(config)]) == 0
    out = tmp_path / "out"
    red = [r for r in records(out) if any("red" in c for c in r["captions"])]
    assert [t.key for t in triples(out)] == [r["key"] for r in red]
    assert {r["reason"] for r in records(out) if r not in red} == {"not red"}
    first = triples(out)[0]
    assert first.difference == "from the second?"
    assert first.source == {
        "writer": "openai",
        "model": "parrot",
        "sampling": {"temperature": 0.2, "top_p": 0.95, "max_tokens": 128, "stop": [], "seed": 11},
        "prompt": "caption-pair-json",
        "prompt_version": 1,
        "seed": Sampling(seed=11).row_seed(first.key),
        "captions": red[0]["captions"],
    }
    card = (out / "CARD.md").read_text()
    assert f"| not red | {60 - len(red)} |" in card
    assert "- prompt: caption-pair-json, version 1" in card
    assert "| 3000 | 420 |" in card


def test_rows_with_the_same_first_picture_are_asked_one_after_the_other(
    parrot: Start, tmp_path: Path
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", row_lines(120))
    asked = parrot(None)
    config = recipe(
        tmp_path,
        rows,
        server(asked.url, concurrency=1),
        prompt=str(PROMPTS / "caption_pair.yaml"),
        chunk_rows=60,
    )
    assert main(["write", "--config", str(config)]) == 0
    firsts = [body["messages"][-1]["content"].split("\n")[0] for body in asked.bodies]
    for half in (firsts[:60], firsts[60:]):
        changes = sum(a != b for a, b in itertools.pairwise(half))
        assert changes == len(set(half)) - 1
    assert [r["row"] for r in records(tmp_path / "out")] == list(range(120))


def test_hostile_captions_go_through_to_the_shards(parrot: Start, tmp_path: Path) -> None:
    names = [*HOSTILE, "plain"]

    def captions(number: int) -> dict:
        one, two = names[number % len(names)], names[number // len(names)]
        return {"captions1": [HOSTILE.get(one, "a cat")], "captions2": [HOSTILE.get(two, "a dog")]}

    rows = write_rows(tmp_path / "rows.jsonl", row_lines(len(names) ** 2, captions))
    for prompt in ("caption_pair", "caption_pair_json"):
        out = tmp_path / prompt
        config = recipe(
            tmp_path, rows, server(parrot(None).url), prompt=str(PROMPTS / f"{prompt}.yaml"), out=str(out)
        )
        assert main(["write", "--config", str(config)]) == 0
        empty = [r for r in records(out) if r["reason"] == "empty caption"]
        assert len(empty) == len(names) ** 2 - (len(names) - 2) ** 2
        assert all(r["error"] is None for r in records(out))
        assert len(triples(out)) == (len(names) - 2) ** 2
        assert inspect_shards(str(out / "triples")).fault_count == 0
        assert all(t.difference.startswith("parrot says: First picture: ") for t in triples(out))
        assert all(len(t.difference.split("\n")) == 3 for t in triples(out))
        assert "| shortened | " in (out / "CARD.md").read_text()
    assert main(["inspect", str(out / "triples")]) == 0


def test_a_bad_row_is_recorded_and_stops_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = row_lines(300)
    lines[10]["attributes1"] = {"size": "huge"}
    lines[20]["image2"] = lines[20]["image1"]
    lines[30]["key"] = "no.key/with.dots"
    lines[40]["key"] = lines[41]["key"]
    config = recipe(tmp_path, write_rows(tmp_path / "rows.jsonl", lines), RULES)
    assert main(["write", "--config", str(config)]) == 0
    told = records(tmp_path / "out")
    assert "could not convert string to float" in told[10]["error"]
    assert told[20]["reason"] == "a picture with itself"
    assert sum(r["error"] is not None for r in told) == 1
    keys = [t.key for t in triples(tmp_path / "out")]
    assert len(keys) == len(set(keys)) == sum(r["difference"] is not None for r in told) - 2
    assert "| cannot be stored in a shard | 2 |" in (tmp_path / "out" / "CARD.md").read_text()
    lines[50] = "no row"  # type: ignore[call-overload]
    write_rows(tmp_path / "rows.jsonl", lines)
    assert main(["write", "--config", str(config), "--out", str(tmp_path / "other")]) == 1
    assert "rows.jsonl: line 51 is no row" in capsys.readouterr().err


def test_too_many_errors_stop_the_job_and_can_be_asked_again(
    parrot: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = {"well": False}
    down = (400, {}, b"model not loaded")
    asked = parrot(lambda body, number: None if state["well"] or body["seed"] % 3 else down)
    rows = write_rows(tmp_path / "rows.jsonl", row_lines(400))
    config = recipe(
        tmp_path, rows, server(asked.url), prompt=str(PROMPTS / "caption_pair.yaml"), chunk_rows=10
    )
    assert main(["write", "--config", str(config)]) == 1
    said = capsys.readouterr().err
    assert "rows went wrong, more than error_limit 0.02 allows" in said
    assert "HTTP 400: model not loaded" in said
    assert "--retry_errors true" in said
    kept = [r for r in records(tmp_path / "out") if r["error"] is None]
    assert 5 <= sum(r["error"] is not None for r in records(tmp_path / "out")) <= 15
    assert len(asked.bodies) < 60
    state["well"] = True
    assert main(["write", "--config", str(config), "--retry_errors", "true"]) == 0
    assert len(triples(tmp_path / "out")) == 400
    assert all(asked.tries[json.dumps(r["text"].removeprefix("parrot says: "))] >= 1 for r in kept)
    assert records(tmp_path / "out")[: len(kept)] != []
    assert sum(asked.tries.values()) <= 400 + 60


def test_few_rows_are_held_to_the_limit_at_the_end(parrot: Start, tmp_path: Path, capsys) -> None:
    asked = parrot(lambda body, number: (400, {}, b"no") if number and "p000" in json.dumps(body) else None)
    lines = row_lines(20)
    lines[3]["captions1"] = ["p000"]
    config = recipe(
        tmp_path,
        write_rows(tmp_path / "rows.jsonl", lines),
        server(asked.url),
        prompt=str(PROMPTS / "caption_pair.yaml"),
    )
    assert main(["write", "--config", str(config)]) == 1
    assert "1 of 20 rows went wrong" in capsys.readouterr().err
    assert not (tmp_path / "out" / "triples").exists()
    assert main(["write", "--config", str(config), "--error_limit", "0.1"]) == 0
    assert len(triples(tmp_path / "out")) == 19


def test_a_check_that_trips_is_one_rows_error(parrot: Start, tmp_path: Path) -> None:
    lines = row_lines(60)
    lines[3]["captions1"] = ["a red trip"]
    config = recipe(
        tmp_path,
        write_rows(tmp_path / "rows.jsonl", lines),
        server(parrot(None).url),
        prompt=str(PROMPTS / "caption_pair.yaml"),
        check={"class_path": "test_job.OnlyRed"},
    )
    assert main(["write", "--config", str(config)]) == 0
    assert records(tmp_path / "out")[3]["error"] == "the check failed: ValueError: tripped"


def test_pixels_go_into_the_shards(tmp_path: Path) -> None:
    from PIL import Image

    for at in range(20):
        Image.new("RGB", (8, 8), COLOURS[at % 4]).save(tmp_path / f"p{at:03d}.png")
    lines = row_lines(50)
    for line in lines:
        line |= {"picture1": f"{line['image1']}.png", "picture2": f"{line['image2']}.png"}
    lines[7]["picture2"] = "gone.png"
    config = recipe(tmp_path, write_rows(tmp_path / "rows.jsonl", lines), RULES, payload="pixels")
    assert main(["write", "--config", str(config)]) == 0
    report = inspect_shards(str(tmp_path / "out" / "triples"))
    assert (report.payload, report.fault_count) == ("pixels", 0)
    accepted = sum(r["difference"] is not None for r in records(tmp_path / "out"))
    assert report.records == accepted - (records(tmp_path / "out")[7]["difference"] is not None)


def test_dry_run_shows_prompts_and_time_and_writes_nothing(tmp_path: Path, capsys) -> None:
    config = recipe(
        tmp_path,
        write_rows(tmp_path / "rows.jsonl", row_lines(3000)),
        server("http://127.0.0.1:9/v1", tokenizer="./there/is/none"),
        prompt=str(PROMPTS / "caption_pair.yaml"),
        sampling={"max_tokens": 100},
    )
    assert main(["write", "--config", str(config), "--dry-run", "--tokens_per_second", "500"]) == 0
    said = capsys.readouterr().out
    assert "First picture: a red thing, 0 of them\nSecond picture: a green thing, 1 of them" in said
    assert (
        "estimated, one for 4 characters, as the tokenizer of './there/is/none' cannot be loaded here" in said
    )
    assert "at most 300,000 answer tokens" in said
    assert "at 500 answer tokens/s: at most 10 min 0 s" in said
    assert not (tmp_path / "out").exists()


def test_no_accepted_answer_is_an_error_that_says_why(parrot: Start, tmp_path: Path, capsys) -> None:
    config = recipe(
        tmp_path,
        write_rows(tmp_path / "rows.jsonl", row_lines(5, lambda number: {"captions1": []})),
        server(parrot(None).url),
        prompt=str(PROMPTS / "caption_pair.yaml"),
    )
    assert main(["write", "--config", str(config)]) == 1
    assert "no answer was accepted (5 empty caption)" in capsys.readouterr().err


def test_it_runs_where_only_the_engine_is_installed(tmp_path: Path) -> None:
    config = recipe(tmp_path, write_rows(tmp_path / "rows.jsonl", row_lines(10)), RULES)
    code = (
        "import sys\nfor name in ('torch', 'torchvision', 'lightning', 'open_clip'): sys.modules[name] = None"
    )
    code += f"\nfrom pcclip.cli import main\nsys.exit(main(['write', '--config', {str(config)!r}]))"
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize(
    "file",
    sorted(
        f
        for f in (ROOT / "data_recipes").rglob("*.yaml")
        if "writer" in yaml.safe_load(f.read_text()) and f.parent.name != "overlays"
    ),
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_every_shipped_recipe_parses(file: Path) -> None:
    parser = ArgumentParser()
    parser.add_argument("--config", action="config")
    parser.add_function_arguments(write, sub_configs=True)
    parsed = parser.instantiate(parser.parse_args(["--config", str(file)]))
    assert parsed.out.startswith("data/")
    assert parsed.prompt is not None or not parsed.writer.needs_prompt
