"""Batches for training a language model on answers: what several questions share is read once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import torch
from torch import Tensor

IGNORED = -100


@dataclass(frozen=True)
class Tokens:
    """A question and its answer, as token numbers.

    Args:
        prompt: Up to where the answer begins.
        answer: With its end token.
        weights: Of each of the answer's tokens in the loss.
    """

    prompt: Sequence[int]
    answer: Sequence[int]
    weights: Sequence[float]


@dataclass(frozen=True)
class Batch:
    """B groups of questions, padded to T tokens.

    Attributes:
        tokens: (B, T) token numbers.
        positions: (B, T) places in prompt + answer, as if each question stood alone.
        mask: (B, 1, T, T) True where a token sees another: those before it in its own question.
        targets: (B, T) next token, or IGNORED.
        weights: (B, T) of the targets in the loss.
    """

    tokens: Tensor
    positions: Tensor
    mask: Tensor
    targets: Tensor
    weights: Tensor


def pack(groups: Sequence[Sequence[Tokens]], prompt_weight: float) -> Batch:
    """Makes a batch.

    Args:
        groups: B groups of questions whose prompts begin alike; that beginning is read once for all.
        prompt_weight: Of the shared beginning's own tokens in the loss.
    """
    rows = [_row(group, prompt_weight) for group in groups]
    length = max(len(row[0]) for row in rows)
    tokens, positions, parts, targets = (
        torch.tensor([row[at] + [padding] * (length - len(row[at])) for row in rows])
        for at, padding in ((0, 0), (1, 0), (2, -1), (3, IGNORED))
    )
    weights = torch.tensor([row[4] + [0.0] * (length - len(row[4])) for row in rows])
    places = torch.arange(length)
    seen = parts[:, None, :]
    sees = (places[:, None] >= places) & ((seen == parts[:, :, None]) | (seen == 0))
    sees |= torch.eye(length, dtype=torch.bool)  # padding sees itself: a softmax over nothing is NaN
    return Batch(tokens, positions, sees[:, None], targets, weights)


_Row = tuple[list[int], list[int], list[int], list[int], list[float]]


def _row(group: Sequence[Tokens], prompt_weight: float) -> _Row:
    """Tokens, positions, parts (0 for what is shared, then one number per question), targets, weights."""
    columns = zip(*(question.prompt[:-1] for question in group), strict=False)
    shared = [column[0] for column in takewhile(lambda column: len(set(column)) == 1, columns)]
    row: _Row = (
        shared.copy(),
        list(range(len(shared))),
        [0] * len(shared),
        [*shared[1:], IGNORED],
        [prompt_weight] * len(shared),
    )
    for part, question in enumerate(group, 1):
        rest = list(question.prompt[len(shared) :])
        length = len(rest) + len(question.answer) - 1
        row[0].extend([*rest, *question.answer[:-1]])
        row[1].extend(range(len(shared), len(shared) + length))
        row[2].extend([part] * length)
        row[3].extend([IGNORED] * (len(rest) - 1) + list(question.answer))
        row[4].extend([0.0] * (len(rest) - 1) + list(question.weights))
    return row
