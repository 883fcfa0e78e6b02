"""What every change retrieval shares: the search, the choice of the weight, the curve over the weight."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pcclip.errors import PcclipError
from pcclip.evaluation.bootstrap import bootstrap
from pcclip.evaluation.protocol import EvaluationProtocol, Results, Subject
from pcclip.evaluation.protocols.difference_cases import Truth
from pcclip.evaluation.protocols.difference_tasks import Found, Gallery, PictureSearch
from pcclip.evaluation.protocols.found_tables import UNSEEN, FoundTable
from pcclip.evaluation.statistics import Floats, Indices, Observations, Parts

Weights = dict[str, float]
_Point = tuple[str, float | None]
"""A method and a weight; None for the direction without the picture."""


@dataclass(frozen=True)
class ChangeQueries:
    """Q queries of one question, or of one group of a table.

    Attributes:
        name: Of the question or group; "" for neither.
        first: (Q,) picture index.
        right: (Q, G) which candidates are right, at least one for each query.
        directions: (Q, D) what is added to the picture, by method.
        alone: (Q, D) what is searched for without the picture, by method.
    """

    name: str
    first: Indices
    right: Truth
    directions: dict[str, Floats]
    alone: dict[str, Floats]

    def search(self, gallery: Gallery, features: Floats) -> PictureSearch:
        """The queries' pictures put to the candidates."""
        return PictureSearch.for_any(gallery, features, self.first, self.right)


