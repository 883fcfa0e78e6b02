"""The job over a real Ray cluster of two workers on this machine."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jobs import PROMPTS, ROOT, RULES, made, recipe, records, row_lines, server, start, write_rows
from jsonargparse import ArgumentParser
from parrot import Misbehaviour, Parrot

from pcclip.cli import main
from pcclip.generation.rows import Row
from pcclip.generation.write import write
from pcclip.generation.writers.base import Request, Sampling
from pcclip.generation.writers.ray_feed import Feed
from pcclip.generation.writers.vllm_on_ray import VllmOnRay

pytest.importorskip("ray")
HERE = Path(__file__).parent
ROWS = 3000
CLUSTER = """
import ray, sys
found = ray.init(num_cpus=2, object_store_memory=80_000_000, include_dashboard=False, log_to_driver=False)
print(found.address_info["gcs_address"], flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A cluster's address; it ends with this process, however that ends."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{ROOT}:{HERE}")
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))  # the jobs of this module show it too
        process = subprocess.Popen(
            [sys.executable, "-c", CLUSTER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        yield process.stdout.readline().strip()
        process.communicate()


def slow(notes: Path, **more: Any) -> dict[str, Any]:
    notes.mkdir(exist_ok=True)
    init = RULES["init_args"] | {"notes": str(notes)} | more
    return {"class_path": "ray_writers.Slow", "init_args": init}


def on_ray(cluster: str, writer: dict[str, Any], **more: Any) -> dict[str, Any]:
    init = {"writer": writer, "workers": {"block": 16, "address": cluster} | more}
    return {"class_path": "pcclip.generation.writers.ray_pool.RayPool", "init_args": init}


def answered(notes: Path) -> dict[int, list[int]]:
    """Rows by the process that answered them."""
    return {int(file.stem): [int(line) for line in file.read_text().split()] for file in notes.glob("*.txt")}


def wait_for(moment: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not moment():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the job makes without Ray."""
    folder = tmp_path_factory.mktemp("whole")
    config = recipe(folder, write_rows(folder / "rows.jsonl", row_lines(ROWS)), RULES, chunk_rows=250)
    assert main(["write", "--config", str(config)]) == 0
    return made(folder / "out")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl", row_lines(ROWS))


def test_two_workers_write_what_one_writes(cluster: str, whole, rows: Path, tmp_path: Path) -> None:
    config = recipe(tmp_path, rows, on_ray(cluster, slow(tmp_path / "n", pause=0.001)), chunk_rows=250)
    process = start(config)
    assert process.wait() == 0, (tmp_path / "stderr.txt").read_text()
    assert made(tmp_path / "out") == whole
    shares = answered(tmp_path / "n")
    assert len(shares) == 2
    assert min(map(len, shares.values())) > ROWS / 4
    assert sorted(n for share in shares.values() for n in share) == list(range(ROWS))
    wait_for(lambda: not any(map(alive, shares)), 10)


@pytest.mark.parametrize("again", ["on Ray", "without Ray"])
def test_a_killed_driver_takes_its_workers_along_and_the_job_goes_on(
    cluster: str, whole, rows: Path, tmp_path: Path, again: str
) -> None:
    config = recipe(tmp_path, rows, on_ray(cluster, slow(tmp_path / "n")), chunk_rows=250)
    process = start(config)
    wait_for(lambda: len(list(tmp_path.glob("out/answers/*.jsonl"))) >= 3 or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {r["row"]: r for r in records(tmp_path / "out")}
    assert 500 <= len(done) < ROWS
    workers = answered(tmp_path / "n")
    assert len(workers) == 2
    wait_for(lambda: not any(map(alive, workers)), 20)
    if again == "without Ray":
        config = recipe(tmp_path, rows, slow(tmp_path / "n2", pause=0), chunk_rows=250)
    else:
        config = recipe(tmp_path, rows, on_ray(cluster, slow(tmp_path / "n2", pause=0)), chunk_rows=250)
    assert start(config).wait() == 0, (tmp_path / "stderr.txt").read_text()
    assert made(tmp_path / "out") == whole
    assert not any(done.keys() & share for share in answered(tmp_path / "n2").values())


def test_a_job_begun_without_ray_is_finished_on_it(cluster: str, whole, rows: Path, tmp_path: Path) -> None:
    process = start(recipe(tmp_path, rows, slow(tmp_path / "n"), chunk_rows=250))
    wait_for(lambda: len(list(tmp_path.glob("out/answers/*.jsonl"))) >= 2 or process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 128 + signal.SIGTERM
    config = recipe(tmp_path, rows, on_ray(cluster, RULES), chunk_rows=250)
    assert start(config).wait() == 0, (tmp_path / "stderr.txt").read_text()
    assert made(tmp_path / "out") == whole


def test_sigterm_ends_driver_and_workers_in_good_order(cluster: str, rows: Path, tmp_path: Path) -> None:
    process = start(recipe(tmp_path, rows, on_ray(cluster, slow(tmp_path / "n")), chunk_rows=1000))
    wait_for(lambda: sum(map(len, answered(tmp_path / "n").values())) > 500 or process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 128 + signal.SIGTERM, (tmp_path / "stderr.txt").read_text()
    assert len(records(tmp_path / "out")) > 300
    assert "the same command goes on" in (tmp_path / "stderr.txt").read_text()
    wait_for(lambda: not any(map(alive, answered(tmp_path / "n"))), 10)


def test_a_killed_worker_is_replaced_and_its_rows_are_answered_once(
    cluster: str, whole, rows: Path, tmp_path: Path, capsys
) -> None:
    config = recipe(tmp_path, rows, on_ray(cluster, slow(tmp_path / "n")), chunk_rows=250, progress=True)
    process = start(config)
    wait_for(lambda: sum(map(len, answered(tmp_path / "n").values())) > 800 or process.poll() is not None)
    killed = min(answered(tmp_path / "n"))
    os.kill(killed, signal.SIGKILL)
    assert process.wait() == 0, (tmp_path / "stderr.txt").read_text()
    there = records(tmp_path / "out")
    assert [record["row"] for record in there] == list(range(ROWS))
    assert made(tmp_path / "out") == whole  # every answer and every shard, byte for byte
    shares = answered(tmp_path / "n")
    assert len(shares) == 3
    with capsys.disabled():
        told = ", ".join(
            f"{len(share)} by {'the killed' if pid == killed else 'a'} worker"
            for pid, share in sorted(shares.items())
        )
        print(
            f"\n{ROWS} rows on 2 workers, 1 killed and replaced: {told}; {len(there)} rows in the end, "
            "answers and shards byte for byte those of an undisturbed job without Ray"
        )
    assert "1 workers replaced" in (tmp_path / "stderr.txt").read_text()
    journal = (tmp_path / "out" / "manifest.jsonl").read_bytes().splitlines()
    assert len(journal) == ROWS / 250


def test_servers_are_asked_from_every_worker(
    cluster: str, parrot: Callable[[Misbehaviour | None], Parrot], tmp_path: Path
) -> None:
    asked = parrot(None)
    rows = write_rows(tmp_path / "rows.jsonl", row_lines(400))
    more = {"prompt": str(PROMPTS / "caption_pair.yaml"), "chunk_rows": 100}
    assert main(["write", "--config", str(recipe(tmp_path, rows, server(asked.url), **more))]) == 0
    plain = made(tmp_path / "out")
    config = recipe(tmp_path, rows, on_ray(cluster, server(asked.url)), out=str(tmp_path / "o2"), **more)
    assert start(config).wait() == 0, (tmp_path / "stderr.txt").read_text()
    assert made(tmp_path / "o2") == plain


@pytest.mark.parametrize(
    ("writer", "workers", "told"),
    [
        ({"class_path": "ray_writers.Mortal"}, {"restarts": 1}, "writer: 2 workers died, more than"),
        (RULES, {"num_gpus": 3, "start_seconds": 3}, "no place for a worker in 3 seconds. It needs"),
        (
            {
                "class_path": "pcclip.generation.writers.vllm_engine.VllmEngine",
                "init_args": {"model": "m", "python": sys.executable, "environment": {"PYTHONPATH": ""}},
            },
            {},
            "has no vLLM. `make vllm-env` makes one",
        ),
        (RULES, {"address": "127.0.0.1:9"}, "no Ray cluster at '127.0.0.1:9'"),
    ],
    ids=["mortal", "no place", "no engine", "no cluster"],
)
def test_what_cannot_work_ends_with_the_remedy(
    cluster: str, tmp_path: Path, writer: dict, workers: dict, told: str
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", row_lines(100))
    prompt = str(PROMPTS / "caption_pair.yaml")
    config = recipe(tmp_path, rows, on_ray(cluster, writer, **workers), prompt=prompt)
    assert start(config).wait() == 1
    assert told in (tmp_path / "stderr.txt").read_text()


def test_missing_ray_is_told_with_the_remedy(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    config = recipe(tmp_path, write_rows(tmp_path / "rows.jsonl", row_lines(5)), on_ray("auto", RULES))
    assert main(["write", "--config", str(config)]) == 1
    assert "Install it by 'pip install pcclip[ray]'" in capsys.readouterr().err


def test_the_overlay_puts_every_vllm_recipe_on_ray_and_changes_nothing_else() -> None:
    texts = {f: f.read_text() for f in (ROOT / "data_recipes").rglob("*.yaml")}
    recipes = [f for f, text in texts.items() if "VllmEngine\n" in text and "\nrows:" in text]
    assert len(recipes) >= 2
    for file in recipes:
        parser = ArgumentParser()
        parser.add_argument("--config", action="config")
        parser.add_function_arguments(write, sub_configs=True)
        words = ["--config", str(file)]
        alone = parser.instantiate(parser.parse_args(words)).writer
        words += ["--config", str(ROOT / "data_recipes" / "overlays" / "ray.yaml")]
        spread = parser.instantiate(parser.parse_args([*words, "--writer.workers.count", "3"])).writer
        assert type(spread) is VllmOnRay
        assert (spread.workers.count, spread.workers.num_gpus) == (3, 1)
        assert spread.describe() == alone.describe()
        assert (spread.name, spread.python, spread.engine) == (alone.name, alone.python, alone.engine)


def requests(pictures: list[str]) -> list[Request]:
    return [Request(Row(n, f"k{n}", p, "other"), [], n, Sampling()) for n, p in enumerate(pictures)]


def test_blocks_keep_the_rows_of_a_first_picture_together() -> None:
    asked = requests([f"p{n // 3}" for n in range(60)] + ["same"] * 100)
    feed = Feed(iter(asked), 10)
    blocks = []
    while feed.has_more():
        blocks.append(feed.take(1))
    assert [r for block in blocks for r in block] == asked
    assert [len(block) for block in blocks[:5]] == [12] * 5
    assert {len(block) for block in blocks[5:]} == {40, 20}
    feed.give_back(blocks[0])
    assert feed.take(5) == blocks[0][:10]
    for number in range(160):
        assert not feed.is_answered
        feed.answered(number)
    assert feed.is_answered


def test_no_more_is_handed_out_while_an_old_row_is_unanswered() -> None:
    feed = Feed(iter(requests(["p"] * 50_000)), 100)
    feed.take(1)
    given = 1
    while feed.has_more():
        for request in feed.take(1):
            given += 1
            feed.answered(request.row.number)
    assert 20_000 < given < 30_000
    for number in range(400):
        feed.answered(number)
    assert feed.has_more()
