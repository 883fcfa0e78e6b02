"""The writing job's speed: pairs to shards by rules, and by vLLM against a bare loop over `LLM.generate`.

    python -m tests.benchmarks.write rules              # rows/s and peak memory, from 10^4 rows on
    python -m tests.benchmarks.write engine --captions captions_val2017.json    # by vLLM's environment

Each measurement is a process of its own, so that peak memory, and the engine's cache, are its own.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pcclip.data.shards import ShardSetWriter
from pcclip.data.sources.shapes import Shapes
from pcclip.generation.job import WriteJob
from pcclip.generation.manifest import Manifest
from pcclip.generation.pairs import PairPlan
from pcclip.generation.picture_pairs import PicturePairs
from pcclip.generation.prompts import PromptTemplate
from pcclip.generation.rows import Row, RowSource
from pcclip.generation.write import write
from pcclip.generation.writers.base import Request, Sampling
from pcclip.generation.writers.rule_writer import RuleTextWriter
from pcclip.generation.writers.vllm_engine import VllmEngine

PICTURES, COUNTS = 2000, (10_000, 100_000)
ENGINE_PICTURES, ENGINE_ROWS, WARM_ROWS = 60, 1500, 64
ENGINE = {"enforce_eager": True, "max_model_len": 1024, "dtype": "float32", "max_num_seqs": 64}
ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_LOGGING_LEVEL": "ERROR", "HF_HUB_OFFLINE": "1"}
SYSTEM = "Compare two pictures by their captions, in one sentence that says how the first one differs. " * 3
SAMPLING = Sampling(temperature=1.0, max_tokens=24)


def rules(counts: tuple[int, ...] = COUNTS) -> None:
    """Pairs to finished shards by the rule-based writer, one process for each number of rows."""
    with tempfile.TemporaryDirectory() as folder:
        source = Shapes(train=PICTURES)
        with ShardSetWriter(Path(folder) / "pictures", "pictures") as shards:
            for picture in source.pictures("train"):
                shards.write_picture(picture)
        for count in counts:
            measured = _in_a_process("_rules", folder, str(count))
            print(f"rules: {count:,} rows, {measured['rate']:,.0f} rows/s, peak {measured['peak']:.0f} MiB")


def _rules(folder: str, count: str) -> None:
    start = time.perf_counter()
    rows = PicturePairs(f"{folder}/pictures", PairPlan(PICTURES, int(count)), "bench")
    write(rows, RuleTextWriter(Shapes()), f"{folder}/out{count}", progress=False)
    _report(int(count) / (time.perf_counter() - start))


def engine(captions: str, rows: int = ENGINE_ROWS, blocks: int = 0) -> None:
    """A bare `LLM.generate` over all prompts, and the job with the same prompts, ordered and unordered.

    Args:
        captions: COCO's annotation file.
        rows: How many.
        blocks: KV cache blocks of 32 tokens, to see what ordering does where the cache is short; 0: plenty.
    """
    sys.path.insert(0, str(Path(__file__).parents[1] / "vllm"))
    from tiny import coco_captions, make_model  # type: ignore[import-not-found]

    known = coco_captions(Path(captions))
    options = ENGINE | ({"block_size": 32, "num_gpu_blocks_override": blocks} if blocks else {})
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(Path(folder) / "model", [c for several in known.values() for c in several])
        setup = {
            "model": str(model),
            "options": options,
            "rows": rows,
            "folder": folder,
            "captions": captions,
        }
        for kind in ("bare unordered", "bare ordered", "job unordered", "job ordered"):
            measured = _in_a_process("_engine", json.dumps(setup), kind)
            print(
                f"{kind:15} {rows} rows, {measured['rate']:.1f} rows/s, {measured['tokens']:.0f} tokens/s, "
                f"prefix cache {measured['hits']:.1%}",
                flush=True,
            )


def _engine(setup: str, kind: str) -> None:
    given = json.loads(setup)
    os.environ.update(ENVIRONMENT)
    source = _CaptionRows(given["captions"], given["rows"])
    if kind.startswith("bare"):
        _bare(given, list(source.rows()), kind.endswith(" ordered"))
    else:
        _job(given, source, kind.endswith(" ordered"))


def _bare(given: dict[str, Any], rows: list[Row], ordered: bool) -> None:
    from vllm import LLM, SamplingParams  # type: ignore[import-not-found]

    if ordered:
        rows.sort(key=lambda row: (row.image1, row.number))
    llm = LLM(given["model"], enable_prefix_caching=True, enable_chunked_prefill=False, **given["options"])
    tokenizer = llm.get_tokenizer()

    def asked(name: str, some: list[Row]) -> list[Any]:
        prompts = [
            tokenizer.apply_chat_template(
                _template(name).render(row).messages, tokenize=False, add_generation_prompt=True
            )
            for row in some
        ]
        params = [
            SamplingParams(
                temperature=SAMPLING.temperature,
                top_p=SAMPLING.top_p,
                max_tokens=SAMPLING.max_tokens,
                seed=SAMPLING.row_seed(row.key),
            )
            for row in some
        ]
        begin[0] = time.perf_counter()
        return llm.generate(prompts, params, use_tqdm=False)

    begin = [0.0]
    asked("warm", rows[:WARM_ROWS])
    outputs = asked("bench", rows)
    spent = time.perf_counter() - begin[0]
    prompt_tokens = sum(len(output.prompt_token_ids) for output in outputs)
    _report(
        len(rows) / spent,
        tokens=sum(len(output.outputs[0].token_ids) for output in outputs) / spent,
        hits=sum(output.num_cached_tokens or 0 for output in outputs) / prompt_tokens,
    )


def _job(given: dict[str, Any], source: _CaptionRows, ordered: bool) -> None:
    writer = VllmEngine(given["model"], given["options"], environment=ENVIRONMENT)
    warm = [replace(row, number=number) for number, row in enumerate(source.rows()) if number < WARM_ROWS]
    chats = [_template("warm").render(row).messages for row in warm]
    for _ in writer.write(Request(row, chat, 0, SAMPLING) for row, chat in zip(warm, chats, strict=True)):
        pass
    out = Path(given["folder"]) / ("ordered" if ordered else "unordered")
    manifest = Manifest(out, {})
    job = WriteJob(
        source,
        writer,
        manifest,
        _template("bench"),
        SAMPLING,
        chunk_rows=500,
        ordered=ordered,
        progress=False,
    )
    begin = time.perf_counter()
    job.run()
    spent = time.perf_counter() - begin
    counted = job.progress
    _report(
        counted.rows / spent,
        tokens=counted.answer_tokens / spent,
        hits=counted.cached_tokens / max(counted.prompt_tokens, 1),
    )


@dataclass
class _CaptionRows(RowSource):
    """Random pairs of some of COCO's pictures."""

    captions: str
    number: int

    def count(self) -> int:
        return self.number

    def rows(self, start: int = 0) -> Iterator[Row]:
        found: dict[int, list[str]] = {}
        for annotation in json.loads(Path(self.captions).read_text())["annotations"]:
            found.setdefault(annotation["image_id"], []).append(annotation["caption"])
        rng = random.Random(0)
        pool = rng.sample(sorted(found), ENGINE_PICTURES)
        for number in range(self.number):
            one, two = rng.sample(pool, 2)
            if number >= start:
                captions = (tuple(found[one]), tuple(found[two]))
                yield Row(number, f"k{number:06d}", f"{one:012d}", f"{two:012d}", *captions)


def _template(name: str) -> PromptTemplate:
    question = "First picture:\n{captions1}\nSecond picture:\n{captions2}\nHow does the first differ?"
    return PromptTemplate(name, 1, question, system=f"{name}: {SYSTEM}")


def _report(rate: float, **more: float) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print("MEASURED " + json.dumps({"rate": rate, "peak": peak, **more}), flush=True)


def _in_a_process(function: str, *words: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.write", function, *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    for line in done.stdout.splitlines():
        if line.startswith("MEASURED "):
            return dict(json.loads(line.removeprefix("MEASURED ")))
    raise SystemExit(f"{function} {words}: {done.stdout}{done.stderr}"[-4000:])


if __name__ == "__main__":
    if sys.argv[1] in ("_rules", "_engine"):
        {"_rules": _rules, "_engine": _engine}[sys.argv[1]](*sys.argv[2:4])
    else:
        from jsonargparse import auto_cli

        auto_cli({"rules": rules, "engine": engine}, as_positional=False)
