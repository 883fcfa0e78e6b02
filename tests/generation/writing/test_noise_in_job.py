"""Noise on purpose, by the command line: what is spoilt, what is counted, and that stops change nothing."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from jobs import COLOURS, PROMPTS, RULES, made, recipe, records, row_lines, server, start, triples, write_rows
from parrot import Misbehaviour, Parrot, completion

from pcclip.cli import main
from pcclip.data.shards import ShardIndex, ShardSet, resolve_shards

NOISE = {"shuffled": 20, "reversed": 10, "unfiltered": 40, "seed": 5}
CHECK = {"class_path": "pcclip.generation.filter_check.Filter", "init_args": {"limits": {"min_chars": 40}}}


def job(folder: Path, count: int = 1500, **more: object) -> Path:
    folder.mkdir(exist_ok=True)
    rows = write_rows(folder / "rows.jsonl", row_lines(count))
    settings = {"check": CHECK, "chunk_rows": 50, "noise": NOISE} | more
    return recipe(folder, rows, RULES, **settings)


def kinds(out: Path) -> list[str]:
    return [t.source.get("noise", {}).get("kind", "") for t in triples(out)]


def test_spoilt_texts_are_marked_and_counted_and_the_others_are_as_without_noise(tmp_path: Path) -> None:
    assert main(["write", "--config", str(job(tmp_path / "a"))]) == 0
    assert main(["write", "--config", str(job(tmp_path / "b", noise={}))]) == 0
    out, plain = tmp_path / "a" / "out", {t.key: t for t in triples(tmp_path / "b" / "out")}
    told = {r["key"]: r for r in records(out)}
    rejected = [r for r in told.values() if r["reason"] is not None]
    answered = [r for r in rejected if r["text"].strip()]
    assert min(len(plain), len(answered)) > 200
    written = triples(out)
    for t in written:
        noise = t.source.get("noise", {"kind": None})
        record = told[t.key]
        pair = (record["image1"], record["image2"])
        assert (t.image1, t.image2) == (pair[::-1] if noise["kind"] == "reversed" else pair)
        if noise["kind"] == "shuffled":
            donor = told[noise["text_of"]]
            assert t.difference == donor["difference"] != record["difference"]
            assert donor["row"] // 50 == record["row"] // 50
        elif noise["kind"] == "unfiltered":
            assert (t.difference, noise["reason"]) == (record["text"], record["reason"])
        else:
            assert t.difference == record["difference"]
            assert noise["kind"] or t == plain[t.key]
    count = {kind: kinds(out).count(kind) for kind in ("shuffled", "reversed", "unfiltered")}
    assert 0.15 * len(plain) < count["shuffled"] < 0.25 * len(plain)
    assert 0.06 * len(plain) < count["reversed"] < 0.14 * len(plain)
    assert 0.32 * len(answered) < count["unfiltered"] < 0.48 * len(answered)
    keys = [t.key for t in written]
    assert keys == [key for key in told if key in set(keys)]  # in the order of the rows
    assert ShardSet.load(out / "triples").card["noise"] == count
    card = (out / "CARD.md").read_text()
    left = len(rejected) - count["unfiltered"]
    assert f"| 1500 | {len(written)} | {left} | 0 | 0 | 0 |" in card
    assert len(written) + left == 1500
    assert all(f"| {kind} | {n} |" in card for kind, n in count.items())
    assert "Spoilt on purpose" not in (tmp_path / "b" / "out" / "CARD.md").read_text()


def test_stops_change_nothing_and_other_noise_is_another_recipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = job(tmp_path / "a", 1500, records_per_shard=100)
    out = tmp_path / "a" / "out"
    for wanted in ("answers/00000*.jsonl", "triples/000000.tar"):  # in the answers, then in the shards
        process = start(config)
        while not list(out.glob(wanted)) and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert main(["write", "--config", str(config)]) == 0
    assert main(["write", "--config", str(config), "--out", str(tmp_path / "whole")]) == 0
    assert made(out) == made(tmp_path / "whole")
    assert main(["write", "--config", str(config), "--noise.shuffled", "30"]) == 1
    assert "noise.shuffled: 20.0 there, 30.0 now" in capsys.readouterr().err


def test_repeats_that_are_left_out_can_be_let_through(tmp_path: Path) -> None:
    repeats = {
        "class_path": "pcclip.generation.filter_check.NoRepeats",
        "init_args": {"limits": {"copies": 1}},
    }
    noise = {"unfiltered": 100}
    assert main(["write", "--config", str(job(tmp_path / "a", repeats=repeats, noise=noise))]) == 0
    out = tmp_path / "a" / "out"
    accepted = [r for r in records(out) if r["difference"] is not None]
    again = [t for t in triples(out) if "duplicate" in t.source.get("noise", {}).get("reason", "")]
    assert again
    assert [t.key for t in triples(out)] == [r["key"] for r in records(out) if r["text"]]
    assert len(accepted) == kinds(out).count("") + len(again)


def test_an_answer_in_json_is_let_through_without_its_json(
    parrot: Callable[[Misbehaviour | None], Parrot], tmp_path: Path
) -> None:
    said = iter([json.dumps({"difference": "Short."}), "no json at all", "", json.dumps({"other": "field"})])
    odd = parrot(lambda body, number: (200, {}, completion(next(said))) if len(odd.bodies) <= 4 else None)
    rows = write_rows(tmp_path / "rows.jsonl", row_lines(20))
    config = recipe(
        tmp_path,
        rows,
        server(odd.url, concurrency=1),
        prompt=str(PROMPTS / "caption_pair_json.yaml"),
        check=CHECK,
        noise={"unfiltered": 100},
    )
    assert main(["write", "--config", str(config)]) == 0
    passed = {t.difference for t in triples(tmp_path / "out") if "noise" in t.source}
    assert passed == {"Short.", "no json at all", '{"other": "field"}'} | {
        r["difference"] or json.loads(r["text"])["difference"]
        for r in records(tmp_path / "out")
        if r["reason"] and r["text"].startswith('{"difference": "parrot')
    }


def test_the_pictures_of_reversed_pairs_change_places_too(tmp_path: Path) -> None:
    from PIL import Image

    for at in range(20):
        Image.new("RGB", (8, 8), COLOURS[at % 4]).save(tmp_path / f"p{at:03d}.png")
    lines = row_lines(40)
    for line in lines:
        line |= {"picture1": f"{line['image1']}.png", "picture2": f"{line['image2']}.png"}
    rows = write_rows(tmp_path / "rows.jsonl", lines)
    config = recipe(tmp_path, rows, RULES, payload="pixels", noise={"reversed": 50})
    assert main(["write", "--config", str(config)]) == 0
    out = tmp_path / "out"
    assert {"", "reversed"} == set(kinds(out))
    index = ShardIndex.load(resolve_shards(str(out / "triples"))[0])
    for at, t in enumerate(triples(out)):
        assert index.read(at, "1.png") == (tmp_path / f"{t.image1}.png").read_bytes()
        assert index.read(at, "2.png") == (tmp_path / f"{t.image2}.png").read_bytes()


def test_wrong_noise_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["write", "--config", str(job(tmp_path / "a")), "--noise.shuffled", "120"]) == 1
    assert "noise: 'shuffled' is 120" in capsys.readouterr().err
    assert not (tmp_path / "a" / "out").exists()
