"""The comparison: changes with their intervals over pictures and over seeds, and what is significant."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pcclip.data.progress import progress_bar
from pcclip.errors import PcclipError
from pcclip.evaluation.comparing.experiments import Experiment
from pcclip.evaluation.comparing.pairing import mean_over_runs, only, paired_change
from pcclip.evaluation.comparing.rows import Row
from pcclip.evaluation.measured import Measured
from pcclip.evaluation.protocol import Results
from pcclip.evaluation.significance import holm, mcnemar, seeds_p_value
from pcclip.evaluation.statistics import Estimate, Statistic, mean_over_seeds

LEVEL = 0.05
SEEDS = 3
"""From this many seeds on, a change must hold over seeds too, to be called significant."""


@dataclass(frozen=True)
class Change:
    """A change of one metric, over pictures and, apart from that, over seeds.

    Attributes:
        pictures: The mean over the seeds that there are, with its interval over pictures.
        seeds: The same mean with Student's t interval over seeds; NaN ends for one seed.
        test: `bootstrap`, or `McNemar` (exact; one seed, pictures that are right or wrong).
        p_pictures: Of no change, over pictures.
        p_holm: The same corrected for the number of tests in the table.
        p_seeds: Of no change, over seeds; NaN for one seed.
        p_seeds_holm: The same corrected.
    """

    pictures: Estimate
    seeds: Estimate
    test: str
    p_pictures: float
    p_seeds: float
    p_holm: float = math.nan
    p_seeds_holm: float = math.nan

    @property
    def significant(self) -> bool:
        """Over pictures after the correction and, with `SEEDS` seeds or more, over seeds (not corrected)."""
        return self.p_holm < LEVEL and (self.seeds.n < SEEDS or self.p_seeds < LEVEL)

    @property
    def strictly(self) -> bool:
        """Significant with the test over seeds corrected as well."""
        return self.significant and self.seeds.n >= SEEDS and self.p_seeds_holm < LEVEL


@dataclass(frozen=True)
class Cell:
    """A metric of an experiment.

    Attributes:
        value: Mean over its seeds.
        change: Against the base model; None where it was not measured on the same pictures.
        over_reference: The change less that of the reference experiment; None for this itself.
    """

    value: float
    change: Change | None = None
    over_reference: Change | None = None


@dataclass(frozen=True)
class Comparison:
    """All experiments beside each other.

    Attributes:
        suite: What was measured.
        stage: Of which weights.
        rows: Metrics.
        experiments: Columns; the first is the reference.
        base: Of each metric, the base model's value, mean over the seeds of the first experiment that has it,
            with its interval over pictures.
        cells: By metric and name of the experiment, where there is one.
    """

    suite: str
    stage: str
    rows: tuple[Row, ...]
    experiments: tuple[Experiment, ...]
    base: dict[str, Estimate]
    cells: dict[tuple[str, str], Cell]

    @property
    def reference(self) -> Experiment:
        """The experiment that the others are compared with."""
        return self.experiments[0]


def compare_experiments(
    experiments: Sequence[Experiment], rows: Sequence[Row], suite: str, stage: str
) -> Comparison:
    """Measures and tests all changes of a table.

    Args:
        experiments: At least one; the first is the reference. Its base model is what models without a base of
            their own are compared with; if it is such a model itself, it is the base, and no column.
        rows: The metrics of the table.
        suite: Name of what was measured.
        stage: Name of the weights.

    Raises:
        PcclipError: There is one model only, and nothing to compare it with.
    """
    reference, *others = experiments
    if reference.is_model and not others:
        raise PcclipError(
            f"{reference.name} is a single model: name a run or another model to compare it with. Its own "
            f"numbers stand in {reference.folders[0]}/estimates.json"
        )
    bases = reference.before or reference.after
    columns = [_against(bases, one) for one in (others if reference.is_model else experiments)]
    with progress_bar(transient=True) as bar:
        task = bar.add_task("bootstrap", total=1 + len(columns))
        base = _sampled_bases(bases, columns, {m for row in rows for m in (row.metric, *row.baselines)})
        bar.advance(task)
        cells: dict[tuple[str, str], Cell] = {}
        for found in _columns(columns, {row.metric for row in rows}):
            cells |= found
            bar.advance(task)
    return Comparison(suite, stage, tuple(rows), tuple(columns), base, _corrected(cells))


def _columns(columns: Sequence[Experiment], metrics: set[str]) -> Iterator[dict[tuple[str, str], Cell]]:
    """The cells of each column, whose tests are not yet corrected for their number."""
    first: dict[int, Measured] = {}
    for place, one in enumerate(columns):
        changes = {seed: _changes(one.after[seed], one.before[seed], metrics) for seed in one.after}
        single = len(one.folders) == 1  # also a model beside several bases: training drew nothing anew
        found = tested(changes, single)
        values = _values(one, metrics)
        over: dict[str, Change] = {}
        if place == 0:
            first = changes
        else:
            common = {
                seed: _changes(changes[seed], first[seed], metrics) for seed in changes if seed in first
            }
            over = tested(common, single)
        yield {
            (metric, one.name): Cell(value, found.get(metric), over.get(metric))
            for metric, value in values.items()
        }


def _against(bases: Mapping[int, Measured], one: Experiment) -> Experiment:
    """A model gets the given base model, and stands beside each of its seeds."""
    if not one.is_model:
        return one
    return replace(one, before=dict(bases), after=dict.fromkeys(bases, one.after[0]))


def _sampled_bases(
    bases: Mapping[int, Measured], columns: Sequence[Experiment], metrics: set[str]
) -> dict[str, Estimate]:
    found = _sampled_base(list(bases.values()), metrics)
    for one in columns:  # of other sets than the reference
        if missing := metrics - found.keys():
            found |= _sampled_base(list(one.before.values()), missing)
    return found


def _sampled_base(bases: Sequence[Measured], metrics: set[str]) -> dict[str, Estimate]:
    found: dict[str, Estimate] = {}
    for name in bases[0]:
        if all(name in other for other in bases):
            found |= mean_over_runs([only(other[name], metrics) for other in bases]).estimates()
    return found


def _changes(after: Measured, before: Measured, metrics: set[str]) -> Measured:
    return Measured(
        {
            name: paired_change(only(results, metrics), only(before[name], metrics))
            for name, results in after.items()
            if name in before
        }
    )


def _values(one: Experiment, metrics: set[str]) -> dict[str, float]:
    """Mean over seeds of what every seed has."""
    by_seed = [measured.values_by_name() for measured in one.after.values()]
    return {
        name: float(np.mean([values[name] for values in by_seed]))
        for name in by_seed[0]
        if name in metrics and all(name in values for values in by_seed)
    }


def tested(changes: Mapping[int, Measured], single: bool) -> dict[str, Change]:
    """Every metric's change, means and statistics alike, not yet corrected for their number.

    Args:
        changes: Changes (`Results.change`) by seed.
        single: All seeds are of one model, so that nothing is said over seeds.
    """
    found: dict[str, Change] = {}
    measured = list(changes.values())
    for name in measured[0] if measured else ():
        if not all(name in one for one in measured):
            continue
        mean = mean_over_runs([one[name] for one in measured])
        by_seed = [one[name].values() for one in measured]
        for metric, sampled in mean.sampled().items():
            test, p_value = _test(mean, metric, sampled)
            seeds = [sampled.value] if single else [values[metric] for values in by_seed]
            found[metric] = Change(
                sampled.estimate(), mean_over_seeds(seeds), test, p_value, seeds_p_value(seeds)
            )
    return found


def _test(mean: Results, metric: str, sampled: Statistic) -> tuple[str, float]:
    parts = mean.metrics.get(metric, ())
    if len(parts) == 1:
        seen = mean.groups[parts[0][0]]
        scores = seen.scores[parts[0][1]]
        once = seen.second is None and len(np.unique(seen.first)) == len(seen.first)
        if once and np.isin(scores, (-1, 0, 1)).all():
            return "McNemar", mcnemar(scores)
    return "bootstrap", sampled.p_value()


def _corrected(cells: dict[tuple[str, str], Cell]) -> dict[tuple[str, str], Cell]:
    """Holm's correction over all changes against base, and over all against the reference."""
    out = dict(cells)
    for kind in ("change", "over_reference"):
        changes: dict[tuple[str, str], Change] = {
            key: change for key, cell in cells.items() if (change := getattr(cell, kind)) is not None
        }
        pictures = holm([change.p_pictures for change in changes.values()])
        seeds = holm([change.p_seeds for change in changes.values()])
        for (key, change), p, q in zip(changes.items(), pictures, seeds, strict=True):
            whole: Any = {kind: replace(change, p_holm=p, p_seeds_holm=q)}
            out[key] = replace(out[key], **whole)
    return out
