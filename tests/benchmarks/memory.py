"""Peak memory of a piece of work: of the GPU's allocator, or resident memory of this process."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn


@dataclass
class Peak:
    """Bytes, known after the work."""

    bytes: float = 0.0


@contextmanager
def emptied(module: nn.Module) -> Iterator[None]:
    """Leaves no gradients, nor memory that an allocator keeps, before and after."""
    _empty(module)
    yield
    _empty(module)


def _empty(module: nn.Module) -> None:
    module.zero_grad(set_to_none=True)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """The most memory that was in use at a time, the model's own included."""
    peak = Peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak of resident memory starts anew
    yield peak
    if device.type == "cuda":
        peak.bytes = torch.cuda.max_memory_allocated()
    else:
        line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
        peak.bytes = 1024 * int(line.split()[1])
