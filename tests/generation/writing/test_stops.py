"""Jobs that are killed, stopped, started twice or with other settings."""

import json
import multiprocessing
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from jobs import PROMPTS, RULES, made, recipe, records, row_lines, server, start, write_rows
from parrot import Misbehaviour, Parrot

from pcclip.cli import main

Start = Callable[[Misbehaviour | None], Parrot]


def manifest(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_bytes().splitlines()]


def _in_a_fork(words: list[str], moment: Callable[[], bool] | None = None) -> bool:
    """Runs a command in a process that is killed at a moment; whether it came to its end."""
    process = multiprocessing.get_context("fork").Process(target=main, args=(words,))
    process.start()
    while moment is not None and process.is_alive() and not moment():
        time.sleep(0.001)
    if moment is not None:
        process.kill()
    process.join()
    return process.exitcode == 0


def test_twenty_kills_at_random_moments_change_nothing(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", row_lines(4000))
    settings = {"chunk_rows": 250, "records_per_shard": 1000}
    config = recipe(tmp_path, rows, RULES, **settings)
    words = ["write", "--config", str(config)]
    assert _in_a_fork(words)
    whole = made(tmp_path / "out")
    rng = random.Random(0)
    folders, kills, at_chunks = [tmp_path / "killed0"], 0, set[int]()

    def chunks() -> int:
        return len(list(folders[-1].glob("answers/*.jsonl")))

    while kills < 20:
        wanted = min(16, chunks() + rng.randint(0, 2))
        pause = rng.uniform(0, 0.03 if wanted < 16 else 0.6)  # all answered: shards are written

        def moment(wanted: int = wanted, pause: float = pause) -> bool:
            return chunks() >= wanted and time.sleep(pause) is None

        if _in_a_fork([*words, "--out", str(folders[-1])], moment):
            folders.append(tmp_path / f"killed{len(folders)}")
            continue
        kills += 1
        at_chunks.add(chunks())
    assert len(at_chunks) > 3
    for folder in folders:
        assert main(["write", "--config", str(config), "--out", str(folder)]) == 0
        assert made(folder) == whole
        assert [r["row"] for r in records(folder)] == list(range(4000))


def test_sigterm_writes_what_is_answered_and_asks_none_of_it_again(parrot: Start, tmp_path: Path) -> None:
    asked = parrot(lambda body, number: 0.03)
    rows = write_rows(tmp_path / "rows.jsonl", row_lines(90, lambda n: {"captions1": [f"thing {n}"]}))
    config = recipe(
        tmp_path,
        rows,
        server(asked.url, concurrency=2),
        prompt=str(PROMPTS / "caption_pair.yaml"),
        chunk_rows=60,
    )
    process = start(config)
    while len(asked.bodies) < 25 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 128 + signal.SIGTERM
    answered = len(records(tmp_path / "out"))
    assert (
        f"out: stopped with {answered} rows answered; the same command goes on"
        in (tmp_path / "stderr.txt").read_text()
    )
    assert answered >= 20
    assert [entry["complete"] for entry in manifest(tmp_path / "out")] == [False]
    before = dict(asked.tries)
    assert main(["write", "--config", str(config)]) == 0
    again = [question for question in before if asked.tries[question] > 1]
    assert len(again) <= 4  # those that were under way
    assert main(["write", "--config", str(config), "--out", str(tmp_path / "whole")]) == 0
    assert made(tmp_path / "out") == made(tmp_path / "whole")


def test_kills_while_a_server_answers_lose_and_double_no_row(parrot: Start, tmp_path: Path) -> None:
    asked = parrot(lambda body, number: random.uniform(0, 0.02))
    rows = write_rows(tmp_path / "rows.jsonl", row_lines(300))
    config = recipe(
        tmp_path, rows, server(asked.url), prompt=str(PROMPTS / "caption_pair.yaml"), chunk_rows=20
    )
    for stop in range(1, 4):
        process = start(config)
        while len(list(tmp_path.glob("out/answers/*.jsonl"))) < 3 * stop and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert main(["write", "--config", str(config)]) == 0
    assert main(["write", "--config", str(config), "--out", str(tmp_path / "whole")]) == 0
    assert made(tmp_path / "out") == made(tmp_path / "whole")


def test_a_second_job_on_one_output_is_refused(parrot: Start, tmp_path: Path, capsys) -> None:
    asked = parrot(lambda body, number: 0.2)
    rows = write_rows(tmp_path / "rows.jsonl", row_lines(60))
    config = recipe(tmp_path, rows, server(asked.url), prompt=str(PROMPTS / "caption_pair.yaml"))
    process = start(config)
    while not asked.bodies and process.poll() is None:
        time.sleep(0.01)
    assert main(["write", "--config", str(config)]) == 1
    assert "out: another job writes into this folder now" in capsys.readouterr().err
    assert process.wait(20) == 0
    assert main(["write", "--config", str(config)]) == 0


def test_other_settings_are_refused_by_name(parrot: Start, tmp_path: Path, capsys) -> None:
    lines = row_lines(30)
    rows = write_rows(tmp_path / "rows.jsonl", lines)
    asked = parrot(None)
    config = recipe(tmp_path, rows, server(asked.url), prompt=str(PROMPTS / "caption_pair.yaml"))
    words = ["write", "--config", str(config)]
    assert main(words) == 0
    whole = made(tmp_path / "out")
    for change, told in (
        (["--sampling.temperature", "0.9"], "sampling.temperature: 0.7 there, 0.9 now"),
        (["--prompt.version", "2"], "prompt.version: 1 there, 2 now"),
        (["--prompt.question", "{caption1}? {caption2}?"], "prompt.question: 'First picture: {capt"),
        (["--writer.model", "cockatoo"], "writer.model: 'parrot' there, 'cockatoo' now"),
        (["--chunk_rows", "7"], "chunk_rows: 2000 there, 7 now"),
    ):
        assert main([*words, *change]) == 1
        said = capsys.readouterr().err
        assert "out: begun with other settings (fingerprint " in said
        assert told in said
    write_rows(tmp_path / "rows.jsonl", lines[:-1])
    assert main(words) == 1
    assert "rows.content: " in capsys.readouterr().err
    write_rows(tmp_path / "rows.jsonl", lines)
    # Where the server is and how hard it is asked change no text.
    assert main([*words, "--writer.concurrency", "3", "--writer.url", "http://127.0.0.1:9/v1"]) == 0
    assert made(tmp_path / "out") == whole


@pytest.mark.parametrize("damage", ["torn line", "chunk gone", "chunk changed", "shards torn", "card gone"])
def test_damage_is_mended(tmp_path: Path, damage: str, capsys) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", row_lines(500))
    config = recipe(tmp_path, rows, RULES, chunk_rows=100)
    out = tmp_path / "out"
    assert main(["write", "--config", str(config)]) == 0
    whole = made(out)
    (out / "CARD.md").unlink()
    if damage != "card gone":
        (out / "triples" / "set.json").unlink()
        (out / "triples" / ".pcclip-writing").touch()
    if damage == "torn line":
        journal = (out / "manifest.jsonl").read_bytes()
        (out / "manifest.jsonl").write_bytes(journal[:-40])
    elif damage == "chunk gone":
        (out / "answers" / "000002.jsonl").unlink()
    elif damage == "chunk changed":
        chunk = out / "answers" / "000001.jsonl"
        chunk.write_bytes(chunk.read_bytes().replace(b"row-000150", b"row-000151"))
    capsys.readouterr()
    assert main(["write", "--config", str(config)]) == 0
    assert made(out) == whole
    assert ("its rows are asked again" in capsys.readouterr().err) == damage.startswith("chunk")
