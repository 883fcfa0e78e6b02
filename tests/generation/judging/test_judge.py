"""Language models as judges, through the command line and a real server."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from jobs import PROMPTS, ROOT, RULES, server
from judged import Start, judge_recipe, number, rate, read, rules, triple, truth, write_pictures, write_set
from parrot import completion

from pcclip.cli import main
from pcclip.generation.judging.criteria import NAMES


def test_a_judge_finds_the_faults_in_both_orders(parrot: Start, tmp_path: Path) -> None:
    texts = write_set(tmp_path / "set", [triple(n) for n in range(100)])
    asked = parrot(rules)
    config = judge_recipe(tmp_path, texts, asked.url)
    assert main(["judge", "--config", str(config)]) == 0
    out = tmp_path / "judged"
    rows = read(out / "ratings.csv")
    assert [r["judge"] for r in rows] == ["judge-1"] * 60 + ["judge-2"] * 60
    assert len({r["id"] for r in rows}) == 60
    assert all({name: r[name] for name in NAMES} == truth(number(r)) for r in rows)
    assert {r["objects"] for r in rows if r["hallucinated"] == "yes"} == {"candle"}
    first = [b["messages"][-1]["content"].startswith("Captions of the first") for b in asked.bodies]
    assert (sum(first), len(first)) == (60, 120)
    assert "of the second" in asked.bodies[-1]["messages"][-1]["content"].splitlines()[0]
    assert all(b["response_format"]["json_schema"]["schema"]["required"] for b in asked.bodies)
    summary = json.loads((out / "summary.json").read_text())
    sound = sum(truth(number(r))["follows"] == "yes" for r in rows[:60]) / 60
    assert summary["judges"]["judge-1"]["shares"]["sound"]["yes"]["value"] == pytest.approx(sound)
    assert [p["kappa"]["value"] for p in summary["agreement"]] == [1.0] * 4
    card = (out / "JUDGE.md").read_text()
    assert f"| sound | yes | {sound:.1%} [" in card
    assert "All passes are of one model" in card
    assert "- licence of the pictures and captions: CC0" in card
    worst = card.split("## Worst texts")[1]
    assert worst.index("direction reversed") < worst.index("direction right")
    raw = [json.loads(x) for x in (out / "judge-2/answers/000000.jsonl").read_text().splitlines()]
    assert json.loads(raw[0]["text"])["reason"] == "by the captions"


def test_malformed_answers_are_counted_and_one_error_stops_nothing(
    parrot: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = {
        4: b"follows: yes",
        5: {"follows": "perhaps"},
        6: {"specific": 9},
        8: {"specific": True},
        9: {"direction": None},
        10: {"objects": "candle"},
        11: {"hallucinated": "no", "objects": ["ghost"]},
    }

    def sloppy(body: dict, tries: int) -> tuple[int, dict[str, str], bytes]:
        question = body["messages"][-1]["content"]
        at = next((n for n in (*bad, 12) if f"a red thing {n}\n" in question), None)
        if at == 12:
            return 400, {}, b"no such luck"
        if at in (None, 4):
            return 200, {}, completion("follows: yes") if at else rules(body, tries)[2]
        return 200, {}, completion(json.dumps(rate(body) | bad[at]))

    texts = write_set(tmp_path / "set", [triple(n) for n in range(40)])
    config = judge_recipe(tmp_path, texts, parrot(sloppy).url, parrot(rules).url, passes=1, error_limit=0.05)
    assert main(["judge", "--config", str(config)]) == 0
    told = json.loads((tmp_path / "judged/summary.json").read_text())["judges"]
    assert (told["judge-1"]["rated"], told["judge-1"]["errors"], told["judge-2"]["rated"]) == (33, 1, 40)
    assert told["judge-1"]["contradictory"] == 1
    assert told["judge-1"]["rejected"] == {
        "not a rating: 'follows' is missing or has no such value": 1,
        "not a rating: 'specific' is missing or has no such value": 2,
        "not a rating: 'direction' is missing or has no such value": 1,
        "not a rating: 'objects' is no list of texts": 1,
        "answer is not the JSON asked for": 1,
    }
    card = (tmp_path / "judged/JUDGE.md").read_text()
    assert "| judge-1, judge-2 | follows | 33 | " in card
    asked = parrot(rules)
    config = judge_recipe(
        tmp_path, texts, asked.url, parrot(rules).url, passes=1, error_limit=0.05, retry_errors=True
    )
    assert main(["judge", "--config", str(config)]) == 0
    assert len(asked.bodies) == 1
    told = json.loads((tmp_path / "judged/summary.json").read_text())["judges"]
    assert (told["judge-1"]["rated"], told["judge-1"]["errors"]) == (34, 0)
    capsys.readouterr()
    garbage = parrot(lambda body, tries: (200, {}, completion("{}")))
    config = judge_recipe(tmp_path, texts, garbage.url, out=str(tmp_path / "none"))
    assert main(["judge", "--config", str(config)]) == 1
    assert "no answer is a rating (40 not a rating" in capsys.readouterr().err


def test_a_killed_judge_goes_on_and_refuses_other_settings(
    parrot: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def slow(body: dict, tries: int) -> tuple[int, dict[str, str], bytes]:
        time.sleep(0.02)
        return rules(body, tries)

    texts = write_set(tmp_path / "set", [triple(n) for n in range(80)])
    asked = parrot(slow)
    config = judge_recipe(tmp_path, texts, asked.url, count=80)
    process = subprocess.Popen(
        [sys.executable, "-m", "pcclip", "judge", "--config", str(config)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )
    manifest = tmp_path / "judged/judge-1/manifest.jsonl"
    while not (manifest.exists() and manifest.read_bytes().count(b"\n") >= 3) and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = 10 * manifest.read_bytes().count(b"\n")
    time.sleep(0.1)  # what the server still had of the killed process
    before = len(asked.bodies)
    assert 30 <= kept < 80
    assert not (tmp_path / "judged/JUDGE.md").exists()
    assert main(["judge", "--config", str(config)]) == 0
    assert len(asked.bodies) - before == 160 - kept
    assert main(["judge", "--config", str(config), "--out", str(tmp_path / "whole")]) == 0
    done = len(asked.bodies)
    assert main(["judge", "--config", str(config)]) == 0
    assert len(asked.bodies) == done
    for name in ("ratings.csv", "summary.json"):
        assert (tmp_path / "judged" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    capsys.readouterr()
    for change in (
        ["--sampling.temperature", "0.5"],
        ["--texts.seed", "2"],
        ["--prompt.version", "9"],
    ):
        assert main(["judge", "--config", str(config), *change]) == 1
        assert "begun with other settings" in capsys.readouterr().err
    assert main(["judge", "--config", str(config), "--passes", "0"]) == 1
    config = judge_recipe(tmp_path, texts, asked.url, prompt=str(PROMPTS / "caption_pair.yaml"))
    assert main(["judge", "--config", str(config)]) == 1
    assert "answer_field: ''" in capsys.readouterr().err
    config = judge_recipe(tmp_path, texts, writers=[RULES])
    assert main(["judge", "--config", str(config)]) == 1
    assert "no language model" in capsys.readouterr().err


def test_pictures_are_shown_in_both_orders(parrot: Start, tmp_path: Path) -> None:
    shown: dict[str, list[str]] = {}

    def look(body: dict, tries: int) -> tuple[int, dict[str, str], bytes]:
        parts = body["messages"][-1]["content"]
        texts = [p["text"] for p in parts if p["type"] == "text"]
        urls = [p["image_url"]["url"] for p in parts if p["type"] == "image_url"]
        order = [t.split(" picture")[0].split()[-1] for t in texts[:2]]
        shown.setdefault(texts[-1], []).append(
            json.dumps(dict(zip(order, urls, strict=True)), sort_keys=True)
        )
        one = {"objects": [], "follows": "yes", "direction": "right", "specific": 4, "hallucinated": "no"}
        return 200, {}, completion(json.dumps(one))

    triples = [triple(n) for n in range(12)]
    pictures = write_pictures(tmp_path / "pictures", [f"p{n:03d}" for n in range(12)])
    asked = parrot(look)
    keys, pixels = write_set(tmp_path / "keys", triples), write_set(tmp_path / "pixels", triples, True)
    more = {"prompt": str(PROMPTS / "judge_pictures.yaml"), "count": 99}
    config = judge_recipe(tmp_path, pixels, asked.url, **more)
    assert main(["judge", "--config", str(config)]) == 0
    assert len(shown) == 12
    assert all(len(views) == 2 and len(set(views)) == 1 for views in shown.values())
    config = judge_recipe(tmp_path, keys, asked.url, out=str(tmp_path / "o2"), **more)
    assert main(["judge", "--config", str(config), "--texts.pictures", str(pictures)]) == 0
    told = json.loads((tmp_path / "o2/summary.json").read_text())
    assert told["judges"]["judge-1"]["rejected"] == {"no picture2": 1}  # the set ends before p012
    assert all(len(set(views)) == 1 for views in shown.values())
    kappas = [p["kappa"]["value"] for p in told["agreement"]]
    assert kappas == [None] * 4
    assert "| judge-1, judge-2 | follows | 11 | n/d | 100.0% [" in (tmp_path / "o2/JUDGE.md").read_text()


def test_orders_in_texts_reach_the_model_as_plain_text(parrot: Start, tmp_path: Path) -> None:
    from jobs import HOSTILE

    from pcclip.data.records import Triple

    hostile = {name: text for name, text in HOSTILE.items() if text.strip() and name != "surrogate"}
    triples = [
        Triple(f"h-{name}", "a", "b", text, {"captions": [text, "a cat"]}) for name, text in hostile.items()
    ]
    one = {"objects": [], "follows": "no", "direction": "unclear", "specific": 1, "hallucinated": "no"}
    nasty = "=1+1 | <b>x</b>\n# head"
    answer = json.dumps(one | {"reason": nasty, "objects": ["=x", "a;b"]})
    asked = parrot(lambda body, tries: (200, {}, completion(answer)))
    config = judge_recipe(tmp_path, write_set(tmp_path / "set", triples), asked.url, passes=1)
    assert main(["judge", "--config", str(config)]) == 0
    for body in asked.bodies:
        assert [m["role"] for m in body["messages"]] == ["system"] + ["user", "assistant"] * 3 + ["user"]
        lines = body["messages"][-1]["content"].split("\n")
        assert (len(lines), lines[0], lines[4][:13]) == (6, "Captions of the first picture:", "Text to check")
        assert not any(
            mark in body["messages"][-1]["content"] for mark in ("<|im_", "</s>", "[INST]", "\x00")
        )
    rows = read(tmp_path / "judged/ratings.csv")
    assert len(rows) == len(hostile)
    assert {(r["note"], r["objects"]) for r in rows} == {("'=1+1 | <b>x</b> # head", "'=x; a,b")}
    card = (tmp_path / "judged/JUDGE.md").read_text()
    assert "<b>" not in card
    assert "\n# head" not in card


def test_a_recipe_is_shown_without_asking(parrot: Start, tmp_path: Path, capsys) -> None:
    texts = write_set(tmp_path / "set", [triple(n) for n in range(5)])
    asked = parrot(rules)
    config = judge_recipe(tmp_path, texts, asked.url, writers=[server(asked.url, tokenizer=str(tmp_path))])
    assert main(["judge", "--config", str(config), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "the first picture shown first" in said
    assert "prompt tokens (estimated" in said
    assert not asked.bodies
    with pytest.raises(SystemExit) as end:
        main(["judge", "--config", str(ROOT / "data_recipes/coco/judge.yaml"), "--print_config"])
    assert end.value.code == 0
    assert "name: judge-captions" in capsys.readouterr().out
    assert not (tmp_path / "judged").exists()
