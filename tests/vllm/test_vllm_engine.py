"""The writer on the real engine: a tiny Llama with random weights, real captions."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from pcclip.generation.prompts import PromptTemplate
from pcclip.generation.rows import Row
from pcclip.generation.writers.base import Answer, Request, Sampling
from pcclip.generation.writers.vllm_engine import VllmEngine

TEMPLATE = PromptTemplate(
    "t", 1, "First: {caption1}\nSecond: {caption2}\nDifference?", system="Compare two pictures. " * 8
)
SHORT = Sampling(temperature=1.0, max_tokens=12, seed=4)


def rows_of(lines: list[dict]) -> list[Row]:
    return [
        Row(
            n, line["key"], line["image1"], line["image2"], tuple(line["captions1"]), tuple(line["captions2"])
        )
        for n, line in enumerate(lines)
    ]


def ask(
    writer: VllmEngine,
    rows: list[Row],
    template: PromptTemplate = TEMPLATE,
    sampling: Sampling = SHORT,
    meanwhile: Callable[[int], None] = lambda answers: None,
) -> list[Answer]:
    def requests() -> Iterator[Request]:
        for row in rows:
            messages = template.render(row).messages
            yield Request(row, messages, sampling.row_seed(row.key), sampling, template.json_schema())

    answers: list[Answer] = []
    for answer in writer.write(requests()):
        if answer is not None:
            answers.append(answer)
            meanwhile(len(answers))
    assert sorted(a.number for a in answers) == sorted(row.number for row in rows)
    return sorted(answers, key=lambda a: a.number)


def engine_processes() -> list[int]:
    """Processes that this one started to hold an engine."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        if parent == os.getpid() and any(word.endswith(b"vllm_child.py") for word in words):
            found.append(int(folder.name))
    return found


def same(a: list[Answer], b: list[Answer]) -> float:
    return sum(x.text == y.text for x, y in zip(a, b, strict=True)) / len(a)


def test_a_rows_text_does_not_depend_on_the_rows_beside_it(writer: VllmEngine, row_lines) -> None:
    rows = rows_of(row_lines(96, 40))
    together = ask(writer, rows)
    assert all(a.error is None and a.finish in ("stop", "length") for a in together)
    assert all(1 <= a.answer_tokens <= 12 and a.prompt_tokens > 60 for a in together)
    assert len({a.text for a in together}) > 80
    backwards = ask(writer, rows[::-1])
    writer.window = 3
    few = ask(writer, rows[:30])
    writer.window = 48
    print(f"same text: backwards {same(together, backwards):.1%}, in threes {same(together[:30], few):.1%}")
    # The sums of a batch's matrix products may be rounded otherwise in another batch: not all, but nearly.
    assert same(together, backwards) >= 0.95
    assert same(together[:30], few) >= 0.95
    other_seed = ask(writer, rows[:30], sampling=Sampling(temperature=1.0, max_tokens=12, seed=5))
    assert same(together[:30], other_seed) < 0.2


def test_the_prefix_cache_has_what_prompts_share(writer: VllmEngine, row_lines) -> None:
    long = PromptTemplate("p", 1, TEMPLATE.question, system="Compare two pictures by what is in them. " * 40)
    answers = ask(writer, rows_of(row_lines(100, 10)), long)
    share = sum(a.cached_tokens for a in answers) / sum(a.prompt_tokens for a in answers)
    assert share > 0.5


def test_decoding_is_held_to_the_schema(writer: VllmEngine, row_lines) -> None:
    schema = {
        "type": "object",
        "properties": {"difference": {"type": "string", "maxLength": 20}},
        "required": ["difference"],
        "additionalProperties": False,
    }
    template = PromptTemplate("j", 1, "{caption1}\n{caption2}", answer="json", schema=schema)
    answers = ask(writer, rows_of(row_lines(20, 10)), template, Sampling(temperature=1.0, max_tokens=80))
    whole = [a for a in answers if a.finish == "stop"]
    assert len(whole) >= 15
    for answer in whole:
        # the engine's grammar lets bare control characters into strings
        assert list(json.loads(answer.text, strict=False)) == ["difference"]
        assert len(template.read_answer(answer.text)) <= 20


def test_a_prompt_that_is_too_long_is_that_rows_error(writer: VllmEngine, row_lines) -> None:
    rows = rows_of(row_lines(20, 10))
    long = PromptTemplate("l", 1, "{caption1}\n{caption2}", caption_characters=20_000)
    rows[7] = Row(7, "long", "a", "b", ("word " * 3000,), ("a cat",))
    answers = ask(writer, rows, long)
    assert [a.number for a in answers if a.error] == [7]
    assert "1024" in str(answers[7].error)


def test_a_killed_engine_is_started_again_and_loses_no_row(writer: VllmEngine, row_lines) -> None:
    rows = rows_of(row_lines(150, 40))
    undisturbed = ask(writer, rows)

    def kill(answers: int) -> None:
        if answers == 60:
            (pid,) = engine_processes()
            os.kill(pid, signal.SIGKILL)

    answers = ask(writer, rows, meanwhile=kill)
    assert writer.statistics() == {"restarts": 1}
    assert all(a.error is None for a in answers)
    assert same(undisturbed, answers) >= 0.95
