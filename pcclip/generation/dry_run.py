"""What a job would ask, how long its prompts are and how long it would take: nothing is written."""

from __future__ import annotations

import itertools
import logging
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pcclip.data.progress import duration
from pcclip.generation.prompts import Message, PromptTemplate, RowRejected
from pcclip.generation.rows import Row, RowSource
from pcclip.generation.writers.base import Sampling, Writer

_SHOWN, _COUNTED = 3, 200
_CHARACTERS_PER_TOKEN = 4.0
_SHOWN_CHARACTERS = 4000

Tokens = Callable[[list[Message]], int]


@dataclass(frozen=True)
class _Counter:
    """Counts the tokens of a chat and shows it as the model sees it, as far as that can be known here."""

    how: str
    show: Callable[[list[Message]], str]
    count: Callable[[str], int]


def dry_run(
    rows: RowSource,
    writer: Writer,
    prompt: PromptTemplate | None,
    sampling: Sampling,
    tokens_per_second: float,
) -> str:
    """Describes a job.

    Args:
        rows: What it writes about.
        writer: Who would write.
        prompt: How rows are asked.
        sampling: For the longest answer.
        tokens_per_second: Tokens that the engine writes in a second, over all rows that it works on at once.

    Returns:
        Some prompts, their length in tokens, and the time that the answers would take.
    """
    total = rows.count()
    lines = [f"rows: {'not known before the end' if total is None else f'{total:,}'}; writer: {writer.name}"]
    if prompt is None or not writer.needs_prompt:
        lines += [f"- {row.key}: {row.image1} against {row.image2}" for row in _first(rows, _SHOWN)]
        return "\n".join([*lines, f"The writer {writer.name!r} needs no prompt and no engine."])
    counter = _counter(writer.tokenizer_name())
    lengths, rejected = [], 0
    for row in _first(rows, _COUNTED):
        try:
            chat = prompt.render(row).messages
        except RowRejected as why:
            rejected += 1
            if rejected <= _SHOWN:
                lines.append(f"\n== {row.key}: not asked: {why}")
            continue
        text = counter.show(chat)
        lengths.append(counter.count(text))
        if len(lengths) <= _SHOWN:
            lines += [f"\n== {row.key}", text[:_SHOWN_CHARACTERS]]
    lines.append("")
    if prompt.shows_pictures:
        lines.append("pictures count as tokens of their own, which only the model knows: not counted here")
    if not lengths:
        return "\n".join([*lines, f"none of the first {rejected} rows can be asked"])
    lines.append(
        f"prompt tokens ({counter.how}), first {len(lengths)} prompts: median "
        f"{statistics.median(lengths):.0f}, longest {max(lengths)}"
    )
    if total is not None:
        lines += _estimate(total, statistics.fmean(lengths), sampling.max_tokens, tokens_per_second)
    return "\n".join(lines)


def _estimate(total: int, prompt_tokens: float, max_tokens: int, tokens_per_second: float) -> list[str]:
    written = total * max_tokens
    longest = duration(written / tokens_per_second)
    return [
        f"all rows: {total * prompt_tokens:,.0f} prompt tokens, at most {written:,} answer tokens",
        f"at {tokens_per_second:,.0f} answer tokens/s: at most {longest}",
    ]


def _first(rows: RowSource, count: int) -> list[Row]:
    return list(itertools.islice(rows.rows(), count))


def _counter(tokenizer: str | None) -> _Counter:
    if tokenizer is None:
        return _Counter(
            f"estimated, one for {_CHARACTERS_PER_TOKEN:.0f} characters, as the writer names no tokenizer",
            _plain,
            _estimated,
        )
    try:
        from transformers import AutoTokenizer

        with _hushed("huggingface_hub"):  # says every try of many; why it failed is told below
            loaded: Any = AutoTokenizer.from_pretrained(tokenizer, trust_remote_code=False)
    except Exception as error:  # not installed, not a folder, no network: an estimate serves as well
        why = f"{type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else ''}"
        return _Counter(
            f"estimated, one for {_CHARACTERS_PER_TOKEN:.0f} characters, as the tokenizer of {tokenizer!r} "
            f"cannot be loaded here: {why}",
            _plain,
            _estimated,
        )
    if loaded.chat_template is None:
        return _Counter(f"by the tokenizer of {tokenizer}, which has no chat template", _plain, _by(loaded))

    def show(chat: list[Message]) -> str:
        return loaded.apply_chat_template(_without_data(chat), tokenize=False, add_generation_prompt=True)

    return _Counter(f"by the tokenizer of {tokenizer}", show, _by(loaded))


@contextmanager
def _hushed(library: str) -> Iterator[None]:
    logger = logging.getLogger(library)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _estimated(text: str) -> int:
    return round(len(text) / _CHARACTERS_PER_TOKEN)


def _by(tokenizer: Any) -> Callable[[str], int]:
    return lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"])


def _plain(chat: list[Message]) -> str:
    return "\n".join(f"[{message['role']}] {_words(message['content'])}" for message in chat)


def _words(content: str | list[Message]) -> str:
    if isinstance(content, str):
        return content
    return "".join(part["text"] if part["type"] == "text" else "<picture>" for part in content)


def _without_data(chat: list[Message]) -> list[Message]:
    return [{"role": message["role"], "content": _words(message["content"])} for message in chat]
