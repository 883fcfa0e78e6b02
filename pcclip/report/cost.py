"""What runs cost: time, speed, memory."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from pcclip.evaluation.finished import Finished
from pcclip.report.figures import Curve
from pcclip.report.provenance import read_provenance
from pcclip.report.section import Section
from pcclip.report.tables import Table, bullets

_MIB = 2**20
_LOGGED = ("samples_per_second", "loader_wait_share")
_UNKNOWN = "not recorded"


def cost_section(runs: Sequence[Finished], scalars: Sequence[Mapping[str, Curve]]) -> Section:
    """One row per run.

    Args:
        runs: Finished ones.
        scalars: What each has logged: older runs tell their speed by that alone.
    """
    stages = list(dict.fromkeys(stage for run in runs for stage in run.summary.get("seconds", {})))
    rows = []
    for run, logged in zip(runs, scalars, strict=True):
        seconds, cost = run.summary.get("seconds", {}), run.summary.get("cost") or {}
        speed, waits = (_median(cost, logged, name) for name in _LOGGED)
        rows.append((
            f"{run.folder.parent.name}/{run.folder.name}",
            f"{run.summary['steps']:,}" if "steps" in run.summary else _UNKNOWN,
            _UNKNOWN if speed is None else f"{speed:,.4g}" if speed < 1000 else f"{speed:,.0f}",
            _UNKNOWN if waits is None else f"{100 * waits:.1f} %",
            *(f"{seconds[stage]:,.1f}" if stage in seconds else "" for stage in stages),
            *_memory(cost),
        ))  # fmt: skip
    head = ("", "steps", "samples/s, median", "waiting for data, median",
            *(f"{stage.replace('_', ' ')}, s" for stage in stages), "peak memory, MiB",
            "peak memory of the GPU, MiB")  # fmt: skip
    table = Table("Cost of each run", head, (("", tuple(rows)),))
    notes = [
        "'fit' is the time from the first step to the last, validations included. Memory is that of the first "
        "rank's process; that of its workers is not in it."
    ]
    again = [run for run in runs if (known := read_provenance(run.folder)) and len(known.starts) > 1]
    notes += [
        f"{run.folder.parent.name}/{run.folder.name} was resumed: seconds, speed and memory are those of the "
        "last start alone."
        for run in again
    ]
    page, text = bullets(notes)
    return Section("Cost", table.html() + page, f"{table.markdown()}\n{text}", table.csv())


def _median(cost: Mapping[str, Any], logged: Mapping[str, Curve], name: str) -> float | None:
    if cost.get(name) is not None:
        return float(cost[name])
    curve = logged.get(f"train/{name}")
    return statistics.median(value for _, value in curve) if curve else None


def _memory(cost: Mapping[str, Any]) -> tuple[str, str]:
    held, gpu = cost.get("peak_memory_bytes"), cost.get("peak_gpu_memory_bytes")
    if not held:
        return _UNKNOWN, _UNKNOWN
    return f"{held['process'] / _MIB:,.0f}", "no GPU" if gpu is None else f"{gpu / _MIB:,.0f}"
