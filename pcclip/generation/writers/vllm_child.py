"""The process that holds the vLLM engine, run as a script by an environment that has vLLM.

It imports nothing of pcclip, so that the environment needs nothing but vLLM. It takes batches of requests and
sends answers over a socket, and ends with all its processes as soon as the process that started it is gone.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import signal
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from typing import Any

_WATCH_SECONDS = 0.5


def guard(life: int, connection: int) -> None:
    """Starts a small process that ends this process group once this process or its starter is gone.

    A thread could not: a SIGKILL of this process alone would leave the engine's own processes behind.

    Args:
        life: Pipe whose other end the starter holds.
        connection: Must not stay open when this process is gone: its end is how the starter learns of it.
    """
    guarded = os.getpid()
    if os.fork() != 0:
        return
    os.close(connection)
    while os.getppid() == guarded and not select.select([life], [], [], _WATCH_SECONDS)[0]:
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


class Engine:
    """The engine, fed and emptied step by step, so that it never runs dry between two batches."""

    def __init__(self, options: dict[str, Any], chat: dict[str, Any]) -> None:
        from vllm import LLM  # type: ignore[import-not-found]
        from vllm.platforms import current_platform  # type: ignore[import-not-found]

        if current_platform.is_cpu():
            # For a prompt in chunks vLLM rewinds the row's random generator; a CPU's cannot: the engine dies.
            options = {"enable_chunked_prefill": False} | options
        self._llm = LLM(**options)
        self._chat = chat
        self._numbers: dict[str, int] = {}

    @property
    def busy(self) -> bool:
        """Whether requests are under way."""
        return bool(self._numbers)

    def add(self, request: dict[str, Any]) -> tuple[Any, ...] | None:
        """Takes a request; returns its answer where the engine does not take it."""
        try:
            ids = self._llm.enqueue_chat(
                [request["messages"]], self._parameters(request), use_tqdm=False, **self._chat
            )
        except Exception as error:
            if type(error).__name__ == "EngineDeadError":
                raise
            return (request["number"], "", "error", 0, 0, 0, f"{type(error).__name__}: {error}")
        # The engine puts a random part after its own number; its answers come under the number alone.
        self._numbers[ids[0].split("-")[0]] = request["number"]
        return None

    def step(self) -> list[tuple[Any, ...]]:
        """Lets the engine take one step; returns the answers that it finished."""
        answers = []
        for output in self._llm.llm_engine.step():
            if not output.finished:
                continue
            text = output.outputs[0]
            answers.append(
                (
                    self._numbers.pop(output.request_id),
                    text.text,
                    text.finish_reason or "stop",
                    len(output.prompt_token_ids or ()),
                    len(text.token_ids),
                    output.num_cached_tokens or 0,
                    None,
                )
            )
        return answers

    def _parameters(self, request: dict[str, Any]) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams  # type: ignore[import-not-found]

        settings = dict(request["sampling"])
        settings |= settings.pop("extra", {}) | {"seed": request["seed"]}
        if request["schema"] is not None:
            settings["structured_outputs"] = StructuredOutputsParams(json=request["schema"])
        return SamplingParams(**settings)


def receive(connection: Connection, inbox: queue.SimpleQueue[Any]) -> None:
    """Takes in whatever comes, at once, so that the two sides never wait for each other to read."""
    try:
        while True:
            inbox.put(connection.recv())
    except (EOFError, OSError):
        inbox.put(None)


def serve(connection: Connection, options: dict[str, Any], chat: dict[str, Any]) -> None:
    """Answers requests until the connection is closed."""
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=receive, args=(connection, inbox), daemon=True).start()
    engine = Engine(options, chat)
    connection.send(("ready", None))
    while True:
        while not engine.busy or not inbox.empty():
            if (batch := inbox.get()) is None:
                return
            refused = [answer for request in batch if (answer := engine.add(request))]
            if refused:
                connection.send(("answers", refused))
        if answers := engine.step():
            connection.send(("answers", answers))


def main() -> None:
    """Reads the settings from the connection that was handed down, and serves."""
    guard(int(sys.argv[2]), int(sys.argv[1]))
    connection = Connection(int(sys.argv[1]))
    options, chat = connection.recv()
    try:
        serve(connection, options, chat)
    except BaseException as error:
        traceback.print_exc()
        with contextlib.suppress(OSError):
            connection.send(("dead", f"{type(error).__name__}: {error}"))
    sys.stderr.flush()
    os.killpg(os.getpgrp(), signal.SIGKILL)  # the engine's own processes too, whatever state they are in


if __name__ == "__main__":
    main()
