"""`python -m tests.benchmarks.serve`: first bytes of `pcclip serve` from a real process over real files."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from statistics import median
from urllib.parse import quote
from urllib.request import urlopen

from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table


def first_byte(port: int, path: str) -> float:
    """Milliseconds from before connecting until the headers are there, over a new connection."""
    start = time.perf_counter()
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    response = connection.getresponse()
    milliseconds = 1000 * (time.perf_counter() - start)
    response.read()
    connection.close()
    if response.status != 200:
        raise RuntimeError(f"{path}: status {response.status}")
    return milliseconds


def measure(table: Table, name: str, times: int, one: Callable[[], float]) -> None:
    """Adds a row: the first time, and of the `times` after it the median and the worst."""
    first, later = one(), [one() for _ in range(times)]
    table.add_row(name, f"{first:.1f}", f"{median(later):.1f}", f"{max(later):.1f}")


def new_texts() -> Iterator[str]:
    """Texts that nobody asked before, about ten words long."""
    for number in itertools.count():
        yield f"the picture is number {number} darker and it shows more trees than water"


def measure_all(table: Table, port: int, times: int, clients: int) -> None:
    """All kinds of answers, alone and while other clients ask."""
    texts = new_texts()

    def answer(text: str, more: str = "") -> float:
        return first_byte(port, f"/api/answer?text={quote(text)}{more}")

    known, like = next(texts), quote(a_name(port))
    kinds: list[tuple[str, Callable[[], float]]] = [
        ("page", lambda: first_byte(port, "/")),
        ("sample of the folder", lambda: first_byte(port, "/api/answer")),
        ("order, known text", lambda: answer(known)),
        ("order, new text", lambda: answer(next(texts))),
        ("search, known text", lambda: answer(known, f"&like={like}")),
    ]
    for name, one in kinds:
        measure(table, name, times, one)
    rows = itertools.count()
    measure(table, "thumbnail, made", times, lambda: first_byte(port, f"/thumbnail/{next(rows)}"))
    rows = itertools.count()
    measure(table, "thumbnail, kept", times, lambda: first_byte(port, f"/thumbnail/{next(rows)}"))
    stop = threading.Event()

    def keep_asking() -> None:
        while not stop.is_set():
            answer(next_shared())
            time.sleep(0.05)

    lock, shared = threading.Lock(), new_texts()

    def next_shared() -> str:
        with lock:
            return "meanwhile " + next(shared)

    with ThreadPoolExecutor(clients) as pool:
        busy = [pool.submit(keep_asking) for _ in range(clients)]
        for name, one in kinds:
            measure(table, f"{name}; {clients} others ask new texts", times, one)
        stop.set()
        for one in busy:
            one.result()


def a_name(port: int) -> str:
    """Name of a picture of the folder."""
    with urlopen(f"http://127.0.0.1:{port}/api/answer?count=1") as answer:
        return json.load(answer)["columns"][0]["most"][0]["name"]


def run(folder: str, model: str, times: int = 50, clients: int = 4, cache: str | None = None) -> None:
    """Starts the server and prints milliseconds to the first byte of its answers, each over a new connection.

    Args:
        folder: Of pictures.
        model: As for `pcclip serve`.
        times: How often each answer is asked for.
        clients: Who ask new texts meanwhile, each again 50 ms after its answer.
        cache: Of embeddings and thumbnails; a fresh one if None, so that the folder is embedded first.
    """
    table = Table("milliseconds to the first byte", "first", f"median of {times}", "worst")
    with tempfile.TemporaryDirectory() as fresh:
        words = ["serve", folder, "--model", model, "--port", "0", "--cache_dir", cache or fresh]
        start = time.perf_counter()
        server = subprocess.Popen([sys.executable, "-m", "pcclip", *words], stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            if not line:
                sys.exit(1)  # it has said why
            table.title = f"{folder}, ready after {time.perf_counter() - start:.1f} s"
            measure_all(table, int(line.split("/")[2].rpartition(":")[2]), times, clients)
        finally:
            server.terminate()
            server.wait()
    Console().print(table)


if __name__ == "__main__":
    auto_cli(run)
