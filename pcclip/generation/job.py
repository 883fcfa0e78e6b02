"""The job that has texts written for rows: chunk by chunk, stopped and gone on with at any time."""

from __future__ import annotations

import itertools
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from types import FrameType, TracebackType
from typing import Any, Self

from pcclip.errors import PcclipError
from pcclip.generation.checks import Check
from pcclip.generation.manifest import Manifest, Record
from pcclip.generation.outcome import Asked, judge
from pcclip.generation.progress import WriteProgress
from pcclip.generation.prompts import PromptTemplate, RowRejected
from pcclip.generation.rows import Row, RowSource
from pcclip.generation.writers.base import Answer, Request, Sampling, Writer

_FEW = 200  # rows before a share of errors means anything


class Stopped(Exception):
    """A signal ended the job in good order; `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@dataclass
class _Chunk:
    """A chunk under way."""

    number: int
    rows: int
    asked: dict[int, Asked] = field(default_factory=dict)
    records: dict[int, Record] = field(default_factory=dict)
    before: int = 0

    def ordered(self) -> list[Record]:
        return [self.records[number] for number in sorted(self.records)]


class WriteJob:
    """Has all rows of a source answered, and every answer put on disk once.

    Args:
        rows: What to write about.
        writer: Who writes.
        manifest: Where answers go, and what is there already.
        prompt: How rows are asked; None for writers that need no prompt.
        sampling: How a model samples.
        check: What is accepted; everything but empty answers where None.
        chunk_rows: Rows of a chunk. Within a chunk rows that share their first picture are asked one after
            the other, so that the engine's prefix cache has what their prompts share.
        error_limit: Largest share of rows that may go wrong.
        retry_errors: Whether rows that went wrong in an earlier run are asked again.
        ordered: False to ask rows in the order they come in.
        progress: Whether to show progress.
    """

    def __init__(
        self,
        rows: RowSource,
        writer: Writer,
        manifest: Manifest,
        prompt: PromptTemplate | None,
        sampling: Sampling,
        check: Check | None = None,
        chunk_rows: int = 2000,
        error_limit: float = 0.02,
        retry_errors: bool = False,
        ordered: bool = True,
        progress: bool = True,
    ) -> None:
        self.source, self.writer, self.manifest = rows, writer, manifest
        self.prompt, self.sampling, self.check = prompt, sampling, check
        self.chunk_rows, self.error_limit, self.ordered = chunk_rows, error_limit, ordered
        self.retry_errors = retry_errors
        self._schema = prompt.json_schema() if prompt else None
        if check is not None:
            check.begin(prompt)
        self._open: dict[int, _Chunk] = {}
        self._stop: int | None = None
        done = sum(entry.rows - self._to_retry(chunk) for chunk, entry in manifest.entries.items())
        self.progress = WriteProgress(progress, rows.count(), done)

    def run(self) -> None:
        """Asks all rows that are not answered yet.

        Raises:
            Stopped: A signal (SIGTERM, SIGINT) asked for an end; what had been answered is on disk.
            PcclipError: Too many rows went wrong, or the writer cannot go on.
        """
        answers = self.writer.write(self._requests())
        with _Signals(self._on_signal), self.progress:
            try:
                for answer in answers:
                    if answer is not None:
                        self._take(answer)
                    self.progress.notes = self.writer.statistics()
                    self.progress.tick()
                    if self._stop is not None:
                        raise Stopped(self._stop)
            finally:
                for chunk in list(self._open.values()):
                    self._save(chunk)
                if isinstance(answers, Generator):
                    answers.close()
                self.writer.close()
        if self._open:
            lost = sum(chunk.rows - len(chunk.records) for chunk in self._open.values())
            raise PcclipError(
                f"writer {self.writer.name}: ended with {lost} rows unanswered. Start it again."
            )
        self._check_share()

    def _on_signal(self, number: int) -> None:
        self._stop = number

    def _requests(self) -> Iterator[Request]:
        """What is still to be asked, chunk by chunk, as the writer has room for it."""
        for number, rows in self._chunks():
            chunk = self._open[number] = _Chunk(number, len(rows))
            if number in self.manifest.entries:
                kept = self.manifest.read(number)
                chunk.records = {r["row"]: r for r in kept if not (self.retry_errors and r["error"])}
                chunk.before = len(chunk.records)
            if self.ordered:
                rows.sort(key=lambda row: (row.image1, row.number))
            for row in rows:
                if row.number not in chunk.records and (request := self._ask(row, chunk)) is not None:
                    yield request
            self._save_complete(chunk)

    def _chunks(self) -> Iterator[tuple[int, list[Row]]]:
        """The rows of every chunk that is not complete; memory for one chunk at a time."""
        first = next(n for n in itertools.count() if not self._is_done(n))
        rows = self.source.rows(first * self.chunk_rows)
        for number in itertools.count(first):
            part = itertools.islice(rows, self.chunk_rows)
            if self._is_done(number):
                size = sum(1 for _ in part)
            else:
                chunk = list(part)
                size = len(chunk)
                self._check_numbers(number * self.chunk_rows, chunk)
                if chunk:
                    yield number, chunk
            if size < self.chunk_rows:
                return

    def _check_numbers(self, start: int, rows: list[Row]) -> None:
        for expected, row in enumerate(rows, start):
            if row.number != expected:
                raise PcclipError(
                    f"rows: {type(self.source).__name__} gives row {row.key!r} the number {row.number}, but "
                    f"it comes as number {expected}. Rows are numbered from 0 without gaps."
                )

    def _is_done(self, chunk: int) -> bool:
        return self.manifest.is_complete(chunk) and not self._to_retry(chunk)

    def _to_retry(self, chunk: int) -> int:
        return self.manifest.entries[chunk].counts.get("errors", 0) if self.retry_errors else 0

    def _ask(self, row: Row, chunk: _Chunk) -> Request | None:
        """The request of a row; None, and its record kept, where there is nothing to ask."""
        seed = self.sampling.row_seed(row.key)
        if not self.writer.needs_prompt or self.prompt is None:
            if row.image1 == row.image2:
                self._keep(chunk, Asked(row).record(reason="a picture with itself"))
                return None
            chunk.asked[row.number] = Asked(row)
            return Request(row, [], seed, self.sampling)
        try:
            prompt = self.prompt.render(row)
        except RowRejected as rejected:
            self._keep(chunk, Asked(row).record(reason=str(rejected)))
            return None
        except Exception as error:  # such as a picture file that cannot be read: this row's error alone
            told = f"no prompt: {type(error).__name__}: {error}"
            self._keep(chunk, Asked(row).record(error=told))
            return None
        chunk.asked[row.number] = Asked(row, prompt.captions, prompt.changes)
        return Request(row, prompt.messages, seed, self.sampling, self._schema)

    def _take(self, answer: Answer) -> None:
        chunk = self._open.get(answer.number // self.chunk_rows)
        asked = chunk.asked.pop(answer.number, None) if chunk else None
        if chunk is None or asked is None:
            raise PcclipError(
                f"writer {self.writer.name}: answered row {answer.number}, which is not asked or was "
                "answered already."
            )
        self.progress.add(answer.prompt_tokens, answer.answer_tokens, answer.cached_tokens)
        self._keep(chunk, judge(asked, answer, self.prompt, self.check))
        self._save_complete(chunk)

    def _keep(self, chunk: _Chunk, record: Record) -> None:
        chunk.records[record["row"]] = record
        failed = record["error"] is not None
        self.progress.row(failed, record["reason"] is not None)
        if failed and self.progress.errors > self.error_limit * max(self.progress.rows, _FEW):
            self._refuse(self.progress.errors, self.progress.rows, str(record["error"]))

    def _save_complete(self, chunk: _Chunk) -> None:
        if len(chunk.records) == chunk.rows and chunk.number in self._open:
            self._save(chunk)
            del self._open[chunk.number]

    def _save(self, chunk: _Chunk) -> None:
        complete = len(chunk.records) == chunk.rows
        if complete or len(chunk.records) > chunk.before:
            self.manifest.write(chunk.number, chunk.ordered(), complete)
            chunk.before = len(chunk.records)

    def _check_share(self) -> None:
        counts, _ = self.manifest.totals()
        if counts["errors"] > self.error_limit * counts["rows"]:
            example = next(r["error"] for r in self.manifest.records() if r["error"])
            self._refuse(counts["errors"], counts["rows"], example)

    def _refuse(self, errors: int, rows: int, example: str) -> None:
        raise PcclipError(
            f"{self.manifest.folder}: {errors} of {rows} rows went wrong, more than error_limit "
            f"{self.error_limit:g} allows; one of them: {example[:300]}. Mend the cause and start again with "
            "--retry_errors true, or raise error_limit."
        )


class _Signals:
    """Notes SIGTERM and SIGINT instead of dying of them; a second one is obeyed at once."""

    def __init__(self, note: Callable[[int], None]) -> None:
        self._note = note
        self._former: dict[int, Any] = {}

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._note(number)
        signal.signal(number, self._former.get(number, signal.SIG_DFL))

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._former[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, former in self._former.items():
            signal.signal(number, former)
