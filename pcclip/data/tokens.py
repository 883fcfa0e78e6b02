"""Texts to token ids: the tokenizer's own result, faster, and optionally made beforehand."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pcclip.data.files import write_atomically
from pcclip.data.index import ShardIndex, sidecar_path
from pcclip.data.progress import progress_bar
from pcclip.data.records import Triple
from pcclip.errors import PcclipError
from pcclip.untrusted import load_array

Tokenizer = Callable[[list[str]], Tensor]
Ragged = tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]
"""Ids of several texts end to end, and the number of ids of each."""

_CHUNK = 1024
_REMEMBERED_WORDS = 200_000


class TextTokens:
    """Texts to a tensor of ids, equal to the tokenizer's up to padding columns.

    Args:
        tokenizer: N texts to (N, context) ids, padded on the right.
        trim: Cut the columns that only pad; where the text tower attends to padding, they have to stay.

    Attributes:
        context: Tokens of a text at most.
        pad_id: What rows are filled with.
    """

    def __init__(self, tokenizer: Tokenizer, trim: bool = True) -> None:
        empty, full = tokenizer(["", "word " * 1000]).tolist()
        self.tokenizer = tokenizer
        self.trim = trim
        self.context = len(empty)
        self.pad_id: int = empty[-1]
        # Some tokenizers pad with the end-of-text token: the first one is then part of the text.
        self._kept = int(full[-1] == self.pad_id)
        self._words = _Words(tokenizer) if _Words.fits(tokenizer) else None

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """B texts to (B, L) int64 ids, L that of the longest text, or the context without `trim`."""
        return self.pad(*self.ragged(texts))

    def ragged(self, texts: Sequence[str]) -> Ragged:
        """Ids without padding."""
        if self._words is not None:
            rows = [self._words.row(text) for text in texts]
            lengths = np.fromiter(map(len, rows), np.int64, len(rows))
            return np.array([token for row in rows for token in row], np.int32), lengths
        ids = self.tokenizer(list(texts)).numpy()
        real = ids != self.pad_id
        lengths = np.where(real.any(1), self.context - real[:, ::-1].argmax(1), 0)
        lengths = np.minimum(lengths + self._kept, self.context)
        return ids[np.arange(self.context) < lengths[:, None]].astype(np.int32), lengths

    def pad(self, ids: npt.NDArray[np.int32], lengths: npt.NDArray[np.int64]) -> Tensor:
        """Ragged ids to (B, L) int64."""
        width = max(int(lengths.max(initial=0)), 1) if self.trim else self.context
        padded = np.full((len(lengths), width), self.pad_id, np.int64)
        padded[np.arange(width) < lengths[:, None]] = ids
        return torch.from_numpy(padded)


@lru_cache(maxsize=4)  # a tokenizer is as small as what is remembered of it
def quick(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer's own result, padding included, sooner where `TextTokens` knows how."""
    return TextTokens(tokenizer, trim=False) if _Words.fits(tokenizer) else tokenizer


class _Words:
    """SimpleTokenizer's ids, with every word looked up instead of merged again.

    No token reaches over white space, so a text's ids are those of its words. And what its cleaning repairs
    (broken encodings, curly quotes, HTML entities, control characters) plain ASCII without '&' does not have.
    """

    _suspect = re.compile(r"[^\x20-\x25\x27-\x7e\t\n]")

    def __init__(self, tokenizer: Any) -> None:
        from open_clip.tokenizer import get_clean_fn

        self._tokenizer = tokenizer
        self._clean: Callable[[str], str] = tokenizer.clean_fn
        self._lower = self._clean is get_clean_fn("lower")
        self._skips_cleaning = self._lower or self._clean is get_clean_fn("whitespace")
        self._known: dict[str, list[int]] = {}

    @staticmethod
    def fits(tokenizer: Any) -> bool:
        if not type(tokenizer).__module__.startswith("open_clip"):
            return False  # a worker that is spawned does not wait for open_clip, which takes seconds
        from open_clip import SimpleTokenizer

        return type(tokenizer) is SimpleTokenizer and tokenizer.reduction_fn is None

    def row(self, text: str) -> list[int]:
        if self._skips_cleaning and self._suspect.search(text) is None:
            words = (text.lower() if self._lower else text).split()
        else:
            words = self._clean(text).split(" ")
        known, tokenizer = self._known, self._tokenizer
        row = [tokenizer.sot_token_id]
        for word in words:
            row += known.get(word) or self._learn(word)
        row.append(tokenizer.eot_token_id)
        if len(row) > tokenizer.context_length:
            row = [*row[: tokenizer.context_length - 1], tokenizer.eot_token_id]
        return row

    def _learn(self, word: str) -> list[int]:
        if len(self._known) >= _REMEMBERED_WORDS:
            self._known.clear()
        tokenizer, ids = self._tokenizer, []
        for token in tokenizer.pat.findall(word):
            letters = "".join(tokenizer.byte_encoder[byte] for byte in token.encode("utf-8"))
            ids += [tokenizer.encoder[piece] for piece in tokenizer.bpe(letters).split(" ")]
        self._known[word] = ids
        return ids

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_known": {}}


