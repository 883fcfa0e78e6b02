"""The watch over the engine's process, with a stand-in for vLLM that dies on request."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from jobs import PROMPTS, made, recipe, records, row_lines, start, write_rows

from pcclip.cli import main
from pcclip.generation.rows import Row
from pcclip.generation.writers.base import Answer, EngineError, Request, Sampling
from pcclip.generation.writers.vllm_engine import VllmEngine

STUB = {"PYTHONPATH": str(Path(__file__).parent / "stub_vllm")}


def engine(tmp_path: Path, **changes) -> VllmEngine:
    settings = {
        "model": "stub",
        "engine": {"notes": str(tmp_path / "starts.txt")},
        "environment": STUB,
        "window": 64,
    } | changes
    return VllmEngine(**settings)


def starts(tmp_path: Path) -> list[int]:
    return [int(line) for line in (tmp_path / "starts.txt").read_text().split()]


def end(pid: int, seconds: float = 5.0) -> bool:
    """Whether a process ends in time by itself."""
    deadline = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(pid)


def cores(tmp_path: Path) -> list[int]:
    return [int(line) for line in (tmp_path / "starts.cores").read_text().split()]


def ask(writer: VllmEngine, texts: list[str]) -> list[Answer]:
    def requests() -> Iterator[Request]:
        for number, text in enumerate(texts):
            row = Row(number, f"k{number}", "a", "b")
            yield Request(row, [{"role": "user", "content": text}], number, Sampling())

    try:
        answers = [answer for answer in writer.write(requests()) if answer is not None]
    finally:
        writer.close()
    assert sorted(a.number for a in answers) == list(range(len(texts)))
    return sorted(answers, key=lambda a: a.number)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def test_answers_with_seeds_tokens_and_one_rows_error(tmp_path: Path) -> None:
    writer = engine(tmp_path)
    answers = ask(writer, [f"q{n}" if n != 7 else "too long" for n in range(200)])
    assert answers[3] == Answer(3, "3: q3", "stop", 10, 3, 8)
    assert answers[7] == Answer(7, "", "error", error="ValueError: the prompt is too long")
    assert sum(a.error is None for a in answers) == 199
    assert writer.statistics() == {"restarts": 0}
    assert all(end(pid) for pid in starts(tmp_path) + cores(tmp_path))


def test_the_engines_own_processes_end_when_only_their_parent_is_killed(tmp_path: Path) -> None:
    writer = engine(tmp_path)
    row = Row(0, "k0", "a", "b")
    request = Request(row, [{"role": "user", "content": "hang"}], 0, Sampling())
    answers = writer.write(iter([request]))
    while not (tmp_path / "starts.cores").exists() or not cores(tmp_path):
        next(answers)
    (pid,), (core,) = starts(tmp_path), cores(tmp_path)
    os.kill(pid, signal.SIGKILL)  # as an out-of-memory killer does, and Ray with a dead worker's children
    assert end(core)
    answers.close()
    writer.close()


@pytest.mark.timeout(60)
def test_large_requests_and_large_answers_do_not_wait_for_each_other(tmp_path: Path) -> None:
    picture = "x" * 300_000  # more than a socket holds, as pictures are
    answers = ask(engine(tmp_path, window=16), [f"{n} {picture}" for n in range(60)])
    assert [len(a.text) for a in answers] == [len(f"{n}: {n} {picture}") for n in range(60)]


@pytest.mark.parametrize("death", ["poison", "cuda"])
def test_a_row_that_kills_the_engine_is_found_and_the_others_are_answered(tmp_path: Path, death: str) -> None:
    writer = engine(tmp_path)
    answers = ask(writer, [f"q{n}" if n != 90 else death for n in range(200)])
    assert [a.number for a in answers if a.error] == [90]
    told = str(answers[90].error)
    assert told.startswith("the engine died of it: ")
    assert ("Segmentation fault" if death == "poison" else "CUDA error") in told
    assert answers[89].text == "89: q89"
    assert writer.statistics() == {"restarts": 3}  # among 64 rows, then 2, then 1
    assert len(starts(tmp_path)) == 4


def test_a_death_that_does_not_come_again_costs_one_start(tmp_path: Path) -> None:
    writer = engine(tmp_path)
    answers = ask(writer, [f"q{n}" if n != 50 else "once" for n in range(120)])
    assert all(a.error is None for a in answers)
    assert writer.statistics() == {"restarts": 1}


def test_a_silent_engine_counts_as_dead(tmp_path: Path) -> None:
    writer = engine(tmp_path, silent_seconds=1.0)
    answers = ask(writer, ["q0", "hang"])
    assert [a.error is None for a in answers] == [True, False]
    assert "no answer for 1 seconds" in str(answers[1].error)


def test_restarts_are_bounded_and_a_bad_start_is_final(tmp_path: Path) -> None:
    with pytest.raises(
        EngineError, match=r"died 3 times, more than restarts 2 allows(.|\n)*Segmentation fault"
    ):
        ask(engine(tmp_path, restarts=2), ["poison", "poison", "poison", "q"])
    assert len(starts(tmp_path)) == 3
    with pytest.raises(EngineError, match=r"'missing' does not start. It said: OSError: no such model"):
        ask(engine(tmp_path, model="missing"), ["q"])
    with pytest.raises(EngineError, match=r"has no vLLM. `make vllm-env` makes one"):
        ask(engine(tmp_path, environment={"PYTHONPATH": str(tmp_path)}), ["q"])


def test_a_killed_job_takes_its_engine_along_and_goes_on(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", row_lines(3000))
    init = {"model": "stub", "engine": {"notes": str(tmp_path / "starts.txt")}, "environment": STUB}
    writer = {"class_path": "pcclip.generation.writers.vllm_engine.VllmEngine", "init_args": init}
    config = recipe(tmp_path, rows, writer, prompt=str(PROMPTS / "caption_pair.yaml"), chunk_rows=100)
    process = start(config)
    while len(list(tmp_path.glob("out/answers/*.jsonl"))) < 3 and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (pid,) = starts(tmp_path)
    assert end(pid)
    assert end(cores(tmp_path)[0])
    assert main(["write", "--config", str(config)]) == 0
    assert [r["row"] for r in records(tmp_path / "out")] == list(range(3000))
    assert main(["write", "--config", str(config), "--out", str(tmp_path / "whole")]) == 0
    assert made(tmp_path / "out") == made(tmp_path / "whole")
