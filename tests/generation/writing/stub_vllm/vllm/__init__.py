"""Stands in for vLLM where it is not installed: the calls that the writer makes, and ways to die on request.

`tests/vllm/` runs the same writer on the real engine.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace


class SamplingParams:
    def __init__(self, **settings) -> None:
        self.settings = settings


class LLM:
    def __init__(self, model: str, enable_prefix_caching: bool, notes: str, **options) -> None:
        print("loading", model, options)
        if model == "missing":
            raise OSError("no such model")
        self.notes = Path(notes)
        with self.notes.open("a") as file:
            file.write(f"{os.getpid()}\n")
        core = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])  # vLLM has such, too
        with self.notes.with_suffix(".cores").open("a") as file:
            file.write(f"{core.pid}\n")
        self.waiting: list = []
        self.llm_engine = self
        self.counter = 0

    def enqueue_chat(self, messages, params, use_tqdm: bool, **chat) -> list[str]:
        text = messages[0][-1]["content"]
        if "too long" in text:
            raise ValueError("the prompt is too long")
        self.waiting.append((str(self.counter), text, params))
        self.counter += 1
        return [f"{self.counter - 1}-{os.urandom(2).hex()}"]

    def step(self) -> list:
        done, self.waiting = self.waiting[:5], self.waiting[5:]
        time.sleep(0.002)
        # Dies only once everything is under way, as real engines do: with innocent rows beside the cause.
        for _, text, _ in done:
            if "poison" in text or ("once" in text and len(self.notes.read_text().split()) == 1):
                print("Segmentation fault", flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
            if "cuda" in text:
                raise RuntimeError("CUDA error: an illegal memory access was encountered")
            if "hang" in text:
                time.sleep(1000)
        return [self._output(*request) for request in done]

    def _output(self, number: str, text: str, params: SamplingParams) -> SimpleNamespace:
        answer = SimpleNamespace(
            text=f"{params.settings['seed']}: {text}", finish_reason="stop", token_ids=[1, 2, 3]
        )
        return SimpleNamespace(
            request_id=number,
            finished=True,
            outputs=[answer],
            prompt_token_ids=[0] * 10,
            num_cached_tokens=8,
        )
