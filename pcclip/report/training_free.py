"""What a finetuned model gains over what needs no finetuning: paired, on the same pictures and pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import mean

from pcclip.evaluation.comparing.comparison import Change, Comparison, tested
from pcclip.evaluation.comparing.experiments import Experiment
from pcclip.evaluation.comparing.rows import Row
from pcclip.evaluation.measured import Measured
from pcclip.evaluation.protocol import Results
from pcclip.evaluation.significance import holm
from pcclip.evaluation.statistics import Observations

_NAMES = {
    "text_difference": "text difference",
    "absolute": "absolute score",
    "word_delta": "caption difference",
    "nearest": "the picture alone",
    "caption_alone": "a caption alone",
}


@dataclass(frozen=True)
class Against:
    """A model's score beside one of the base model that needs no finetuning.

    Attributes:
        experiment: The model's.
        row: What it is asked.
        baseline: For people.
        free: The baseline's score, mean over seeds.
        value: The model's.
        change: The model's less the baseline's, paired; corrected over all of a report's.
    """

    experiment: str
    row: Row
    baseline: str
    free: float
    value: float
    change: Change


def name_of_baseline(metric: str) -> str:
    """A training-free metric's name for people."""
    score = metric.rpartition("/")[2]
    return next((name for start, name in _NAMES.items() if score.startswith(start)), score)


def against_free(comparison: Comparison) -> list[Against]:
    """Every model against every training-free baseline of its rows, tested together (Holm's correction)."""
    found = [one for experiment in comparison.experiments for one in _of(comparison, experiment)]
    p_pictures = holm([one.change.p_pictures for one in found])
    p_seeds = holm([one.change.p_seeds for one in found])
    return [
        replace(one, change=replace(one.change, p_holm=p, p_seeds_holm=q))
        for one, p, q in zip(found, p_pictures, p_seeds, strict=True)
    ]


def _of(comparison: Comparison, one: Experiment) -> Iterator[Against]:
    values = {seed: after.values_by_name() for seed, after in one.after.items()}
    bases = {seed: one.before[seed].values_by_name() for seed in one.after}
    for row in comparison.rows:
        for baseline in row.baselines:
            by_seed: dict[int, Measured] = {}
            for seed, after in one.after.items():
                for name, results in after.items():
                    before = one.before[seed].get(name)
                    if before is not None and (less := _less(results, row.metric, before, baseline)):
                        by_seed[seed] = Measured({name: less})
            if len(by_seed) == len(one.after):
                change = tested(by_seed, len(one.folders) == 1)[row.metric]
                free = mean(bases[seed][baseline] for seed in by_seed)
                value = mean(values[seed][row.metric] for seed in by_seed)
                yield Against(one.name, row, name_of_baseline(baseline), free, value, change)


def _less(after: Results, metric: str, before: Results, baseline: str) -> Results | None:
    """`metric` of one model less `baseline` of the other; None where they are not of the same pairs."""
    if metric in after.statistics and baseline in before.statistics:
        mine, theirs = after.statistics[metric], before.statistics[baseline]
        if mine.replicates.shape != theirs.replicates.shape:
            return None
        one = {metric: mine.minus(theirs)}
        return Results(after.evaluated, after.pictures, {}, {}, change=True, statistics=one)
    mine_parts, their_parts = after.metrics.get(metric, ()), before.metrics.get(baseline, ())
    if not mine_parts or [group for group, _ in mine_parts] != [group for group, _ in their_parts]:
        return None
    groups: dict[str, Observations] = {}
    for (group, column), (_, other) in zip(mine_parts, their_parts, strict=True):
        seen, base = after.groups[group], before.groups[group]
        if not seen.same_units(base):
            return None
        groups[group] = Observations(
            seen.first, seen.second, {"change": seen.scores[column] - base.scores[other]}
        )
    parts = tuple((group, "change") for group, _ in mine_parts)
    return Results(after.evaluated, after.pictures, groups, {metric: parts}, change=True)
