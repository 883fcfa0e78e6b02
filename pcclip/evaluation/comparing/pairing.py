"""Results of several models put together picture by picture: changes, and means over seeds."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from pcclip.evaluation.protocol import Results
from pcclip.evaluation.statistics import Observations, Parts, Statistic


def only(results: Results, metrics: Collection[str]) -> Results:
    """The results of some metrics, with no more observations than these rest on."""
    kept = {name: parts for name, parts in results.metrics.items() if name in metrics}
    columns: dict[str, dict[str, None]] = {}
    for parts in kept.values():
        for group, column in parts:
            columns.setdefault(group, {})[column] = None
    groups = {
        name: Observations(
            results.groups[name].first,
            results.groups[name].second,
            {column: results.groups[name].scores[column] for column in names},
        )
        for name, names in columns.items()
    }
    statistics = {name: one for name, one in results.statistics.items() if name in metrics}
    return Results(results.evaluated, results.pictures, groups, kept, results.change, statistics)


def paired_change(after: Results, before: Results) -> Results:
    """The change in all metrics that both have of the same pictures and pairs; others drop out."""
    if (after.evaluated, after.pictures) != (before.evaluated, before.pictures):
        return Results(after.evaluated, after.pictures, {}, {}, change=True)
    same = {
        name
        for name, parts in after.metrics.items()
        if before.metrics.get(name) == parts
        and all(after.groups[group].same_units(before.groups[group]) for group, _ in parts)
    }
    same |= {
        name
        for name, one in after.statistics.items()
        if name in before.statistics and one.replicates.shape == before.statistics[name].replicates.shape
    }
    return only(after, same).minus(only(before, same))


def mean_over_runs(results: Sequence[Results]) -> Results:
    """The mean over runs (seeds) of every metric that all have.

    All runs share each bootstrap draw of pictures, so intervals of the mean are over pictures alone: with
    seeds held fixed, they say nothing about other seeds.

    Args:
        results: Of one set, at least one. Where runs have seen different pairs, each keeps its own.
    """
    first = results[0]
    if len(results) == 1:
        return first
    metrics = {
        name: parts
        for name, parts in first.metrics.items()
        if all(other.metrics.get(name) == parts for other in results)
    }
    needed = dict.fromkeys(group for parts in metrics.values() for group, _ in parts)
    shared = {
        group
        for group in needed
        if all(first.groups[group].same_units(other.groups[group]) for other in results)
    }
    groups = {group: _mean([other.groups[group] for other in results]) for group in shared}
    for number, other in enumerate(results):
        groups |= {_own(group, number): other.groups[group] for group in needed if group not in shared}
    numbers = range(len(results))
    averaged: dict[str, Parts] = {
        name: parts
        if all(group in shared for group, _ in parts)
        else tuple((g if g in shared else _own(g, n), c) for n in numbers for g, c in parts)
        for name, parts in metrics.items()
    }
    statistics = {
        name: Statistic(
            float(np.mean([other.statistics[name].value for other in results])),
            np.mean([other.statistics[name].replicates for other in results], axis=0),
            one.n,
            one.clusters,
        )
        for name, one in first.statistics.items()
        if all(
            name in other.statistics and other.statistics[name].replicates.shape == one.replicates.shape
            for other in results
        )
    }
    return Results(first.evaluated, first.pictures, groups, averaged, first.change, statistics)


def _mean(seen: Sequence[Observations]) -> Observations:
    columns = [name for name in seen[0].scores if all(name in one.scores for one in seen)]
    scores = {
        name: np.stack([one.scores[name] for one in seen]).mean(axis=0, dtype=np.float64).astype(np.float32)
        for name in columns
    }
    return Observations(seen[0].first, seen[0].second, scores)


def _own(group: str, number: int) -> str:
    return f"{group} of run {number}"
