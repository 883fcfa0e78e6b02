"""The job with two real engines, on the two workers of a Ray cluster."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from engine_settings import ENGINE, ENVIRONMENT
from jobs import PROMPTS, ROOT, made, recipe, records, start, triples, write_rows

from pcclip.cli import main

pytest.importorskip("ray")
ROWS = 400
OVERLAY = ROOT / "data_recipes" / "overlays" / "ray.yaml"
CLUSTER = {"num_cpus": 2, "object_store_memory": 80_000_000}


def children(parent: int) -> dict[int, str]:
    """All processes below one, with their command lines."""
    found, parents = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, IndexError):
            continue
    below = {parent}
    for _ in range(8):
        below |= {pid for pid, above in parents.items() if above in below}
    return {pid: found[pid] for pid in below - {parent} if pid in found}


def engines(parent: int) -> dict[int, int]:
    """Workers below a process that hold an engine, and the engines."""
    workers = [pid for pid, words in children(parent).items() if words.startswith("ray::RayWorker")]
    return {
        w: e for w in workers for e, words in children(w).items() if "vllm_child.py" in words.split("-c")[0]
    }


@pytest.mark.slow
def test_two_engines_write_what_one_writes_and_outlive_a_killed_worker(
    model: Path, row_lines, tmp_path: Path
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", row_lines(ROWS, 40))
    init = {"model": str(model), "engine": ENGINE, "environment": ENVIRONMENT, "window": 32}
    writer = {"class_path": "pcclip.generation.writers.vllm_engine.VllmEngine", "init_args": init}
    more = {"prompt": str(PROMPTS / "caption_pair.yaml"), "sampling": {"max_tokens": 12, "temperature": 1.0}}
    config = recipe(tmp_path, rows, writer, chunk_rows=50, progress=True, **more)
    alone = tmp_path / "alone"
    assert main(["write", "--config", str(config), "--out", str(alone)]) == 0

    overlay = ["--config", str(OVERLAY), "--writer.workers.count", "2", "--writer.workers.num_gpus", "0"]
    overlay += ["--writer.workers.cluster", json.dumps(CLUSTER), "--writer.workers.block", "8"]
    process = start(config, *overlay)
    out = tmp_path / "out"
    at_work: dict[int, int] = {}
    while process.poll() is None and len(list(out.glob("answers/*.jsonl"))) < 2:
        at_work = engines(process.pid)
        time.sleep(0.05)
    assert len(at_work) == 2, (tmp_path / "stderr.txt").read_text()
    killed, engine = at_work.popitem()
    os.kill(killed, signal.SIGKILL)
    assert process.wait() == 0, (tmp_path / "stderr.txt").read_text()
    said = (tmp_path / "stderr.txt").read_text()
    assert "1 workers replaced" in said
    assert not any(Path(f"/proc/{pid}").exists() for pid in (killed, engine))

    one, two = records(alone), records(out)
    same = sum(a["text"] == b["text"] for a, b in zip(one, two, strict=True)) / ROWS
    print(f"{len(two)} rows, same text on two engines: {same:.1%}; {said.splitlines()[-1]}")
    assert [r["row"] for r in two] == list(range(ROWS))
    assert all(r["error"] is None for r in two)
    assert two == one
    assert made(out) == made(alone)  # answers, shards and card, byte for byte
    assert {t.source["writer"] for t in triples(out)} == {"vllm"}
    assert json.loads((alone / "job.json").read_text()) == json.loads((out / "job.json").read_text())
    assert main(["write", "--config", str(config)]) == 0  # without Ray: it is the same job, and done
