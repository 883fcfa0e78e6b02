"""The filter and the memory of repeats inside the job, through the command line."""

from collections import Counter
from pathlib import Path

from jobs import RULES, recipe, records, row_lines, triples, write_rows

from pcclip.cli import main

FILTER = "pcclip.generation.filter_check.Filter"
NO_REPEATS = "pcclip.generation.filter_check.NoRepeats"


def run(folder: Path, min_chars: int, **more: object) -> Path:
    folder.mkdir()
    rows = write_rows(folder / "rows.jsonl", row_lines(300))
    check = {"class_path": FILTER, "init_args": {"limits": {"min_chars": min_chars}}}
    assert main(["write", "--config", str(recipe(folder, rows, RULES, check=check, **more))]) == 0
    return folder / "out"


def test_the_papers_length_rejects_short_texts_and_keeps_them_with_the_reason(tmp_path: Path) -> None:
    out = run(tmp_path / "a", 60)
    kept = [r for r in records(out) if r["difference"] is not None]
    short = [r for r in records(out) if r["reason"] == "too_short"]
    assert len(kept) > 20
    assert len(short) > 20
    assert all(len(r["difference"]) >= 60 for r in kept)
    assert all(0 < len(r["text"]) <= 62 for r in short)
    assert [t.difference for t in triples(out)] == [r["difference"] for r in kept]
    assert f"{len(short)}" in (out / "CARD.md").read_text()


def test_each_text_comes_once_where_repeats_are_left_out(tmp_path: Path) -> None:
    every = [t.difference for t in triples(run(tmp_path / "a", 0))]
    repeats = {"class_path": NO_REPEATS, "init_args": {"limits": {"copies": 1}}}
    once = [t.difference for t in triples(run(tmp_path / "b", 0, repeats=repeats))]
    plain = Counter("".join(c for c in text.lower() if c.isalnum()) for text in once)
    assert max(plain.values()) == 1
    assert len(once) <= len(every)
    assert set(once) <= set(every)
