"""Writes `bad_answers.jsonl` and `good_answers.jsonl` from `by_hand/`, and babble from untrained models.

    python tests/generation/data/make_answers.py                  after changes by hand; keeps the babble
    python tests/generation/data/make_answers.py --babble captions_val2017.json       makes it again

Half of each kind is for tuning the rules (`dev`), half for reporting (`test`): every second one.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent


def main() -> None:
    """Writes both files."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--babble", type=Path, metavar="CAPTIONS")
    arguments = parser.parse_args()
    bad = HERE / "bad_answers.jsonl"
    if arguments.babble:
        from babble import make_babble

        babble = make_babble(arguments.babble)
    else:
        babble = [
            line for line in map(json.loads, bad.read_text().strip().split("\n")) if line["kind"] == "babble"
        ]
    write(bad, [*by_hand("bad"), *babble])
    write(HERE / "good_answers.jsonl", by_hand("good"))


def by_hand(which: str) -> list[dict[str, Any]]:
    """The answers written by hand: all kinds of bad ones, or the good ones."""
    captions = yaml.safe_load((HERE / "captions.yaml").read_text())
    records = []
    for path in sorted((HERE / "by_hand").glob("*.yaml")):
        if (path.stem == "good") != (which == "good"):
            continue
        for number, entry in enumerate(yaml.safe_load(path.read_text())):
            keeps = entry.get("keeps", [])
            records.append(
                {
                    "kind": path.stem,
                    "split": "test" if number % 2 else "dev",
                    "answer": entry["answer"],
                    "cut_off": entry.get("cut_off", False),
                    "keeps": keeps if isinstance(keeps, list) else [keeps],
                    "context": {
                        "captions": [captions[name] for name in entry["pair"]],
                        "prompt": entry["prompt"],
                    },
                }
            )
    return records


def write(path: Path, records: list[dict[str, Any]]) -> None:
    """Writes one record a line."""
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))


if __name__ == "__main__":
    main()
