"""The writer that asks an OpenAI-compatible server, many rows at once."""

from __future__ import annotations

import asyncio
import email.utils
import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import aiohttp

from pcclip.errors import PcclipError
from pcclip.generation.writers.base import Answer, Request, Writer
from pcclip.untrusted import parse_json

_AGAIN = (408, 409, 425, 429, 500, 502, 503, 504, 529)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_LONGEST_WAIT = 3600.0  # seconds
_TOLD_CHARACTERS = 300


class _Transient(Exception):
    """A failure that may pass: the message says what, `wait` how long the server asks to wait."""

    def __init__(self, told: str, wait: float = 0.0) -> None:
        super().__init__(told)
        self.wait = wait


class _Refused(Exception):
    """The server will not answer this request, however often it is asked."""


@dataclass
class OpenAIServer(Writer):
    """Asks `URL/chat/completions` of any server that speaks OpenAI's protocol: vLLM, TGI, llama.cpp, OpenAI.

    Failures that may pass (no connection, time-out, 408, 429, 5xx, an answer that is no JSON) are tried again
    after pauses that double, with jitter; where the server says `Retry-After`, all requests wait that long.

    Args:
        url: Up to and including the version, such as `http://127.0.0.1:8000/v1`.
        model: Name of the model at the server.
        concurrency: Requests under way at once.
        timeout: Seconds for one try.
        retries: Tries after the first, before a row counts as gone wrong.
        key_variable: Environment variable with the API key; need not be set for servers without keys.
        tokenizer: Folder or name of the model's tokenizer, for `--dry-run`, where `model` is not one.
        body: Further fields of every request, by the server's own names.
    """

    name: ClassVar[str] = "openai"
    incidental: ClassVar[tuple[str, ...]] = (
        "url",
        "concurrency",
        "timeout",
        "retries",
        "key_variable",
        "tokenizer",
    )

    url: str
    model: str
    concurrency: int = 32
    timeout: float = 120.0
    retries: int = 8
    key_variable: str = "OPENAI_API_KEY"
    tokenizer: str | None = None
    body: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuses numbers that mean nothing."""
        if self.concurrency < 1 or self.timeout <= 0 or self.retries < 0:
            raise PcclipError(
                f"writer: concurrency {self.concurrency}, timeout {self.timeout}, retries {self.retries}: "
                "give 1 or more, seconds above 0, and 0 or more."
            )
        if not self.url.startswith(("http://", "https://")):
            raise PcclipError(
                f"writer.url: {self.url!r} is no address of a server. Give all of it, as "
                "http://localhost:8000/v1."
            )
        self._counts = Counter[str]()
        self._not_before = 0.0

    def model_name(self) -> str:
        """As the server calls it."""
        return self.model

    def tokenizer_name(self) -> str | None:
        """The tokenizer that the recipe names, or else the model's name, unless only the server knows it."""
        known = "/" in self.model or Path(self.model).is_dir()
        return self.tokenizer or (self.model if known else None)

    def statistics(self) -> dict[str, int]:
        """How often requests were tried again."""
        return dict(self._counts)

    def write(self, requests: Iterator[Request]) -> Iterator[Answer | None]:
        """Answers as they come; `concurrency` requests are under way."""
        with asyncio.Runner() as runner:
            session = runner.run(self._session())
            tasks = set[asyncio.Task[Answer]]()
            try:
                more = True
                while more or tasks:
                    while more and len(tasks) < self.concurrency:
                        request = next(requests, None)
                        more = request is not None
                        if request is not None:
                            tasks.add(runner.get_loop().create_task(self._answer(session, request)))
                    if not tasks:
                        break
                    done, tasks = runner.run(_first_done(tasks))
                    yield from (task.result() for task in done)
                    if not done:
                        yield None
            finally:
                runner.run(_cancel(tasks))
                runner.run(session.close())

    async def _session(self) -> aiohttp.ClientSession:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(self.key_variable):
            headers["Authorization"] = f"Bearer {key}"
        return aiohttp.ClientSession(
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=self.timeout),
            connector=aiohttp.TCPConnector(limit=self.concurrency),
        )

    async def _answer(self, session: aiohttp.ClientSession, request: Request) -> Answer:
        """One row's answer, or its error after all tries."""
        told = ""
        for attempt in range(self.retries + 1):
            await self._wait()
            try:
                return await self._try(session, request)
            except _Refused as refused:
                return Answer(request.row.number, "", "error", error=str(refused))
            except _Transient as transient:
                told, wait = str(transient), transient.wait
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                told, wait = f"{type(error).__name__}: {error}".rstrip(": "), 0.0
            if attempt < self.retries:
                self._counts["retries"] += 1
                if wait:
                    self._not_before = max(self._not_before, time.monotonic() + wait)
                else:
                    longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempt)
                    await asyncio.sleep(random.uniform(longest / 2, longest))
        failure = f"{told} (after {self.retries + 1} tries)"
        return Answer(request.row.number, "", "error", error=failure)

    async def _wait(self) -> None:
        """Keeps to the time before which the server wants no request, with jitter to spread the crowd."""
        while (left := self._not_before - time.monotonic()) > 0:
            await asyncio.sleep(left + random.uniform(0, min(1.0, left / 4)))

    async def _try(self, session: aiohttp.ClientSession, request: Request) -> Answer:
        url = self.url.rstrip("/") + "/chat/completions"
        async with session.post(url, data=_encode(self._body(request))) as response:
            raw = await response.read()
            if response.status in _AGAIN:
                raise _Transient(
                    _told(response.status, raw), _retry_after(response.headers.get("Retry-After"))
                )
            if response.status != 200:
                raise _Refused(_told(response.status, raw))
        return _parse(request.row.number, raw)

    def _body(self, request: Request) -> dict[str, Any]:
        sampling = request.sampling
        body = {
            "model": self.model,
            "messages": request.messages,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": request.seed,
        }
        if sampling.stop:
            body["stop"] = sampling.stop
        if request.schema is not None:
            schema = {"name": "answer", "schema": request.schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return body | sampling.extra | self.body


def _encode(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def _parse(number: int, raw: bytes) -> Answer:
    """Reads a completion.

    Raises:
        _Transient: It is none; another try may bring one.
    """
    try:
        value = parse_json(raw)
        choice = value["choices"][0]
        text = choice["message"]["content"] or ""
        usage = value.get("usage") or {}
        details = usage.get("prompt_tokens_details") or {}
        if not isinstance(text, str):
            raise TypeError("content is no text")
        return Answer(
            number,
            text,
            str(choice.get("finish_reason") or "stop"),
            int(usage.get("prompt_tokens") or 0),
            int(usage.get("completion_tokens") or 0),
            int(details.get("cached_tokens") or 0),
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        told = raw[:_TOLD_CHARACTERS].decode("utf-8", "replace")
        raise _Transient(f"the server's answer is no completion ({error!r}): {told}") from error


def _told(status: int, raw: bytes) -> str:
    return f"HTTP {status}: {raw[:_TOLD_CHARACTERS].decode('utf-8', 'replace')}"


def _retry_after(header: str | None) -> float:
    """Seconds to wait by a Retry-After header: a number, or a date, which a wrong clock puts years ahead."""
    if header is None:
        return 0.0
    try:
        asked = float(header)
    except ValueError:
        try:
            asked = email.utils.parsedate_to_datetime(header).timestamp() - time.time()
        except ValueError:
            return 0.0
    return min(asked, _LONGEST_WAIT) if asked > 0 else 0.0


async def _first_done(
    tasks: set[asyncio.Task[Answer]],
) -> tuple[set[asyncio.Task[Answer]], set[asyncio.Task[Answer]]]:
    return await asyncio.wait(tasks, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)


async def _cancel(tasks: set[asyncio.Task[Answer]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
