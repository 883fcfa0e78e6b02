import time
from collections.abc import Callable, Iterator

import pytest
from parrot import Misbehaviour, Parrot, completion, in_seconds

from pcclip.generation.rows import Row
from pcclip.generation.writers import openai_server
from pcclip.generation.writers.base import Answer, Request, Sampling
from pcclip.generation.writers.openai_server import OpenAIServer

Start = Callable[[Misbehaviour | None], Parrot]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_server, "_FIRST_PAUSE", 0.02)


def ask(
    server: Parrot, count: int = 20, schema: dict | None = None, **settings
) -> tuple[list[Answer], OpenAIServer]:
    writer = OpenAIServer(
        **({"url": server.url, "model": "parrot", "concurrency": 4, "retries": 3} | settings)
    )
    sampling = Sampling(temperature=0.3, max_tokens=40, stop=["\n\n"], seed=5, extra={"top_k": 9})

    def requests() -> Iterator[Request]:
        for number in range(count):
            row = Row(number, f"k{number}", "a", "b")
            yield Request(row, [{"role": "user", "content": f"q{number}"}], 1000 + number, sampling, schema)

    answers = [answer for answer in writer.write(requests()) if answer is not None]
    return sorted(answers, key=lambda a: a.number), writer


def test_answers_carry_text_tokens_and_the_servers_settings(parrot: Start, monkeypatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    server = parrot(lambda body, number: 0.02)
    answers, writer = ask(server, key_variable="MY_KEY", body={"min_p": 0.1})
    assert answers == [Answer(n, f"parrot says: q{n}", "stop", 50, 7, 32) for n in range(20)]
    assert server.most_under_way == 4
    assert set(server.keys) == {"Bearer secret"}
    assert sorted(body["seed"] for body in server.bodies) == list(range(1000, 1020))
    body = server.bodies[0] | {"messages": None, "seed": None}
    assert body == {
        "model": "parrot",
        "messages": None,
        "temperature": 0.3,
        "top_p": 0.95,
        "max_tokens": 40,
        "seed": None,
        "stop": ["\n\n"],
        "top_k": 9,
        "min_p": 0.1,
    }
    assert writer.statistics() == {}
    assert {"key_variable", "url"}.isdisjoint(writer.describe())


def test_a_schema_goes_as_response_format(parrot: Start) -> None:
    server = parrot(None)
    answers, _ = ask(server, 1, {"type": "object"})
    assert answers[0].text == '{"difference": "parrot says: q0"}'
    told = {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True},
    }
    assert server.bodies[0]["response_format"] == told


@pytest.mark.parametrize(
    "trouble",
    [
        (500, {}, b"oops"),
        (503, {}, b""),
        (429, {}, b"slow down"),
        (200, {}, b'{"choices": [{"mess'),
        (200, {}, b'{"choices": []}'),
        (200, {}, b'["not an object"]'),
        (200, {"Content-Length": "9999", "Connection": "close"}, b"cut"),
        3.0,
    ],
    ids=["500", "503", "429", "cut JSON", "no choice", "a list", "cut body", "time-out"],
)
def test_what_may_pass_is_tried_again(parrot: Start, trouble) -> None:
    server = parrot(lambda body, number: trouble if number == 1 and body["seed"] % 4 == 0 else None)
    answers, writer = ask(server, 12, timeout=1.0 if trouble == 3.0 else 5.0)
    assert [a.text for a in answers] == [f"parrot says: q{n}" for n in range(12)]
    assert [a.error for a in answers] == [None] * 12
    assert writer.statistics() == {"retries": 3}


def test_what_does_not_pass_is_one_rows_error(parrot: Start) -> None:
    def misbehave(body: dict, number: int) -> tuple[int, dict, bytes] | None:
        return {
            1003: (400, {}, b'{"error": "prompt too long"}'),
            1005: (500, {}, b"always"),
            1007: (200, {}, completion(None, "content_filter")),
        }.get(body["seed"])

    server = parrot(misbehave)
    answers, _ = ask(server)
    assert answers[3].error == 'HTTP 400: {"error": "prompt too long"}'
    assert server.tries['"q3"'] == 1
    assert answers[5].error == "HTTP 500: always (after 4 tries)"
    assert server.tries['"q5"'] == 4
    assert (answers[7].text, answers[7].error, answers[7].finish) == ("", None, "content_filter")
    assert sum(a.error is None for a in answers) == 18


@pytest.mark.parametrize("dated", [False, True], ids=["seconds", "date"])
def test_all_requests_wait_as_long_as_the_server_says(parrot: Start, dated: bool) -> None:
    wait = 2.0 if dated else 1.2  # dates have whole seconds only
    told: list[float] = []

    def misbehave(body: dict, number: int) -> tuple[int, dict, bytes] | None:
        if body["seed"] == 1004 and number == 1:
            told.append(time.monotonic())
            return 429, {"Retry-After": in_seconds(wait) if dated else str(wait)}, b""
        return None

    server = parrot(misbehave)
    answers, _ = ask(server, 40)
    assert all(a.error is None for a in answers)
    least = wait - (1.05 if dated else 0.0)
    # Those that were under way already may still arrive just after the word to wait.
    late = [t for t in server.times if told[0] + 0.4 < t < told[0] + least]
    assert late == []
    assert len([t for t in server.times if t >= told[0] + least]) >= 30


def test_no_server_at_all_is_an_error_of_every_row(free_port: int) -> None:
    class Nowhere:
        url = f"http://127.0.0.1:{free_port}/v1"

    answers, _ = ask(Nowhere(), 3)  # type: ignore[arg-type]
    assert all("Connect" in str(a.error) and "(after 4 tries)" in str(a.error) for a in answers)


def test_a_closed_writer_leaves_no_request_under_way(parrot: Start) -> None:
    server = parrot(lambda body, number: 0.3)
    writer = OpenAIServer(server.url, "parrot", concurrency=4)
    rows = (
        Request(Row(n, f"k{n}", "a", "b"), [{"role": "user", "content": str(n)}], n, Sampling())
        for n in range(99)
    )
    answers = writer.write(rows)
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    time.sleep(0.5)
    assert server.under_way == 0
    assert len(server.bodies) <= 8
