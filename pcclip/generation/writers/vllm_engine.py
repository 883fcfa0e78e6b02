"""The writer with a vLLM engine of its own, in a process that is watched and started again when it dies."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from pcclip.errors import PcclipError
from pcclip.generation.writers.base import Answer, EngineError, Request, Writer
from pcclip.generation.writers.vllm_process import EngineDied, EngineProcess

# Arguments of `vllm.LLM` that say how the engine runs, not what it writes: left out of the fingerprint.
_HOW = frozenset(
    [
        "async_scheduling",
        "block_size",
        "cpu_offload_gb",
        "data_parallel_size",
        "disable_log_stats",
        "distributed_executor_backend",
        "download_dir",
        "enable_chunked_prefill",
        "enable_prefix_caching",
        "enforce_eager",
        "gpu_memory_utilization",
        "kv_cache_memory_bytes",
        "load_format",
        "max_num_batched_tokens",
        "max_num_seqs",
        "max_parallel_loading_workers",
        "pipeline_parallel_size",
        "swap_space",
        "tensor_parallel_size",
    ]
)
# Free whitespace between the parts of a JSON answer is where small models get lost.
_DEFAULTS = {
    "enable_prefix_caching": True,
    "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
}
_REMEDY = (
    "`make vllm-env` makes one, whose python is .venv-vllm/bin/python; or let a server write "
    "(pcclip.generation.writers.openai_server.OpenAIServer)."
)
_SMALLER = 32  # how much fewer requests are under way after a death, to find the one that caused it


@dataclass
class _Group:
    """Requests that are asked together: the job's own, or those under way when the engine died.

    Groups are stacked and never mixed, so that a row which kills the engine is found among fewer and fewer.
    """

    requests: Iterator[Request]
    window: int

    def take(self, room: int) -> list[Request]:
        return list(itertools.islice(self.requests, max(0, room)))


@dataclass
class VllmEngine(Writer):
    """Writes with `vllm.LLM`, prefix caching on.

    The engine gets rows continuously, not batch by batch. Every row has a seed of its own; with
    `environment: {VLLM_BATCH_INVARIANT: "1"}`, where the hardware has it, a row's text does not depend on the
    rows beside it at all. When the engine dies (its process ends, a CUDA error, long silence) it is started
    again; rows that were under way are asked again, few at a time, so that a row which kills the engine is
    found and becomes an error of its own.

    Args:
        model: Folder or name of the model.
        engine: Arguments of `vllm.LLM`, such as `dtype` or `max_model_len`. JSON is decoded without free
            whitespace, by xgrammar, unless `structured_outputs_config` says otherwise.
        python: Interpreter of the environment that has vLLM; this one where empty.
        chat: Arguments of `LLM.chat`, such as `chat_template` or `chat_template_kwargs`.
        environment: Variables for the engine's process.
        window: Requests in the engine at once; more than it can work on, so that it never waits.
        restarts: How often the engine may be started again.
        start_seconds: Longest time for loading.
        silent_seconds: Longest time without an answer.
        log: File for what the engine prints; its end is told when it dies.
    """

    name: ClassVar[str] = "vllm"
    incidental: ClassVar[tuple[str, ...]] = (
        "python",
        "environment",
        "window",
        "restarts",
        "start_seconds",
        "silent_seconds",
        "log",
    )

    model: str
    engine: dict[str, Any] = field(default_factory=dict)
    python: str = ""
    chat: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    window: int = 1024
    restarts: int = 6
    start_seconds: float = 3600.0
    silent_seconds: float = 900.0
    log: str | None = None

    def __post_init__(self) -> None:
        """Refuses numbers that mean nothing."""
        if self.window < 1 or self.restarts < 0:
            raise PcclipError(
                f"writer: window {self.window}, restarts {self.restarts}: give 1 or more, and 0 or more."
            )
        if self.engine.get("trust_remote_code"):
            raise PcclipError(
                "writer: engine.trust_remote_code would run code that came with the model, which is never "
                "done here. Leave it out, or give a model that vLLM knows."
            )
        self._process: EngineProcess | None = None
        self._restarted = 0

    def model_name(self) -> str:
        """As the recipe names it."""
        return self.model

    def statistics(self) -> dict[str, int]:
        """How often the engine was started again."""
        return {"restarts": self._restarted}

    def describe(self) -> dict[str, Any]:
        """The settings without those of the engine that change only how it runs."""
        described = super().describe()
        return described | {"engine": {k: v for k, v in self.engine.items() if k not in _HOW}}

    def write(self, requests: Iterator[Request]) -> Iterator[Answer | None]:
        """Answers as they come; up to `window` requests are in the engine."""
        under_way: dict[int, Request] = {}
        groups = [_Group(requests, self.window)]
        while True:
            try:
                yield from self._until_ready()
                group = groups[-1]
                if batch := group.take(group.window - len(under_way)):
                    first = not under_way
                    under_way |= {request.row.number: request for request in batch}
                    self._send(batch, first)
                if not under_way:
                    if len(groups) == 1:
                        return
                    groups.pop()
                    continue
                received = self._running().receive(1.0, self.silent_seconds)
            except EngineDied as died:
                self.close()
                if len(under_way) == 1:  # it was alone with the engine, so it is the cause
                    number = under_way.popitem()[0]
                    yield Answer(number, "", "error", error=f"the engine died of it: {died}"[:1000])
                self._count_restart(died)
                if under_way:
                    groups.append(_Group(iter(list(under_way.values())), len(under_way) // _SMALLER or 1))
                    under_way = {}
                continue
            for answer in received:
                del under_way[answer[0]]
                yield Answer(*answer)
            if not received:
                yield None

    def close(self) -> None:
        """Ends the engine's process."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def _until_ready(self) -> Iterator[None]:
        """Starts the engine where there is none, and waits until it has loaded."""
        if self._process is not None and self._process.ready:
            return
        options = {**_DEFAULTS, **self.engine, "model": self.model}
        python = self.python or sys.executable
        try:
            self._process = EngineProcess(python, options, self.chat, self.environment, self.log)
        except OSError as error:  # of the log file it names itself
            if error.filename != python:
                raise
            raise EngineError(
                f"writer.python: {python}: cannot be run ({error.strerror}). Give the interpreter of an "
                f"environment that has vLLM: {_REMEDY}"
            ) from error
        try:
            while not self._process.ready:
                self._process.receive(1.0, self.start_seconds)
                yield None
        except EngineDied as died:
            if self._restarted == 0:  # what fails at the first start fails at every start
                self.close()
                if "No module named 'vllm'" in str(died):
                    raise EngineError(f"writer.python: {python}: has no vLLM. {_REMEDY}") from None
                raise EngineError(
                    f"writer: the engine of {self.model!r} does not start. It said: {died}"
                ) from None
            raise

    def _running(self) -> EngineProcess:
        assert self._process is not None
        return self._process

    def _count_restart(self, died: EngineDied) -> None:
        if self._restarted >= self.restarts:
            raise EngineError(
                f"writer: the engine died {self._restarted + 1} times, more than restarts {self.restarts} "
                f"allows. The last time: {died}"
            ) from None
        self._restarted += 1

    def _send(self, batch: list[Request], first: bool) -> None:
        if first:
            self._running().listen()
        sampling = asdict(batch[0].sampling)
        self._running().send(
            [
                {
                    "number": request.row.number,
                    "messages": request.messages,
                    "seed": request.seed,
                    "sampling": sampling,
                    "schema": request.schema,
                }
                for request in batch
            ]
        )
