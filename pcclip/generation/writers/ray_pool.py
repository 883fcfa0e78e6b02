"""The writer on many machines: a writer on every worker of a Ray cluster.

Workers are actors of our own, not Ray Data's (`ray.data.llm`, or `map_batches` over an actor pool), because
the job needs what a data set does not give: answers row by row as they come, for the manifest to resume by;
errors that are one row's; a seed for every row; engines that are fed continuously, not batch after batch; and
blocks that keep the rows of one first picture, hence one cached prefix, on one engine. The job itself, its
chunks and manifest, stay where they are: a worker only answers.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from pcclip.generation.writers.base import Answer, EngineError, Request, WrappedWriter, Writer
from pcclip.generation.writers.ray_cluster import RayWorkers, connect, import_ray
from pcclip.generation.writers.ray_feed import Feed
from pcclip.generation.writers.ray_worker import RayWorker, Turn


@dataclass
class _Hand:
    """A worker as the driver knows it."""

    actor: Any
    turn: Any
    heard: float
    placed: bool = False
    under_way: dict[int, Request] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)


@dataclass
class RayPool(WrappedWriter):
    """Has a writer write on every worker of a Ray cluster.

    A recipe of a vLLM engine is put on a cluster by an overlay, which makes it a `VllmOnRay`:

        pcclip write --config RECIPE.yaml --config data_recipes/overlays/ray.yaml --writer.workers.count 16

    Other writers are wrapped: `class_path: ...RayPool, init_args: {writer: ..., workers: {count: 4}}`. Both
    describe themselves as the writer alone does, so that a job can be begun on one machine and finished on a
    cluster, or the other way round. Every node needs pcclip, what the writer needs, and Ray and Python in the
    driver's versions; paths of models and interpreters are those of the node, relative ones from the driver's
    folder where the node has it.

    A worker that dies, with its node or alone, is replaced and its unanswered rows are given out again; the
    job gets one answer for every row. A writer that fails before any row is answered would fail everywhere:
    it ends the job.

    Args:
        writer: Who writes; every worker has a copy.
        workers: How many, and where.
    """

    incidental: ClassVar[tuple[str, ...]] = ("workers",)

    writer: Writer
    workers: RayWorkers = field(default_factory=RayWorkers)

    def __post_init__(self) -> None:
        """No cluster is touched yet."""
        self._hands: list[_Hand] = []
        self._past = Counter[str]()
        self._replaced = self._answered = 0
        self._started_ray = False

    def statistics(self) -> dict[str, int]:
        """Workers at work and replaced, and the counts of all their writers."""
        counts = Counter(self._past)
        for hand in self._hands:
            counts.update(hand.counts)
        placed = sum(hand.placed for hand in self._hands)
        return {"workers": placed, "workers replaced": self._replaced} | dict(counts)

    def write(self, requests: Iterator[Request]) -> Iterator[Answer | None]:
        """Answers as they come from the workers.

        Raises:
            EngineError: Ray is missing, there is no such cluster or no place in it, more workers died than
                `restarts` allows, or the writer cannot start.
        """
        ray, self._started_ray = connect(self.workers)
        try:
            feed = Feed(requests, self.workers.block)
            self._hands = [self._hire(ray) for _ in range(self.workers.count)]
            while not feed.is_answered:
                ready, _ = ray.wait([hand.turn for hand in self._hands], timeout=1.0)
                if ready:
                    ready, _ = ray.wait(
                        [hand.turn for hand in self._hands], num_returns=len(self._hands), timeout=0
                    )
                answered = self._answered
                for hand in list(self._hands):
                    yield from self._hear(ray, hand, ready, feed)
                if self._answered == answered:
                    yield None
                self._check_placed(ray)
        finally:
            self.close()

    def close(self) -> None:
        """Ends the workers, and the cluster if it was started for them."""
        if not self._hands and not self._started_ray:
            return
        ray = import_ray()
        for hand in self._hands:
            self._past.update(hand.counts)
            with contextlib.suppress(Exception):
                ray.kill(hand.actor)
        self._hands = []
        if self._started_ray:
            self._started_ray = False
            ray.shutdown()

    def _hire(self, ray: Any) -> _Hand:
        settings = self.workers
        worker = ray.remote(RayWorker).options(
            num_cpus=settings.num_cpus,
            num_gpus=settings.num_gpus,
            resources=settings.resources or None,
            scheduling_strategy="SPREAD",
            max_restarts=0,
        )
        actor = worker.remote(self.writer, 2 * settings.block, os.getcwd())
        return _Hand(actor, actor.turn.remote([], True), time.monotonic())

    def _hear(self, ray: Any, hand: _Hand, ready: list[Any], feed: Feed) -> list[Answer]:
        """Takes a worker's answers and gives it what it has room for; replaces it where it died."""
        if hand.turn not in ready:
            silent = time.monotonic() - hand.heard
            if hand.placed and silent > self.workers.silent_seconds:
                self._replace(ray, hand, feed, f"no sign of life for {silent:.0f} seconds")
            return []
        try:
            turn: Turn = ray.get(hand.turn)
        except ray.exceptions.RayTaskError as error:
            raise EngineError(
                f"writer: a worker cannot work: {str(error).strip()[-1500:]}\nEvery node needs pcclip and "
                "what the writer needs, in the driver's versions; Ray's 'runtime_env' can bring them."
            ) from None
        except ray.exceptions.RayError as error:
            self._replace(ray, hand, feed, str(error).strip())
            return []
        hand.heard, hand.placed, hand.counts = time.monotonic(), True, turn.counts
        for answer in turn.answers:
            del hand.under_way[answer.number]
            feed.answered(answer.number)
        self._answered += len(turn.answers)
        if turn.failed is not None:
            if not self._answered:
                raise EngineError(turn.failed)
            self._replace(ray, hand, feed, turn.failed)
            return turn.answers
        requests = feed.take(turn.wanted)
        hand.under_way |= {request.row.number: request for request in requests}
        hand.turn = hand.actor.turn.remote([_light(request) for request in requests], feed.has_more())
        return turn.answers

    def _replace(self, ray: Any, hand: _Hand, feed: Feed, why: str) -> None:
        if self._replaced >= self.workers.restarts:
            raise EngineError(
                f"writer: {self._replaced + 1} workers died, more than workers.restarts "
                f"{self.workers.restarts} allows. The last: {why[:1500]}"
            )
        self._replaced += 1
        with contextlib.suppress(Exception):  # dead already, or its node is
            ray.kill(hand.actor)
        self._past.update(hand.counts)
        feed.give_back(hand.under_way.values())
        self._hands[self._hands.index(hand)] = self._hire(ray)

    def _check_placed(self, ray: Any) -> None:
        waiting = time.monotonic() - min(hand.heard for hand in self._hands)
        if waiting < self.workers.start_seconds or any(hand.placed for hand in self._hands):
            return
        settings = self.workers
        raise EngineError(
            f"writer.workers: no place for a worker in {waiting:.0f} seconds. It needs num_cpus "
            f"{settings.num_cpus:g}, num_gpus {settings.num_gpus:g}, resources {settings.resources}; the "
            f"cluster has {ray.cluster_resources()}. Lower those, or add nodes."
        )


def _light(request: Request) -> Request:
    """The request without its pictures, whose index is large; what is shown of them is in the messages."""
    return replace(request, row=replace(request.row, picture1=None, picture2=None))
