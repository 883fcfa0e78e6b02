"""Beside a verdict, in lines: what was measured and how, what the training took, and what fell most."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from statistics import mean

from pcclip.data.progress import duration
from pcclip.evaluation.comparing.comparison import Comparison
from pcclip.evaluation.comparing.experiments import Experiment
from pcclip.evaluation.comparing.output import interval
from pcclip.evaluation.finished import Finished
from pcclip.report.cost import device_of, median_speed
from pcclip.report.figures import Curve
from pcclip.report.provenance import read_provenance
from pcclip.report.results import BASELINES, kind_of, kind_of_change
from pcclip.report.verdict import Line

WORDING = re.compile(r"difference[^/]*/.+-wording-(.+?)(-unseen)?/two_alternative")
"""A metric of one wording: its name, and whether it was held out."""

_FELL = 2
"""Of what fell most."""
_GIB = 2**30

Logged = Mapping[str, Curve]


def measured_line(one: Experiment, every: Comparison) -> Line:
    """On how many pictures and wordings, by which seeds, of which weights."""
    found = next(iter(one.after.values()))
    pictures = ", ".join(
        f"{results.pictures:,} pictures of {results.evaluated}" for results in found.values()
    )
    names = {row.metric for row in every.rows if (row.metric, one.name) in every.cells}
    held = [match[2] for name in names if (match := WORDING.fullmatch(name))]
    seen = held.count(None)
    wordings = f"; wordings: {seen} seen in training, {len(held) - seen} held out" if held else ""
    seeds = sorted(one.after)
    seeded = f"; seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    return Line("", f"Measured: {pictures}{wordings}{seeded}; {_weights(one, every.stage)}.")


def _weights(one: Experiment, stage: str) -> str:
    alphas = ", ".join(f"{one.alphas[seed]:g}" for seed in sorted(one.alphas))
    alphas += " (by seed)" if len(one.alphas) > 1 else ""
    if stage == "interpolated":
        return f"weights between base (0) and tuned (1) at alpha {alphas}, chosen on validation data"
    if not alphas:
        return "tuned weights"
    return (
        f"tuned weights as trained. Of weights between base (0) and tuned (1) validation data chose alpha "
        f"{alphas}: see --stage interpolated"
    )


def took_line(runs: Sequence[tuple[Finished, Logged]]) -> Line | None:
    """Time, speed and memory of the runs of an experiment, means over them; None where nothing is known."""
    seconds = [run.summary["seconds"] for run, _ in runs if "fit" in run.summary.get("seconds", {})]
    if not seconds:
        return None
    fit, rest = mean(one["fit"] for one in seconds), mean(sum(one.values()) - one["fit"] for one in seconds)
    facts = [f"{run.summary['steps']:,} steps" for run, _ in runs[:1] if "steps" in run.summary]
    if speeds := [speed for run, logged in runs if (speed := median_speed(run, logged)) is not None]:
        facts.append(f"{mean(speeds):,.0f} samples/s")
    for name, of in (("peak_memory_bytes", "of memory"), ("peak_gpu_memory_bytes", "of the GPU's")):
        if peaks := [peak for run, _ in runs if (peak := (run.summary.get("cost") or {}).get(name))]:
            facts.append(f"{max(peaks) / _GIB:.1f} GiB {of}")
    known = read_provenance(runs[0][0].folder)
    on = f" on {device_of(known.starts[-1])}" if known and known.starts else ""
    each = " each, on average" if len(seconds) > 1 else ""
    told = f" ({', '.join(facts)})" if facts else ""
    return Line("", f"Took: {duration(fit)} of training{each}{told} and {duration(rest)} of evaluations{on}.")


def fell_lines(every: Comparison, main: Comparison, name: str) -> Iterator[Line]:
    """What fell most, significantly, beyond what the verdict names: single wordings, attributes, ...

    Args:
        every: All measures.
        main: Those that the verdict names.
        name: Of the experiment.
    """
    told = {row.metric for row in main.rows}
    lost = [
        (row, cell.value, cell.change)
        for row in every.rows
        if kind_of(row) != BASELINES
        and row.metric not in told
        and (cell := every.cells.get((row.metric, name))) is not None
        and cell.change is not None
        and cell.change.significant
        and kind_of_change(row, cell.change) == "loss"
    ]
    lost.sort(key=lambda one: -abs(one[2].pictures.value) / one[0].unit)
    for row, value, change in lost[:_FELL]:
        number = row.number
        yield Line(
            "loss",
            f"Of the rest fell most: {row.label}: {number(value - change.pictures.value)} → {number(value)}"
            f"{' %' * row.share}, {number(change.pictures.value, sign=True)} "
            f"{interval(row, change.pictures, '')}: ▼ worse.",
        )
    if len(lost) > _FELL:
        yield Line(
            "loss",
            f"{len(lost) - _FELL} more of the {len(every.rows)} measures fell significantly: What got worse.",
        )
