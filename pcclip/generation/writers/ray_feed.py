"""What the workers of a pool get to answer, in blocks, and what has to be given out again."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from pcclip.generation.writers.base import Request

_AHEAD_ROWS = 20_000


class Feed:
    """Hands a job's requests out; knows which are unanswered.

    Args:
        requests: The job's.
        block: Rows that go to one worker together. A block ends where the first picture changes, since
            prompts about the same first picture share a prefix, but holds at most four times as many.
    """

    def __init__(self, requests: Iterator[Request], block: int) -> None:
        self._requests, self._block = requests, block
        self._next = next(requests, None)
        self._again: deque[Request] = deque()
        self._taken = 0
        self._places: dict[int, int] = {}

    @property
    def is_answered(self) -> bool:
        """Whether every request has its answer."""
        return self._next is None and not self._places

    def has_more(self) -> bool:
        """Whether there is something to hand out now.

        There is not at the end, nor while the oldest unanswered row is far behind: the job keeps the chunks
        of all rows since that one in memory.
        """
        if self._again:
            return True
        oldest = next(iter(self._places.values()), self._taken)
        full = self._taken - oldest > _AHEAD_ROWS + 4 * len(self._places)
        return self._next is not None and not full

    def take(self, wanted: int) -> list[Request]:
        """About as many requests as wanted, in whole blocks; those given back come first."""
        taken: list[Request] = []
        while len(taken) < wanted and self.has_more():
            if self._again:
                taken += [self._again.popleft() for _ in range(min(self._block, len(self._again)))]
            else:
                taken += self._fresh()
        return taken

    def answered(self, number: int) -> None:
        """Notes that a row has its answer."""
        del self._places[number]

    def give_back(self, requests: Iterable[Request]) -> None:
        """Takes back what a worker left unanswered."""
        self._again.extend(requests)

    def _fresh(self) -> Iterator[Request]:
        for count in range(1, 4 * self._block + 1):
            if (request := self._next) is None:
                return
            self._places[request.row.number] = self._taken
            self._taken += 1
            self._next = next(self._requests, None)
            yield request
            other = self._next is not None and self._next.row.image1 != request.row.image1
            if count >= self._block and other:
                return
