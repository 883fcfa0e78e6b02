"""`pcclip judge --config RECIPE`: language models rate a sample of written texts.

OUT/judge-1/, OUT/judge-2/ ... hold the judges' jobs with every answer as it came; OUT/ratings.csv,
OUT/summary.json and OUT/JUDGE.md, written last, say what came of them.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pcclip.errors import PcclipError
from pcclip.generation.dry_run import dry_run as describe_job
from pcclip.generation.job import Stopped, WriteJob
from pcclip.generation.judging.criteria import RatingCheck, parse_rating
from pcclip.generation.judging.report import CARD, JudgeRatings, write_report
from pcclip.generation.judging.texts import JudgedRows, TextSample
from pcclip.generation.manifest import Manifest
from pcclip.generation.prompts import PromptTemplate
from pcclip.generation.writers.base import Sampling, Writer

_SAMPLING = Sampling(temperature=0.0, top_p=1.0, max_tokens=256)


@dataclass
class _Judge:
    """One pass of one model."""

    name: str
    writer: Writer
    rows: JudgedRows
    sampling: Sampling

    def describe(self) -> str:
        order = "second" if self.rows.swapped else "first"
        return (
            f"{self.writer.model_name() or self.writer.name}, the {order} picture shown first, seed "
            f"{self.sampling.seed}"
        )


def judge(
    texts: TextSample,
    writers: list[Writer],
    prompt: PromptTemplate,
    out: str,
    passes: int = 2,
    sampling: Sampling = _SAMPLING,
    chunk_rows: int = 200,
    error_limit: float = 0.02,
    retry_errors: bool = False,
    worst: int = 20,
    progress: bool = True,
    dry_run: bool = False,
    tokens_per_second: float = 1000.0,
) -> None:
    """Have a sample of written texts rated by language models.

    Every writer rates every text `passes` times, each time with another seed: in the first, third ... pass
    with the first picture's captions (or the picture itself) before the second's, in the others after them.
    So two passes of one model say how far its ratings hang on order and chance; only two models, or people,
    say more. Stopped or killed at any time, the same command goes on where it was.

    Args:
        texts: Which texts are rated.
        writers: The models that rate, one or several.
        prompt: How they are asked: the settings, or a YAML file with them.
        out: Folder to make; may hold an unfinished run of the same recipe, which is then finished.
        passes: How often every writer rates every text.
        sampling: How a model samples; pass k takes its seed + k - 1.
        chunk_rows: Ratings that are put on disk together.
        error_limit: Largest share of a judge's rows that may go wrong before it stops.
        retry_errors: Ask again those rows that went wrong in an earlier run.
        worst: How many of the worst texts JUDGE.md shows.
        progress: Show progress.
        dry_run: Only show some prompts, their tokens, and how long it would take.
        tokens_per_second: For `dry_run`: tokens that the engine writes in a second.

    Raises:
        PcclipError: `out` belongs to another job or another recipe; too many rows went wrong; a writer cannot
            go on; no answer of a judge is a rating.
    """
    if not writers or passes < 1 or chunk_rows < 1 or not 0 <= error_limit <= 1 or worst < 0:
        raise PcclipError(
            f"judge: {len(writers)} writers, passes {passes}, chunk_rows {chunk_rows}, error_limit "
            f"{error_limit}, worst {worst}: give at least one writer, 1 or more passes and chunk_rows, a "
            "share, and 0 or more."
        )
    if deaf := [writer.name for writer in writers if not writer.needs_prompt]:
        raise PcclipError(f"judge: the writer {deaf[0]!r} is no language model, so it cannot rate texts.")
    if prompt.answer != "json" or prompt.answer_field:
        raise PcclipError(
            f"prompt {prompt.name!r}: a judge's answer is a whole JSON: set answer: json, answer_field: '' "
            "and a schema, as data_recipes/prompts/judge_captions.yaml has them."
        )
    judges = [
        _Judge(
            f"judge-{at * passes + turn + 1}",
            writer,
            JudgedRows(texts, swapped=turn % 2 == 1),
            replace(sampling, seed=sampling.seed + turn),
        )
        for at, writer in enumerate(writers)
        for turn in range(passes)
    ]
    if dry_run:
        for one in judges[::passes]:
            print(f"#### {one.name}: {one.describe()}; passes: {passes}, this is the first")
            print(describe_job(one.rows, one.writer, prompt, one.sampling, tokens_per_second))
        return
    rated = [_run(one, prompt, Path(out), chunk_rows, error_limit, retry_errors, progress) for one in judges]
    write_report(Path(out), texts, prompt, rated, worst)
    print(f"{out}: {len(texts.texts())} texts rated by {len(judges)} judges; see {Path(out) / CARD}")


def _run(
    one: _Judge,
    prompt: PromptTemplate,
    out: Path,
    chunk_rows: int,
    error_limit: float,
    retry_errors: bool,
    progress: bool,
) -> JudgeRatings:
    """Has one judge rate what it has not rated yet, and reads its ratings."""
    folder, check = out / one.name, RatingCheck()
    settings = {
        "rows": one.rows.describe(),
        "writer": one.writer.describe(),
        "prompt": asdict(prompt),
        "sampling": asdict(one.sampling),
        "check": check.describe(),
        "chunk_rows": chunk_rows,
    }
    manifest = Manifest(folder, settings)
    try:
        for path in manifest.forgotten:
            print(f"{path}: not as it was written; its rows are asked again", file=sys.stderr)
        chunks = range(-(-one.rows.count() // chunk_rows))
        errors = manifest.totals()[0]["errors"]
        if not all(map(manifest.is_complete, chunks)) or (errors and retry_errors):
            print(f"{one.name}: {one.describe()}", file=sys.stderr)
            WriteJob(
                one.rows,
                one.writer,
                manifest,
                prompt,
                one.sampling,
                check,
                chunk_rows,
                error_limit,
                retry_errors,
                progress=progress,
            ).run()
        return _ratings(one, manifest)
    except Stopped as stopped:
        done = manifest.totals()[0]["rows"]
        print(f"{folder}: stopped with {done} rows answered; the same command goes on", file=sys.stderr)
        raise SystemExit(128 + stopped.number) from None
    finally:
        manifest.close()


def _ratings(one: _Judge, manifest: Manifest) -> JudgeRatings:
    counts, rejected = manifest.totals()
    if not counts["accepted"]:
        told = ", ".join(f"{count} {why}" for why, count in rejected.most_common(5)) or "all went wrong"
        raise PcclipError(
            f"{manifest.folder}: no answer is a rating ({told}). Read {manifest.path(0)}, mend the recipe, "
            "and start it with another 'out'."
        )
    texts = one.rows.texts.texts()
    ratings = {
        texts[record["row"]].id: parse_rating(record["difference"])
        for record in manifest.records()
        if record["difference"] is not None
    }
    return JudgeRatings(
        one.name, one.describe(), one.writer.model_name() or one.writer.name, ratings, counts, rejected
    )
