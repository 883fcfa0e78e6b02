"""One measured point is one process, so that its memory is its own: a fork of this one, imports done."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import statistics
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_M_MMAP_THRESHOLD = -3  # of malloc.h
CLOCK = "PCCLIP_SCALING_CLOCK"
"""Environment variable: `wall`, or `cpu` for a machine that others use too (waiting does not count then)."""

Settings = dict[str, Any]
Figures = dict[str, float]
Point = dict[str, Any]
"""Settings and figures of one process."""


@dataclass(frozen=True)
class Curve:
    """What is measured against what.

    Attributes:
        name: of the files.
        measure: the figures of one point, from its settings.
        x: the setting that grows.
        measures: name of each figure and its unit; one panel each.
        settings: what `measure` is called with, in the order of the run; all have `x`.
        series: the setting that tells lines apart.
        flat: figures that should not grow at all; the others should grow linearly, at most.
        exact_memory: measure `peak` in a process of its own that returns freed memory at once. Without it the
            allocator's slack counts, which is what a user sees; with it times are not those of a user.
        derive: adds figures that need all points.
    """

    name: str
    measure: Callable[..., Figures]
    x: str
    measures: dict[str, str]
    settings: Sequence[Settings]
    series: str
    flat: Sequence[str] = ()
    exact_memory: bool = False
    derive: Callable[[list[Point]], None] | None = None


def measure_point(curve: Curve, settings: Settings) -> Point:
    """Settings and figures of one point.

    Raises:
        RuntimeError: the process failed; with what it raised.
    """
    figures = _forked(curve.measure, settings, False)
    if curve.exact_memory:
        figures["peak"] = _forked(curve.measure, settings, True)["peak"]
    return settings | figures


def _forked(measure: Callable[..., Figures], settings: Settings, exact_memory: bool) -> Figures:
    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(measure, settings, exact_memory, sending))
    process.start()
    sending.close()
    try:
        figures: Figures | str = receiving.recv()
    except EOFError:
        figures = "the process died"
    process.join()
    if isinstance(figures, str):
        raise RuntimeError(f"{settings}: {figures}")
    return figures


def _child(measure: Callable[..., Figures], settings: Settings, exact_memory: bool, sending: Any) -> None:
    if exact_memory:
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 256 * 1024)
    try:
        sending.send(measure(**settings))
    except Exception:
        sending.send(traceback.format_exc())


class Peak:
    """Peak resident memory of this process from now on, in MiB."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again
        self.start = _status("VmRSS")

    def grown(self) -> float:
        """How far above the start this process was at most."""
        return (_status("VmHWM") - self.start) / 1024


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{name}:")))


def clock() -> float:
    """Seconds: by the wall, or of this process's work where `CLOCK` says `cpu`."""
    return time.process_time() if os.environ.get(CLOCK) == "cpu" else time.perf_counter()


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of one call by `clock`, and what it returned."""
    start = clock()
    result = call()
    return clock() - start, result


def median_seconds(call: Callable[[], Any], repeats: int) -> float:
    """Of `repeats` calls."""
    return statistics.median(timed(call)[0] for _ in range(repeats))
