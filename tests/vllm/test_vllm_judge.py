"""A judge by the real engine: random weights give ratings of the right form, that agree by chance only."""

import json
import os
from pathlib import Path

import yaml
from engine_settings import ENGINE, ENVIRONMENT
from jobs import PROMPTS

from pcclip.cli import main
from pcclip.data.records import Triple
from pcclip.data.shards import ShardSetWriter
from pcclip.generation.judging.criteria import parse_rating

ROWS = 60


def test_a_random_model_rates_by_the_schema_and_agrees_by_chance(
    model: Path, row_lines, tmp_path: Path
) -> None:
    with ShardSetWriter(tmp_path / "set", "triples") as shards:
        for line in row_lines(ROWS, 40):
            one, two = line["captions1"][0], line["captions2"][0]
            text = f"The first picture shows {one}, the second {two}"
            source = {"captions": [one, two]}
            shards.write_triple(Triple(line["key"], line["image1"], line["image2"], text, source))
    prompt = yaml.safe_load((PROMPTS / "judge_captions.yaml").read_text())
    prompt |= {"system": "Rate the text.", "examples": []}  # the tiny model's window is short
    prompt["schema"]["properties"]["reason"]["maxLength"] = 20
    prompt["schema"]["properties"]["objects"] |= {"items": {"type": "string", "maxLength": 8}, "maxItems": 2}
    settings = {
        "texts": {"path": str(tmp_path / "set"), "count": ROWS},
        "writers": [
            {
                "class_path": "pcclip.generation.writers.vllm_engine.VllmEngine",
                "init_args": {"model": str(model), "engine": ENGINE, "environment": ENVIRONMENT},
            }
        ],
        "prompt": prompt,
        "sampling": {"temperature": 1.0, "max_tokens": 200},
        "out": str(tmp_path / "judged"),
        "progress": False,
    }
    config = tmp_path / "judge.yaml"
    config.write_text(yaml.safe_dump(settings, sort_keys=False))
    assert main(["judge", "--config", str(config)]) == 0
    records = [
        json.loads(line)
        for file in sorted(tmp_path.glob("judged/judge-*/answers/*.jsonl"))
        for line in file.read_text().splitlines()
    ]
    assert len(records) == 2 * ROWS
    whole = [r for r in records if r["finish"] == "stop"]
    assert len(whole) >= 1.9 * ROWS
    for record in whole:
        assert record["error"] is None
        parse_rating(record["text"])
    summary = json.loads((tmp_path / "judged/summary.json").read_text())
    for pair in summary["agreement"]:
        print(pair["criterion"], pair["texts"], pair["kappa"], pair["raw"]["value"])
        value = pair["kappa"]["value"]
        assert value is None or abs(value) < 0.4
    started = os.stat(tmp_path / "judged/JUDGE.md").st_mtime_ns
    assert main(["judge", "--config", str(config)]) == 0  # nothing left to ask, so no engine is started
    assert os.stat(tmp_path / "judged/JUDGE.md").st_mtime_ns > started