@dataclass(frozen=True)
class ChangeProtocol(EvaluationProtocol):
    """Searches by picture + weight * direction and reports where the first right picture comes.

    Scores: `recall_at_K`, the share of queries with a right picture among the first K, and `median_rank` of
    the first right one, from 1; candidates that tie come in a fair order. Intervals resample the queries'
    pictures, so that all queries of one picture stay together; changes from base to tuned are paired.

    The weight is chosen for each method apart, by the recall at the largest K with seen wordings on another
    split, by the model that is measured: base and tuned choose by the same rule, each its own. Of equals the
    smallest. Chosen weights, and recall by weight on the split that is reported with its intervals (the
    curve; its last point, weight null, is the direction without the picture), are in the notes.

    Attributes:
        weights: Weights of the curve, among which is chosen.
        weight: The one that is reported, for all methods; null chooses.
        chosen_on: Split on which it is chosen.
        recall_at: K; those that are not below the number of candidates are left out.
        seed: Of all draws, which depend on it and on the pictures' keys, not on their order.
    """

    name: ClassVar[str] = "change_retrieval"

    weights: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0)
    weight: float | None = None
    chosen_on: str = "validation"
    recall_at: tuple[int, ...] = (1, 10)
    seed: int = 0

    @abstractmethod
    def task(self) -> str:
        """What is put behind the set's name; "" for nothing."""

    @abstractmethod
    def asked(self, subject: Subject) -> tuple[Gallery, list[ChangeQueries], dict[str, Any]]:
        """The candidates, the queries of the subject's split, and what is to be noted about them."""

    def run(self, subject: Subject) -> Results:
        """Searches.

        Raises:
            PcclipError: There is nothing to ask or to choose the weight on, or a weight is not above 0.
        """
        tried = self.weights if self.weight is None else (*self.weights, self.weight)
        if not tried or min(tried) <= 0 or not np.isfinite(tried).all():
            raise PcclipError(f"{self.name}: weights should be numbers above 0, are {tried}")
        gallery, asked, notes = self.asked(subject)
        ks = [k for k in self.recall_at if k < len(gallery.pictures)]
        if not ks:
            raise PcclipError(
                f"{subject.data.path}: {len(gallery.pictures)} candidates are too few for any of 'recall_at' "
                f"({', '.join(map(str, self.recall_at))})"
            )
        chosen = self._choose(subject, asked)
        table = FoundTable(self.name, self.task(), "_recall_at_", "mean")
        for one in asked:
            search = one.search(gallery, subject.features)
            found = {
                "nearest": search.find(np.zeros_like(search.nearness), 0.0, ()),
                "chance": search.chance(()),
            }
            for method, rows in one.directions.items():
                found[method] = search.find(search.likeness(rows), -chosen[method.replace(UNSEEN, "")], ())
            for method, rows in one.alone.items():
                found[method] = search.find_alone(search.likeness(rows), ())
            table.add(one.name, one.first, None, found, ks)
        notes |= {
            "weights": chosen,
            "weights chosen on": self.chosen_on if self.weight is None else "fixed",
            "candidates": len(gallery.pictures),
            "queries": {one.name: len(one.first) for one in asked},
            "right candidates per query": {one.name: float(one.right.sum(axis=1).mean()) for one in asked},
            "curve": self._curve(subject, gallery, asked, ks),
        }
        whole = table.results(subject.data)
        label = "/".join(filter(None, (self.name, self.task())))
        return Results(
            whole.evaluated, whole.pictures, whole.groups, whole.metrics,
            statistics=whole.statistics, notes={label: notes},
        )  # fmt: skip

    def _choose(self, subject: Subject, asked: Sequence[ChangeQueries]) -> Weights:
        """The weight of each method."""
        methods = {method for one in asked for method in one.directions if UNSEEN not in method}
        if self.weight is not None:
            return dict.fromkeys(methods, self.weight)
        there = subject.split(self.chosen_on)
        gallery, asked, _ = self.asked(there)
        k = max((k for k in self.recall_at if k < len(gallery.pictures)), default=1)
        scores: dict[str, dict[float, list[float]]] = {}
        for one in asked:
            for (method, weight), found in self._points(there, gallery, one):
                if weight and UNSEEN not in method:
                    of = scores.setdefault(method, {}).setdefault(weight, [])
                    of.append(float(found.places.recall(k).mean(dtype=np.float64)))
        lacking = methods - scores.keys()
        if lacking:
            raise PcclipError(
                f"{there.data.path}: split {self.chosen_on!r} has nothing to choose the weight of "
                f"{', '.join(sorted(lacking))} on. Give a fixed 'weight'."
            )
        return {
            method: min(of, key=lambda weight: (-round(float(np.mean(of[weight])), 9), weight))
            for method, of in scores.items()
        }

    def _points(
        self, subject: Subject, gallery: Gallery, one: ChangeQueries
    ) -> Iterator[tuple[_Point, Found]]:
        """What each method finds with each weight, with 0 and without the picture."""
        search = one.search(gallery, subject.features)
        for method, rows in one.directions.items():
            likeness = search.likeness(rows)
            for weight in (0.0, *sorted(self.weights)):
                yield (method, weight), search.find(likeness, -weight, ())
            yield (method, None), search.find_alone(likeness, ())

    def _curve(
        self, subject: Subject, gallery: Gallery, asked: Sequence[ChangeQueries], ks: Sequence[int]
    ) -> dict[str, dict[str, list[list[float | None]]]]:
        """[weight, recall, low, high] by method and score."""
        groups: dict[str, Observations] = {}
        parts: dict[tuple[str, _Point], list[tuple[str, str]]] = {}
        for one in asked:
            columns: dict[str, Floats] = {}
            for point, found in self._points(subject, gallery, one):
                for k in ks:
                    score = f"recall_at_{k}"
                    column = f"{score} {point}"
                    columns[column] = found.places.recall(k)
                    parts.setdefault((score, point), []).append((one.name, column))
            groups[one.name] = Observations(one.first, None, columns)
        metrics: dict[str, Parts] = {f"{score} {point}": tuple(of) for (score, point), of in parts.items()}
        estimates = bootstrap(groups, metrics, len(subject.data))
        curves: dict[str, dict[str, list[list[float | None]]]] = {}
        for score, (method, weight) in parts:
            found_here = estimates[f"{score} {(method, weight)}"]
            curves.setdefault(method, {}).setdefault(score, []).append(
                [weight, found_here.value, found_here.low, found_here.high]
            )
        return curves
