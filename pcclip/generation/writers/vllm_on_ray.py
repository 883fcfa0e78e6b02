"""The vLLM engine on every worker of a Ray cluster, in a shape that an overlay can give any recipe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from pcclip.generation.writers.base import Answer, Request
from pcclip.generation.writers.ray_cluster import RayWorkers
from pcclip.generation.writers.ray_pool import RayPool
from pcclip.generation.writers.vllm_engine import VllmEngine


@dataclass
class VllmOnRay(VllmEngine):
    """A `RayPool` of `VllmEngine`s.

    An overlay that names this class keeps all settings that a recipe gives its `VllmEngine`.

    Args:
        workers: How many engines, and where.
    """

    incidental: ClassVar[tuple[str, ...]] = (*VllmEngine.incidental, "workers")

    workers: RayWorkers = field(default_factory=RayWorkers)

    def __post_init__(self) -> None:
        """Makes the pool; no cluster is touched yet."""
        super().__post_init__()
        settings = {f.name: getattr(self, f.name) for f in fields(VllmEngine)}
        self._pool = RayPool(VllmEngine(**settings), self.workers)

    def describe(self) -> dict[str, Any]:
        """As the engine alone."""
        return self._pool.describe()

    def statistics(self) -> dict[str, int]:
        """The pool's."""
        return self._pool.statistics()

    def write(self, requests: Iterator[Request]) -> Iterator[Answer | None]:
        """Answers as they come from the workers."""
        return self._pool.write(requests)

    def close(self) -> None:
        """Ends the workers."""
        self._pool.close()
