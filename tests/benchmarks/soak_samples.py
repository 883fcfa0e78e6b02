"""What a process holds, sampled over time, and whether any of it grows."""

from __future__ import annotations

import atexit
import csv
import ctypes
import gc
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import psutil

MIB = 2**20
_LIBC = ctypes.CDLL(None)


@dataclass(frozen=True)
class Sample:
    """What this process holds after a round, garbage collected and free memory given back.

    Attributes:
        round: Number of the round.
        seconds: Since the start.
        rss: Resident memory in MiB.
        uss: The part of it that no other process shares, in MiB.
        descriptors: Open file descriptors.
        maps: Memory maps.
        threads: Of this process.
        children: Processes below this one.
        temporary_files: Files and folders under TMPDIR.
        left_files: Files and folders in the working folder that were not there at the start.
        locks: File locks that this process holds, by /proc/locks.
        objects: That the garbage collector knows.
        handlers: Of all loggers.
        exits: Functions registered to run at the interpreter's end.
        figures: That matplotlib keeps open.
    """

    round: int
    seconds: float
    rss: float
    uss: float
    descriptors: int
    maps: int
    threads: int
    children: int
    temporary_files: int
    left_files: int
    locks: int
    objects: int
    handlers: int
    exits: int
    figures: int


MEMORY = ("rss", "uss")
COUNTS = tuple(f.name for f in fields(Sample) if f.name not in ("round", "seconds", *MEMORY))


def sample(number: int, seconds: float, temporary: Path, work: Path) -> Sample:
    """Collects garbage, gives free memory back, and looks."""
    gc.collect()
    _LIBC.malloc_trim(0)
    me = psutil.Process()
    memory = me.memory_full_info()
    own = f" {os.getpid()} "
    return Sample(
        number,
        round(seconds, 2),
        memory.rss / MIB,
        memory.uss / MIB,
        me.num_fds(),
        len(me.memory_maps(grouped=False)),
        me.num_threads(),
        len(me.children(recursive=True)),
        sum(1 for _ in temporary.rglob("*")),
        sum(1 for _ in work.rglob("*")),
        sum(own in line for line in Path("/proc/locks").read_text().splitlines()),
        len(gc.get_objects()),
        sum(len(getattr(one, "handlers", ())) for one in logging.Logger.manager.loggerDict.values()),
        atexit._ncallbacks(),
        _figures(),
    )


def _figures() -> int:
    import sys

    pyplot = sys.modules.get("matplotlib.pyplot")
    return 0 if pyplot is None else len(pyplot.get_fignums())


@dataclass(frozen=True)
class Line:
    """How a quantity goes with the rounds, by least squares.

    Attributes:
        name: Of the quantity.
        first: Its value in the first round that counts.
        last: In the last one.
        slope: Per round.
        low: Lower end of the slope's 95 % interval.
        high: Upper end.
    """

    name: str
    first: float
    last: float
    slope: float
    low: float
    high: float


def line(samples: Sequence[Sample], name: str) -> Line:
    """The line through a quantity; the interval takes the rounds for independent."""
    from scipy.stats import linregress, t

    values = [float(getattr(one, name)) for one in samples]
    if min(values) == max(values):  # no scatter to reckon an interval from
        return Line(name, values[0], values[0], 0.0, 0.0, 0.0)
    found = linregress([one.round for one in samples], values)
    half = float(t.ppf(0.975, len(samples) - 2)) * float(found.stderr)
    slope = float(found.slope)
    return Line(name, values[0], values[-1], slope, slope - half, slope + half)


def write_csv(samples: Sequence[Sample], file: Path) -> None:
    """One row per sample."""
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, [f.name for f in fields(Sample)])
        writer.writeheader()
        writer.writerows({k: round(v, 3) for k, v in asdict(one).items()} for one in samples)


def plot(samples: Sequence[Sample], warm_up: int, file: Path) -> None:
    """Every quantity against the rounds; the warm-up is shaded."""
    from matplotlib.figure import Figure

    names = [*MEMORY, *COUNTS]
    figure = Figure(figsize=(12, 9), layout="constrained")
    axes = figure.subplots(-(-len(names) // 4), 4, squeeze=False).ravel()
    for axis, name in zip(axes, names, strict=False):
        axis.plot([s.round for s in samples], [getattr(s, name) for s in samples], linewidth=0.8)
        axis.axvspan(samples[0].round, warm_up, color="0.9")
        axis.set(title=f"{name}, MiB" if name in MEMORY else name, ylim=(0, None))
    for axis in axes[len(names) :]:
        axis.set_axis_off()
    for axis in axes[-4:]:
        axis.set_xlabel("round")
    figure.savefig(file, dpi=120)
