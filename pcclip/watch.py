"""A look at every loss that does not make the host wait for the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Stop = Callable[[int, dict[str, float], Mapping[str, Any]], None]
"""Gets the step, its losses by name, and what was noted of its batch; raises."""


@dataclass(frozen=True)
class _Noted:
    step: int
    names: tuple[str, ...]
    values: Tensor
    ready: torch.cuda.Event | None
    batch: Mapping[str, Any]


class LossWatch:
    """Calls `stop` where a loss is not finite.

    On a CPU that is at once. A GPU runs behind the host and would idle if every loss were waited for: there
    the loss of a step is looked at when the next one has been noted, or when someone asks (`check`: before a
    checkpoint, so that none is written after such a step).

    Args:
        stop: See `Stop`.
    """

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._noted: _Noted | None = None

    def note(self, step: int, losses: Mapping[str, Tensor], batch: Mapping[str, Any]) -> None:
        """Remember the losses of a step, and look at those of the step before."""
        values = torch.stack([loss.detach().float() for loss in losses.values()])
        ready = None
        if values.is_cuda:
            values = values.to("cpu", non_blocking=True)
            ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
            ready.record()
        before, self._noted = self._noted, _Noted(step, tuple(losses), values, ready, batch)
        if before is not None:
            self._look(before)
        if ready is None:
            self.check()

    def check(self) -> None:
        """Look at the losses of the last step, and wait for them where need be."""
        noted, self._noted = self._noted, None
        if noted is not None:
            self._look(noted)

    def _look(self, noted: _Noted) -> None:
        if noted.ready is not None:
            noted.ready.synchronize()
        if not bool(torch.isfinite(noted.values).all()):
            losses = dict(zip(noted.names, noted.values.tolist(), strict=True))
            self._stop(noted.step, losses, noted.batch)
