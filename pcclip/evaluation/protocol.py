"""What every evaluation gives back, and how several of them run on one set."""

from __future__ import annotations

import json
import os
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pcclip.errors import PcclipError, writing
from pcclip.evaluation.bootstrap import bootstrap, bootstrap_means
from pcclip.evaluation.encoding.encoders import CachedEncoders
from pcclip.evaluation.sets import EvaluationSet
from pcclip.evaluation.statistics import (
    RESAMPLES,
    Estimate,
    Floats,
    Observations,
    Parts,
    Statistic,
)
from pcclip.untrusted import load_arrays, parse_json

_SCHEMA = 2


@dataclass(frozen=True)
class Results:
    """The outcome of evaluations on one set, down to the single picture and pair.

    Kept that fine so that two models on the same pictures can be compared pair by pair (`minus`), which is
    far sharper than comparing their two intervals.

    Attributes:
        evaluated: Name and split of the set: `shapes/test`.
        pictures: Number of its pictures.
        groups: Observations by name: all pictures, the pictures of one class, the pairs of one attribute.
        metrics: Every metric as the (group, column) parts that it is the mean of.
        change: Whether scores are differences between two models.
        statistics: Metrics that are no means, by name.
        notes: What a reader should see beside the numbers (confused classes, the alpha that was chosen), as
            JSON takes it.
    """

    evaluated: str
    pictures: int
    groups: dict[str, Observations]
    metrics: dict[str, Parts]
    change: bool = False
    statistics: dict[str, Statistic] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    def values(self) -> dict[str, float]:
        """Every metric by name, as a fraction, without an interval."""
        return {
            name: float(np.mean([self.groups[group].scores[column].mean(dtype=np.float64)
                                 for group, column in parts]))
            for name, parts in self.metrics.items()
        } | {name: statistic.value for name, statistic in self.statistics.items()}  # fmt: skip

    def estimates(self, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Estimate]:
        """Every metric by name, as a fraction, with its 95 % bootstrap interval over pictures.

        Args:
            resamples: Number of replicates (of the means; statistics bring theirs).
            seed: Of the resampling.
        """
        means = bootstrap(
            self.groups,
            self.metrics,
            self.pictures,
            resamples=resamples,
            seed=seed,
            proportions=not self.change,
        )
        return means | {name: statistic.estimate() for name, statistic in self.statistics.items()}

    def sampled(self, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Statistic]:
        """Every metric by name with its bootstrap replicates, means and statistics alike.

        Args:
            resamples: As in `estimates`.
            seed: As in `estimates`.
        """
        means = bootstrap_means(
            self.groups, self.metrics, self.pictures, resamples=resamples, seed=seed, changes=self.change
        )
        return means | self.statistics

    def minus(self, base: Results) -> Results:
        """The change from `base` to this, on the same pictures and pairs; its intervals are paired.

        Raises:
            PcclipError: The two were not measured on the same pictures and pairs.
        """
        same = (
            (self.evaluated, self.pictures, self.metrics) == (base.evaluated, base.pictures, base.metrics)
            and self.groups.keys() == base.groups.keys()
            and self.statistics.keys() == base.statistics.keys()
            and all(seen.same_units(base.groups[name]) for name, seen in self.groups.items())
        )
        if not same:
            raise PcclipError(
                f"results on {self.evaluated!r} ({self.pictures} pictures) and on {base.evaluated!r} "
                f"({base.pictures} pictures) cannot be compared pair by pair: they are not of the same "
                "pictures, pairs and metrics. Evaluate both models on the same set with the same seed."
            )
        groups = {
            name: Observations(
                seen.first,
                seen.second,
                {column: scores - base.groups[name].scores[column] for column, scores in seen.scores.items()},
            )
            for name, seen in self.groups.items()
        }
        statistics = {name: one.minus(base.statistics[name]) for name, one in self.statistics.items()}
        return Results(
            self.evaluated, self.pictures, groups, self.metrics, change=True, statistics=statistics
        )

    def merged(self, other: Results) -> Results:
        """These results and those of another protocol on the same set, as one.

        Raises:
            ValueError: They are of different sets, or have a metric in common.
        """
        if (self.evaluated, self.pictures, self.change) != (other.evaluated, other.pictures, other.change):
            raise ValueError(f"results on {self.evaluated} and on {other.evaluated} cannot be merged")
        both = (
            self.metrics.keys() & other.metrics.keys()
            or self.groups.keys() & other.groups.keys()
            or self.statistics.keys() & other.statistics.keys()
        )
        if both:
            raise ValueError(f"both results hold {sorted(both)}")
        return Results(
            self.evaluated,
            self.pictures,
            self.groups | other.groups,
            self.metrics | other.metrics,
            self.change,
            self.statistics | other.statistics,
            self.notes | other.notes,
        )

    def save(self, path: Path) -> None:
        """Writes everything to one `.npz`, complete or not at all; no pickle in it."""
        arrays: dict[str, Floats | np.ndarray] = {}
        layout: dict[str, list[str]] = {}
        for number, (name, seen) in enumerate(self.groups.items()):
            layout[name] = list(seen.scores)
            arrays[f"{number}.first"] = seen.first
            if seen.second is not None:
                arrays[f"{number}.second"] = seen.second
            arrays[f"{number}.scores"] = np.stack(list(seen.scores.values()))
        for number, statistic in enumerate(self.statistics.values()):
            arrays[f"statistic{number}"] = statistic.replicates
        header = {
            "schema": _SCHEMA,
            "evaluated": self.evaluated,
            "pictures": self.pictures,
            "change": self.change,
            "groups": layout,
            "metrics": self.metrics,
            "statistics": {name: [one.value, one.n] for name, one in self.statistics.items()},
            "notes": self.notes,
        }
        arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp.npz")
        try:
            with writing(path):
                np.savez_compressed(temporary, allow_pickle=False, **arrays)  # type: ignore[arg-type]
                os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path) -> Results:
        """Reads what `save` wrote.

        Raises:
            PcclipError: The file is absent, damaged, or of another version.
        """
        try:
            stored = load_arrays(path)
            header = parse_json(stored["header"].tobytes())
            if header["schema"] != _SCHEMA:
                raise ValueError(f"schema {header['schema']!r}, not {_SCHEMA}")
            groups = {
                name: Observations(
                    stored[f"{number}.first"],
                    stored.get(f"{number}.second"),
                    dict(zip(columns, stored[f"{number}.scores"], strict=True)),
                )
                for number, (name, columns) in enumerate(header["groups"].items())
            }
            statistics = {
                name: Statistic(value, stored[f"statistic{number}"], n)
                for number, (name, (value, n)) in enumerate(header["statistics"].items())
            }
            metrics = {name: tuple((g, c) for g, c in parts) for name, parts in header["metrics"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise PcclipError(f"{path}: no results of an evaluation ({error}). Evaluate again.") from error
        return cls(
            header["evaluated"],
            header["pictures"],
            groups,
            metrics,
            header["change"],
            statistics,
            header["notes"],
        )


@dataclass(frozen=True)
class Subject:
    """A model on one split of an evaluation set: all that a protocol sees.

    Attributes:
        encoders: The model's.
        data: The split.
        features: (N, D) unit embeddings of its pictures by the model, in its order.
        other_split: The same model on another split of the set, by name.
        before: The model before its finetuning, on the same split; None where this is that model.
    """

    encoders: CachedEncoders
    data: EvaluationSet
    features: Floats
    other_split: Callable[[str], Subject] | None = None
    before: Callable[[], Subject] | None = None

    def split(self, name: str) -> Subject:
        """The model on another split of the set, for whatever is chosen or learned there.

        Raises:
            PcclipError: The set has no such split.
        """
        if name == self.data.split:
            return self
        if self.other_split is None:
            raise PcclipError(
                f"{self.data.path}: only its split {self.data.split!r} is at hand, not {name!r}"
            )
        return self.other_split(name)

    def base(self) -> Subject:
        """The model before its finetuning on the same split; this one where there is none."""
        return self if self.before is None else self.before()


class EvaluationProtocol(ABC):
    """One way of measuring a model on an evaluation set.

    Attributes:
        name: What its metrics' names start with.
    """

    name: ClassVar[str]

    @abstractmethod
    def run(self, subject: Subject) -> Results:
        """Measures.

        Raises:
            PcclipError: The set lacks what this protocol needs.
        """


def evaluate(
    protocols: Sequence[EvaluationProtocol], subject: Subject, after_each: Callable[[], None] = lambda: None
) -> Results:
    """Runs several protocols on one set; a text that two of them ask for is encoded once.

    Args:
        protocols: At least one.
        subject: The model and the set.
        after_each: Called after every protocol, to show progress.

    Raises:
        PcclipError: A protocol does not fit the set, or there are no protocols.
    """
    if not protocols:
        raise PcclipError("no evaluation protocols were given: name at least one")
    whole: Results | None = None
    for protocol in protocols:
        results = protocol.run(subject)
        whole = results if whole is None else whole.merged(results)
        after_each()
    assert whole is not None
    return whole
