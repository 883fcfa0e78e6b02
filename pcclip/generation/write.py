"""`pcclip write`: from pairs of pictures to triple shards, or to other texts, by any writer.

OUT/job.json, OUT/manifest.jsonl and OUT/answers/ hold the job. The rows decide what it makes: OUT/triples/ of
pairs of pictures, OUT/pictures/ of captions (`CaptionRows`), OUT/texts.json of classes (`ClassRows`,
`ClassPairRows`). OUT/CARD.md, written last, says what that is.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pcclip.data.records import Payload
from pcclip.errors import PcclipError
from pcclip.generation.caption_rows import CaptionRows
from pcclip.generation.checks import Check, Repeats
from pcclip.generation.class_rows import ClassTextRows
from pcclip.generation.dry_run import dry_run as describe_job
from pcclip.generation.finish import Finish
from pcclip.generation.finish_texts import CaptionFinish, ClassTextFinish
from pcclip.generation.finish_triples import TripleFinish
from pcclip.generation.job import Stopped, WriteJob
from pcclip.generation.job_card import CARD
from pcclip.generation.manifest import Manifest
from pcclip.generation.noise import NoisePlan
from pcclip.generation.prompts import PromptTemplate
from pcclip.generation.replay import Replay
from pcclip.generation.rows import RowSource
from pcclip.generation.writers.base import Sampling, Writer

_SAMPLING = Sampling()
_NO_NOISE = NoisePlan()


def write(
    rows: RowSource,
    writer: Writer,
    out: str,
    prompt: PromptTemplate | None = None,
    sampling: Sampling = _SAMPLING,
    check: Check | None = None,
    repeats: Repeats | None = None,
    noise: NoisePlan = _NO_NOISE,
    answers_of: str | None = None,
    chunk_rows: int = 2000,
    error_limit: float = 0.02,
    retry_errors: bool = False,
    payload: Payload = "keys",
    records_per_shard: int = 1000,
    progress: bool = True,
    dry_run: bool = False,
    tokens_per_second: float = 1000.0,
) -> None:
    """Have texts written, and make of them what the rows are for: triple shards, captions, texts of classes.

    Stopped or killed at any time, the same command goes on where it was.

    Args:
        rows: What is written about: pairs of pictures, captions, classes or pairs of classes.
        writer: Who writes: a language model in this process's care, a server, or rules.
        out: Folder to make; may hold an unfinished run of the same recipe, which is then finished.
        prompt: How the writer is asked: the settings, or a YAML file with them.
        sampling: How a language model samples.
        check: What is accepted; everything but empty answers where none is given.
        repeats: Which accepted texts are left out since they repeat earlier ones.
        noise: Which differences are spoilt on purpose, to see how much the training minds it.
        answers_of: Folder of an earlier job of the same rows, writer, prompt and sampling, whose answers are
            used again, so that another check, noise or payload needs no model.
        chunk_rows: Rows that are put on disk together, and that are ordered for the prefix cache.
        error_limit: Largest share of rows that may go wrong before the job stops.
        retry_errors: Ask again those rows that went wrong in an earlier run.
        payload: `keys`: a triple names its pictures; `pixels`: it carries them.
        records_per_shard: Records per tar file.
        progress: Show progress.
        dry_run: Only show some prompts, their tokens, and how long it would take.
        tokens_per_second: For `dry_run`: tokens that the engine writes in a second.

    Raises:
        PcclipError: `out` belongs to another job or another recipe; too many rows went wrong; the writer
            cannot go on.
    """
    if not out.strip() or records_per_shard < 1:
        raise PcclipError(
            f"out={out!r}, records_per_shard={records_per_shard}: give the name of a folder, and at least 1."
        )
    if chunk_rows < 1 or not 0 <= error_limit <= 1:
        raise PcclipError(f"chunk_rows {chunk_rows}, error_limit {error_limit}: give 1 or more, and a share.")
    if writer.needs_prompt and prompt is None:
        raise PcclipError(f"the writer {writer.name!r} needs 'prompt': name a prompt's YAML file.")
    if dry_run:
        print(describe_job(rows, writer, prompt, sampling, tokens_per_second))
        return
    if (noise or payload != "keys") and isinstance(rows, CaptionRows | ClassTextRows):
        raise PcclipError(
            "'noise' and the payload 'pixels' are for differences between pictures; leave them out."
        )
    start = time.perf_counter()
    settings = settings_of(rows, writer, prompt, sampling, check)
    settings |= {
        "repeats": repeats.describe() if repeats else None,
        "noise": asdict(noise) if noise else None,
        "chunk_rows": chunk_rows,
        "payload": payload,
        "records_per_shard": records_per_shard,
    }
    if answers_of is not None:
        writer = Replay(writer, Path(answers_of), settings)
    manifest = Manifest(Path(out), settings)
    try:
        for path in manifest.forgotten:
            print(f"{path}: not as it was written; its rows are asked again", file=sys.stderr)
        parts = {
            "manifest": manifest,
            "rows": rows,
            "writer": writer,
            "prompt": prompt,
            "sampling": sampling,
            "repeats": repeats,
        }
        finish = _finish(parts, payload, records_per_shard, noise)
        if finish.is_done():
            print(f"{out}: already made by this recipe; delete the folder to make it again")
            return
        job = WriteJob(
            rows,
            writer,
            manifest,
            prompt,
            sampling,
            check,
            chunk_rows,
            error_limit,
            retry_errors,
            True,
            progress,
        )
        job.run()
        count = finish.run()
    except Stopped as stopped:
        done = manifest.totals()[0]["rows"]
        print(f"{out}: stopped with {done} rows answered; the same command goes on", file=sys.stderr)
        raise SystemExit(128 + stopped.number) from None
    finally:
        manifest.close()
    print(f"{out}: {count} {finish.what} in {time.perf_counter() - start:.0f} s; see {Path(out) / CARD}")


def _finish(parts: dict[str, Any], payload: Payload, records_per_shard: int, noise: NoisePlan) -> Finish:
    """What makes of a job's answers what its rows are for."""
    rows = parts["rows"]
    if isinstance(rows, CaptionRows):
        return CaptionFinish(**parts, source=rows, records_per_shard=records_per_shard)
    if isinstance(rows, ClassTextRows):
        return ClassTextFinish(**parts, source=rows)
    return TripleFinish(**parts, payload=payload, records_per_shard=records_per_shard, noise=noise)


def settings_of(
    rows: RowSource, writer: Writer, prompt: PromptTemplate | None, sampling: Sampling, check: Check | None
) -> dict[str, Any]:
    """What decides a job's answers, for its fingerprint."""
    asked = writer.needs_prompt
    return {
        "rows": rows.describe(),
        "writer": writer.describe(),
        "prompt": asdict(prompt) if prompt and asked else None,
        "sampling": asdict(sampling) if asked else None,
        "check": check.describe() if check else None,
    }