class TokenTable:
    """Ids of all texts of one shard, read where they lie; pickles as its path.

    Args:
        path: Of the sidecar.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._arrays: tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]] | None = None

    def row(self, record: int) -> npt.NDArray[np.int32]:
        """Ids of one text, without padding."""
        if self._arrays is None:
            stored = np.asarray(load_array(self.path, mmap_mode="r"))
            ids = stored[1 + int(stored[0]) :]
            self._arrays = ids, np.cumsum(np.append(0, stored[1 : 1 + int(stored[0])]), dtype=np.int64)
        ids, ends = self._arrays
        return ids[ends[record] : ends[record + 1]]

    def __reduce__(self) -> tuple[Any, ...]:
        return TokenTable, (self.path,)


def gather(tables: Sequence[TokenTable], located: Sequence[tuple[int, int]]) -> Ragged:
    """Ids of the texts at (shard, record) numbers."""
    rows = [tables[shard].row(record) for shard, record in located]
    return np.concatenate(rows), np.fromiter(map(len, rows), np.int64, len(rows))


def token_tables(
    indexes: Sequence[ShardIndex], fingerprint: str, cache_dir: Path | None = None
) -> list[TokenTable]:
    """The sidecars of triple shards; `tokenize_shards` makes them."""
    return [TokenTable(_sidecar(index, fingerprint, cache_dir)) for index in indexes]


def tokenize_shards(
    indexes: Sequence[ShardIndex],
    texts: TextTokens,
    fingerprint: str,
    cache_dir: Path | None = None,
    progress: bool = True,
) -> None:
    """Makes the sidecars that are missing; those of a changed shard or another tokenizer do not count.

    Args:
        indexes: Of the triple shards.
        texts: Makes the ids.
        fingerprint: Of the tokenizer.
        cache_dir: Where sidecars go; beside the shards by default.
        progress: Whether to show a progress bar.

    Raises:
        PcclipError: The folder cannot be written to.
        ShardError: A record is no triple.
    """
    missing = [index for index in indexes if not _sidecar(index, fingerprint, cache_dir).is_file()]
    if not missing:
        return
    with progress_bar(progress) as bar:
        task = bar.add_task("tokenizing", total=sum(map(len, missing)))
        for index in missing:
            path = _sidecar(index, fingerprint, cache_dir)
            data = _tokenized(index, texts)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, data)
            except OSError as error:
                raise PcclipError(
                    f"{path}: precomputed tokens cannot be written ({error.strerror}). Set data.cache_dir "
                    "to a folder that can be written to, or data.precompute_tokens to false."
                ) from error
            bar.advance(task, len(index))


def _sidecar(index: ShardIndex, fingerprint: str, cache_dir: Path | None) -> Path:
    size, changed = index.stamp
    return sidecar_path(index.path, cache_dir, f"tokens-{fingerprint[:16]}-{size}-{changed}.npy")


def _tokenized(index: ShardIndex, texts: TextTokens) -> bytes:
    parts: list[Ragged] = []
    for start in range(0, len(index), _CHUNK):
        records = range(start, min(start + _CHUNK, len(index)))
        parsed = (Triple.parse(index.key(i), index.read(i, "json"), index.path) for i in records)
        parts.append(texts.ragged([triple.difference for triple in parsed]))
    lengths = [part[1] for part in parts]
    everything = [np.array([len(index)]), *lengths, *(part[0] for part in parts)]
    buffer = io.BytesIO()
    np.save(buffer, np.concatenate(everything).astype(np.int32))
    return buffer.getvalue()
