"""What the losses over a global batch share: gathering over ranks, masks, and sums in chunks of rows.

Shape letters: B pairs of this rank, G pairs of all ranks, R rows of one chunk, D embedding width.

Memory. A matrix of B x G similarities is quadratic in the batch. With more than `chunk_rows` rows, matrices
exist for R rows at a time: a chunk's are dropped after its sum and made again in the backward pass, for a
fourth matrix product beside the three of forward and backward. Gradients are those of the whole matrix, to
rounding.

On paper, for B = G = 65,536 pairs of D = 768 in fp32 on one GPU and R = 1,024: R x G is 256 MiB, B x D is 192
MiB. `python -m tests.benchmarks.scaling --what loss` finds, beside the embeddings themselves, about 8 of the
former and 3.5 of the latter at the peak: 2.7 GiB. At once it would be 8 of B x G: 128 GiB.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CHUNK_ROWS = 1024
"""Rows from which on a loss is computed in chunks; smaller batches are computed at once."""


class _Gather(torch.autograd.Function):
    """all_gather whose backward sums the gradients that all ranks have for this rank's rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, world: World) -> Tensor:
        ctx.ranks = world.size
        return _gathered(rows, world)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        parts = list(grads[0].contiguous().chunk(ctx.ranks))
        own = torch.empty_like(parts[0])
        dist.reduce_scatter(own, parts)
        return own, None


def _gathered(rows: Tensor, world: World) -> Tensor:
    parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(world.size)]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


@dataclass(frozen=True)
class World:
    """Where this process stands among the training processes."""

    rank: int = 0
    size: int = 1

    def gather(self, rows: Tensor) -> Tensor:
        """Stack the rows of all ranks in rank order, with gradients: (B, ...) -> (G, ...)."""
        if self.size == 1:
            return rows
        return _Gather.apply(rows, self)  # type: ignore[no-any-return]

    def gather_ids(self, *ids: Tensor) -> tuple[Tensor, ...]:
        """Stack several (B,) integers of all ranks to (G,) each, in one exchange."""
        if self.size == 1:
            return ids
        return _gathered(torch.stack(ids, dim=1), self).unbind(1)


@dataclass(frozen=True)
class Chunk:
    """Where some of this rank's rows stand in the global batch.

    Attributes:
        first: number of the first row among this rank's.
        rows: how many, R.
        offset: column of this rank's first pair among the G columns.
    """

    first: int
    rows: int
    offset: int

    def labels(self, device: torch.device) -> Tensor:
        """(R,) each row's own column."""
        return torch.arange(self.rows, device=device) + (self.offset + self.first)

    def own(self, columns: int, device: torch.device) -> Tensor:
        """(R, G) mask of each row's own column."""
        return torch.arange(columns, device=device)[None, :] == self.labels(device)[:, None]


def mean_over_rows(loss: Callable[..., Tensor], chunk_rows: int, world: World, *local: Tensor) -> Tensor:
    """Mean of a loss over this rank's rows, in chunks of rows so that memory does not hold all of them.

    Up to `chunk_rows` rows are one call, without recomputation.

    Args:
        loss: `loss(chunk, *parts)` is the mean over a chunk's rows. It may use other tensors, parameters too:
            they get their gradients. It must not draw random numbers, as it runs twice.
        chunk_rows: rows per chunk, at least 1.
        world: of this process; says where its rows stand.
        local: tensors that are cut into the chunks' parts, (B, ...) each.
    """
    rows = len(local[0])
    offset = world.rank * rows
    if rows <= chunk_rows:
        return loss(Chunk(0, rows, offset), *local)
    means = []
    # Not slices: the gradient of each would be a tensor of all rows.
    for number, part in enumerate(zip(*(torch.split(one, chunk_rows) for one in local), strict=True)):
        chunk = Chunk(number * chunk_rows, len(part[0]), offset)
        mean: Any = checkpoint(loss, chunk, *part, use_reentrant=False, preserve_rng_state=False)
        means.append(mean * (chunk.rows / rows))
    return torch.stack(means).sum()


def check_chunk_rows(chunk_rows: int) -> int:
    """Refuse chunks without rows.

    Raises:
        ValueError: it is below 1.
    """
    if chunk_rows < 1:
        raise ValueError(f"chunk_rows must be at least 1, is {chunk_rows}")
    return chunk_rows


@dataclass(frozen=True)
class Alike:
    """Pairs of the global batch that are not one another's negatives, because ids of theirs are equal.

    Attributes:
        local: this rank's ids of each kind, (B,) each.
        everywhere: those of all ranks, (G,) each.
        ways: pairs (number in `local`, number in `everywhere`); one that is equal is enough.
    """

    local: tuple[Tensor, ...]
    everywhere: tuple[Tensor, ...]
    ways: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, world: World, ids: tuple[Tensor, ...], ways: tuple[tuple[int, int], ...]) -> Alike:
        """Gathers what `ways` needs; without any, ranks exchange nothing."""
        return cls(ids, world.gather_ids(*ids) if ways else ids, ways)

    def drop(self, chunk: Chunk, values_RG: Tensor, value: float) -> Tensor:
        """Put `value` where a column is no negative of its row and not its own; in place."""
        if not self.ways:
            return values_RG
        rows = slice(chunk.first, chunk.first + chunk.rows)
        one, *others = (self.local[a][rows, None] == self.everywhere[b][None, :] for a, b in self.ways)
        for other in others:
            one |= other
        one &= ~chunk.own(values_RG.shape[1], values_RG.device)
        return values_RG.masked_fill_(one, value)


def similarities(
    chunk: Chunk, rows_RD: Tensor, columns_GD: Tensor, temperature: Callable[[Tensor], Tensor], alike: Alike
) -> Tensor:
    """(R, G) cosines over the temperature; minus infinity for what is no negative."""
    return alike.drop(chunk, temperature(rows_RD @ columns_GD.T), -torch.inf)
