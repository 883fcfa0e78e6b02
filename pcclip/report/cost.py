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
    columns = [_column(run, logged, stages) for run, logged in zip(runs, scalars, strict=True)]
    names = [f"{run.folder.parent.name}/{run.folder.name}" for run in runs]
    rows = tuple((what, *(column[what] for column in columns)) for what in columns[0])
    table = Table("Cost of each run", ("", *names), (("", rows),))
    notes = [
        "'fit' is the time from the first step to the last, validations included. Memory is that of the "
        "first rank's process; that of its workers is not in it."
    ]
    again = [run for run in runs if (known := read_provenance(run.folder)) and len(known.starts) > 1]
    notes += [
        f"{run.folder.parent.name}/{run.folder.name} was resumed: seconds, speed and memory are those of the "
        "last start alone."
        for run in again
    ]
    page, text = bullets(notes)
    return Section("Cost", table.html() + page, f"{table.markdown()}\n{text}", table.csv())


def _column(run: Finished, logged: Mapping[str, Curve], stages: Sequence[str]) -> dict[str, str]:
    seconds, cost = run.summary.get("seconds", {}), run.summary.get("cost") or {}
    speed, waits = (_median(cost, logged, name) for name in _LOGGED)
    held, gpu = cost.get("peak_memory_bytes"), cost.get("peak_gpu_memory_bytes")
    return {
        "steps": f"{run.summary['steps']:,}" if "steps" in run.summary else _UNKNOWN,
        "samples/s (median)": _UNKNOWN
        if speed is None
        else f"{speed:,.0f}"
        if speed >= 100
        else f"{speed:.3g}",
        "waiting for data (median)": _UNKNOWN if waits is None else f"{100 * waits:.1f} %",
        **{
            f"{stage.replace('_', ' ')}, s": f"{seconds[stage]:,.1f}" if stage in seconds else ""
            for stage in stages
        },
        "peak memory, MiB": f"{held / _MIB:,.0f}" if held else _UNKNOWN,
        "peak memory of the GPU, MiB": f"{gpu / _MIB:,.0f}" if gpu else "no GPU" if held else _UNKNOWN,
    }


def _median(cost: Mapping[str, Any], logged: Mapping[str, Curve], name: str) -> float | None:
    if cost.get(name) is not None:
        return float(cost[name])
    curve = logged.get(f"train/{name}")
    return statistics.median(value for _, value in curve) if curve else None
