"""What runs cost: time, speed, memory."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from pcclip.evaluation.finished import Finished
from pcclip.report.figures import Curve
from pcclip.report.provenance import Start, read_provenance
from pcclip.report.section import Section
from pcclip.report.tables import Table, bullets, csv_of

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
    records = [_record(run, logged) for run, logged in zip(runs, scalars, strict=True)]
    columns = [_column(record, stages) for record in records]
    names = [record["run"] for record in records]
    rows = tuple((what, *(column[what] for column in columns)) for what in columns[0])
    table = Table("Cost of each run", ("", *names), (("", rows),))
    notes = [
        "'fit' is the time from the first step to the last, validations included. Memory is that of the "
        "first rank's process, that of its workers is not in it; of the GPU's memory what PyTorch allocated."
    ]
    again = [run for run in runs if (known := read_provenance(run.folder)) and len(known.starts) > 1]
    notes += [
        f"{run.folder.parent.name}/{run.folder.name} was resumed: seconds, speed and memory are those of the "
        "last start alone."
        for run in again
    ]
    page, text = bullets(notes)
    return Section("Cost", table.html() + page, f"{table.markdown()}\n{text}", csv_of(records))


def _record(run: Finished, logged: Mapping[str, Curve]) -> dict[str, Any]:
    """What is known of a run, in seconds, bytes and fractions; absent where it was not recorded."""
    cost, known = run.summary.get("cost") or {}, read_provenance(run.folder)
    found = {
        "run": f"{run.folder.parent.name}/{run.folder.name}",
        "device": device_of(known.starts[-1]) if known and known.starts else None,
        "precision": run.summary.get("precision"),
        "steps": run.summary.get("steps"),
        **{name: _median(cost, logged, name) for name in _LOGGED},
        **{f"seconds_{stage}": seconds for stage, seconds in run.summary.get("seconds", {}).items()},
        "peak_memory_bytes": cost.get("peak_memory_bytes"),
        "peak_gpu_memory_bytes": cost.get("peak_gpu_memory_bytes"),
    }
    return {name: value for name, value in found.items() if value is not None}


def _column(record: Mapping[str, Any], stages: Sequence[str]) -> dict[str, str]:
    speed, waits = (record.get(name) for name in _LOGGED)
    held, gpu = record.get("peak_memory_bytes"), record.get("peak_gpu_memory_bytes")
    return {
        "device": record.get("device", _UNKNOWN),
        "precision": record.get("precision", _UNKNOWN),
        "steps": f"{record['steps']:,}" if "steps" in record else _UNKNOWN,
        "samples/s (median)": _UNKNOWN
        if speed is None
        else f"{speed:,.0f}"
        if speed >= 100
        else f"{speed:.3g}",
        "waiting for data (median)": _UNKNOWN if waits is None else f"{100 * waits:.1f} %",
        **{
            f"{stage.replace('_', ' ')}, s": f"{record[f'seconds_{stage}']:,.1f}"
            if f"seconds_{stage}" in record
            else ""
            for stage in stages
        },
        "peak memory, MiB": f"{held / _MIB:,.0f}" if held else _UNKNOWN,
        "peak memory of the GPU, MiB": f"{gpu / _MIB:,.0f}" if gpu else "no GPU" if held else _UNKNOWN,
    }


def median_speed(run: Finished, logged: Mapping[str, Curve]) -> float | None:
    """Samples per second, all ranks; None where that is not known."""
    return _median(run.summary.get("cost") or {}, logged, "samples_per_second")


def device_of(start: Start) -> str:
    """What a run trained on, in a few words: GPUs, or the processor."""
    of = start.machine
    return f"{of.processes} x {of.gpu}" if of.gpu else f"{of.processor}, {of.cores} cores"


def _median(cost: Mapping[str, Any], logged: Mapping[str, Curve], name: str) -> float | None:
    if cost.get(name) is not None:
        return float(cost[name])
    curve = logged.get(f"train/{name}")
    return statistics.median(value for _, value in curve) if curve else None
