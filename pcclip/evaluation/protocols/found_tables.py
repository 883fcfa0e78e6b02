"""What retrieval methods found, question by question, as the metrics of one task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pcclip.evaluation.protocol import Results
from pcclip.evaluation.protocols.difference_tasks import Found
from pcclip.evaluation.protocols.places import median_rank
from pcclip.evaluation.sets import EvaluationSet
from pcclip.evaluation.statistics import Doubles, Floats, Indices, Observations, Parts, Statistic

UNSEEN = "-unseen"
"""After the name of a method that reads held-out wordings."""


@dataclass
class FoundTable:
    """The scores of one task.

    Metrics: `PROTOCOL/SET-TASK-MEAN/METHOD_SCORE` as means over questions (`METHOD_median_rank` over all
    queries), `PROTOCOL/SET-TASK-QUESTION/METHOD_SCORE` of each question with the largest K of one score;
    `-unseen` stands after the set, the task and the question.

    Attributes:
        protocol: Name of the protocol.
        task: Name of the task; "" where the protocol has one only.
        each: Part of the name of the score that is shown for each question, such as `_recall_at_`.
        mean: What the mean over questions is called; "" for nothing.
    """

    protocol: str
    task: str
    each: str
    mean: str = ""
    groups: dict[str, Observations] = field(default_factory=dict)
    ranks: dict[str, list[tuple[Doubles, Indices, Indices | None]]] = field(default_factory=dict)

    def add(
        self,
        question: str,
        first: Indices,
        second: Indices | None,
        found: Mapping[str, Found],
        ks: Sequence[int],
    ) -> None:
        """Takes in the queries of a question.

        Args:
            question: Its name; "" for queries of none.
            first: (Q,) picture of each query, or the first of its pair.
            second: (Q,) second picture of its pair; None for single pictures.
            found: By method.
            ks: Of recall.
        """
        columns: dict[str, Floats] = {}
        for method, what in found.items():
            columns |= what.columns(method, ks)
            self.ranks.setdefault(method, []).append((what.places.ranks(), first, second))
        self.groups[question] = Observations(first, second, columns)

    def results(self, data: EvaluationSet) -> Results:
        """All metrics, on the set that the pictures are of."""
        prefix = "-".join(filter(None, (f"{self.protocol}/{data.name}", self.task)))
        mean = "-".join(filter(None, (prefix, self.mean)))
        parts: dict[str, list[tuple[str, str]]] = {}
        for question, seen in self.groups.items():
            last = {c.partition(self.each)[0]: c for c in seen.scores if self.each in c}
            for column in seen.scores:
                score, suffix = column.replace(UNSEEN, ""), UNSEEN * (UNSEEN in column)
                part = (self._group(question), column)
                parts.setdefault(f"{mean}{suffix}/{score}", []).append(part)
                if question and column in last.values():
                    parts[f"{prefix}-{question}{suffix}/{score}"] = [part]
        metrics: dict[str, Parts] = {name: tuple(of) for name, of in parts.items()}
        medians: dict[str, Statistic] = {}
        for method, found in self.ranks.items():
            ranks, first = (np.concatenate([one[side] for one in found]) for side in (0, 1))  # type: ignore[misc]
            seconds = [second for _, _, second in found if second is not None]
            suffix = UNSEEN * (UNSEEN in method)
            name = f"{mean}{suffix}/{method.replace(UNSEEN, '')}_median_rank"
            second = np.concatenate(seconds) if seconds else None
            medians[name] = median_rank(ranks, first, second, len(data))
        groups = {self._group(question): seen for question, seen in self.groups.items()}
        return Results(data.evaluated, len(data), groups, metrics, statistics=medians)

    def _group(self, question: str) -> str:
        return " ".join(filter(None, (self.protocol, self.task, question)))
