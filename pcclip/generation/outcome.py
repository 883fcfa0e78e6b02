"""What became of one row, as a record of its chunk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pcclip.generation.checks import Check
from pcclip.generation.manifest import Record
from pcclip.generation.prompts import PromptTemplate, RowRejected
from pcclip.generation.rows import Row
from pcclip.generation.writers.base import Answer


@dataclass(frozen=True, slots=True)
class Asked:
    """A row that a writer was asked about, with what its prompt showed of it."""

    row: Row
    captions: Sequence[str] = ()
    changes: Sequence[str] = ()

    def record(
        self,
        answer: Answer | None = None,
        difference: str | None = None,
        reason: str | None = None,
        error: str | None = None,
    ) -> Record:
        """The row's record; without an answer for rows that were not asked."""
        row = self.row
        record: Record = {
            "row": row.number,
            "key": row.key,
            "image1": row.image1,
            "image2": row.image2,
            "captions": list(self.captions),
            "text": _unicode(answer.text) if answer else "",
            "finish": answer.finish if answer else "not asked",
            "tokens": [answer.prompt_tokens, answer.answer_tokens] if answer else [0, 0],
            "difference": None if difference is None else _unicode(difference),
            "reason": reason,
            "error": None if error is None else _unicode(error),
        }
        if answer and answer.notes:
            record["notes"] = dict(answer.notes)
        if self.changes:
            record["changes"] = list(self.changes)
        return record


def judge(asked: Asked, answer: Answer, prompt: PromptTemplate | None, check: Check | None) -> Record:
    """Makes the record of an answer: accepted, rejected with a reason, or an error."""
    if answer.error is not None:
        return asked.record(answer, error=answer.error)
    try:
        text = prompt.read_answer(answer.text) if prompt else answer.text.strip()
    except RowRejected as rejected:
        return asked.record(answer, reason=str(rejected))
    if not text:
        own_word = answer.finish not in ("stop", "length")
        return asked.record(answer, reason=answer.finish if own_word else "empty answer")
    if check is None:
        return asked.record(answer, text)
    try:
        verdict = check(replace(answer, text=text), asked.row)
    except Exception as error:  # a check that trips over one answer must not stop the job
        return asked.record(answer, error=f"the check failed: {type(error).__name__}: {error}")
    if verdict.text is None or not verdict.text.strip():
        return asked.record(answer, reason=verdict.reason or "empty answer")
    return asked.record(answer, verdict.text)


def _unicode(text: str) -> str:
    """The text without lone surrogates, which no file can hold."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
