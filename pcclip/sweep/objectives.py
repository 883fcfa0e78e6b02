"""What a trial is judged by: paired changes of validation metrics from base to tuned, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from pcclip.errors import PcclipError
from pcclip.evaluation.measured import RESULTS, Measured
from pcclip.evaluation.protocol import Results
from pcclip.evaluation.statistics import Estimate, Statistic

GAIN = ("difference/*-mean/two_alternative", "difference/*-mean-unseen/two_alternative")
COST = ("zero_shot/*/top1",)


@dataclass(frozen=True)
class Objective:
    """One objective of one trial.

    Attributes:
        mean: Over its runs, with the paired 95 % interval over pictures.
        by_run: The change of each run.
    """

    mean: Estimate
    by_run: tuple[float, ...]


def changes(runs: Sequence[Path], suite: str, objectives: Sequence[Sequence[str]]) -> list[Objective]:
    """How metrics of runs have changed: the mean over metrics of a set, over sets, over runs.

    Pictures are resampled together for all metrics and all runs. Of zero-shot metrics those of a part of the
    pictures (held-out combinations) do not count: those pictures are in the others.

    Args:
        runs: Run folders that differ in their seed.
        suite: Whose results are read, RUN/results/SUITE/{base,tuned}.
        objectives: For each one patterns of metrics, of which at least one is there.

    Returns:
        One per objective.

    Raises:
        PcclipError: A run has no such results, no metric matches, or a change is not a number.
    """
    by_run = [[_mean_over_sets(run, suite, globs) for run in runs] for globs in objectives]
    found = []
    for globs, statistics in zip(objectives, by_run, strict=True):
        mean = _mean(statistics).estimate()
        if mean.value != mean.value:
            raise PcclipError(f"{runs[0].parent}: the change of {' and '.join(globs)} is not a number")
        found.append(Objective(mean, tuple(one.value for one in statistics)))
    return found


def level(runs: Sequence[Path], suite: str, globs: Sequence[str]) -> float | None:
    """Mean of the base model's metrics that match, over sets and runs; None where none does."""
    levels = []
    for run in runs:
        for results in Measured.load(run / RESULTS / suite / "base").values():
            values = results.values()
            if names := _names(results, globs):
                levels.append(float(np.mean([values[name] for name in names])))
    return float(np.mean(levels)) if levels else None


def _mean_over_sets(run: Path, suite: str, globs: Sequence[str]) -> Statistic:
    folder = run / RESULTS / suite
    tuned, base = (Measured.load(folder / stage) for stage in ("tuned", "base"))
    if not tuned or not base:
        raise PcclipError(f"{folder}: holds no results of base and tuned. Remove {run}; it is fitted again")
    sets = []
    for number, results in enumerate(tuned.minus(base).values()):
        if names := _names(results, globs):
            chosen = replace(
                results,
                metrics={name: results.metrics[name] for name in names if name in results.metrics},
                statistics={name: results.statistics[name] for name in names if name in results.statistics},
            )
            sets.append(_mean(list(chosen.sampled(seed=number).values())))  # sets do not share pictures
    if not sets:
        there = ", ".join(list(tuned.values_by_name())[:5])
        raise PcclipError(
            f"{folder}: no metric matches {' or '.join(globs)}; there are {there} ... Add the protocol to "
            "the fit's evaluations, or name other metrics under `gain` and `cost`"
        )
    return _mean(sets)


def _names(results: Results, globs: Sequence[str]) -> list[str]:
    return [
        name
        for name in (*results.metrics, *results.statistics)
        if any(fnmatchcase(name, glob) for glob in globs) and _is_of_all_pictures(results, name)
    ]


def _is_of_all_pictures(results: Results, name: str) -> bool:
    parts = results.metrics.get(name, ())
    return not name.startswith("zero_shot/") or all(
        len(results.groups[group].first) == results.pictures for group, _ in parts
    )


def _mean(statistics: Sequence[Statistic]) -> Statistic:
    return Statistic(
        float(np.mean([one.value for one in statistics])),
        np.mean([one.replicates for one in statistics], axis=0),
        min(one.n for one in statistics),
        min(one.freedom + 1 for one in statistics),
    )
