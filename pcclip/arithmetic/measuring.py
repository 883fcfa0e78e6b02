"""Pictures to scores, and scores to results whose unit is the case."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt
from PIL import Image

from pcclip.arithmetic.plan import UNCHANGED, Plan
from pcclip.arithmetic.scorers import PictureScorer, Scores
from pcclip.data.progress import progress_bar
from pcclip.errors import PcclipError
from pcclip.evaluation.protocol import Results
from pcclip.evaluation.statistics import Observations, Parts

Grid = npt.NDArray[np.float64]
TowerScores = dict[str, dict[str, Grid]]
"""By score and cell: (cases, seeds)."""

_LEAST = 3  # cases: of fewer no group is reported


class Files(Sequence[Image.Image]):
    """Pictures that are read at each access.

    Args:
        paths: Their files.
        reached: Called once for each picture, when it is first asked for.
    """

    def __init__(self, paths: Sequence[Path], reached: Callable[[], object] = lambda: None) -> None:
        """See the class."""
        self._paths = paths
        self._reached = reached
        self._seen: set[int] = set()

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, place: int) -> Image.Image: ...

    @overload
    def __getitem__(self, place: slice) -> Files: ...

    def __getitem__(self, place: int | slice) -> Image.Image | Files:
        if isinstance(place, slice):
            return Files(self._paths[place], self._reached)
        if place not in self._seen:
            self._seen.add(place)
            self._reached()
        with Image.open(self._paths[place]) as picture:
            return picture.convert("RGB")


def score(
    scorers: Sequence[PictureScorer], plan: Plan, folders: Mapping[str, Path], show_progress: bool = True
) -> dict[str, TowerScores]:
    """Scores of all pictures, by tower.

    Args:
        scorers: At least one.
        plan: Whose pictures are all there.
        folders: Of the towers.
        show_progress: On standard error.

    Raises:
        PcclipError: Two scorers have a score of the same name, or what a scorer raises.
    """
    cases = [case for case in plan.cases for _ in plan.seeds]
    shape = (len(plan.cases), len(plan.seeds))
    found: dict[str, TowerScores] = {tower: {} for tower in folders}
    with progress_bar(show_progress) as bar:
        task = bar.add_task("scoring", total=len(folders) * len(plan.cells) * len(scorers) * len(cases))
        steps = 0
        for tower, folder in folders.items():
            unchanged = Files(plan.files(folder, UNCHANGED))
            for cell in plan.cells:
                for scorer in scorers:
                    pictures = Files(plan.files(folder, cell), lambda: bar.advance(task))
                    scores = scorer.score(pictures, cases, None if cell == UNCHANGED else unchanged)
                    for name, values in scores.items():
                        _check(name, values, len(cases), scorer)
                        by_cell = found[tower].setdefault(name, {})
                        if cell in by_cell:
                            raise PcclipError(f"two scorers give a score {name!r}: leave one out")
                        by_cell[cell] = np.asarray(values, np.float64).reshape(shape)
                    steps += len(cases)
                    bar.update(task, completed=steps)
    return found


def results(name: str, plan: Plan, scores: Mapping[str, TowerScores]) -> dict[str, Results]:
    """Results by tower, on the same cases, so that towers can be compared case by case.

    A case's score is the mean over its seeds, and cases are what is resampled: seeds of one case say little
    about other cases. What one tower has no score for is left out of the others' too.

    Args:
        name: Of the cases.
        plan: That was scored.
        scores: By tower.
    """
    towers = list(scores)
    groups: dict[str, dict[str, Observations]] = {tower: {} for tower in towers}
    metrics: dict[str, Parts] = {}
    subsets = dict(_subsets(plan))
    for score_name in scores[towers[0]]:
        means = _case_means({tower: scores[tower][score_name] for tower in towers})
        cells = [cell for cell in plan.cells if np.isfinite(means[towers[0]][cell]).any()]
        if not set(plan.changed) <= set(cells):
            continue  # nothing was scored
        everywhere = np.all([np.isfinite(means[towers[0]][cell]) for cell in cells], axis=0)
        for subset, members in subsets.items():
            rows = np.flatnonzero(everywhere & members)
            if len(rows) < (_LEAST if subset else 1):
                continue
            mean = f"mean-{subset}" if subset else "mean"
            group = f"arithmetic-{name}-{mean}-{score_name}"
            for tower in towers:
                columns = {cell: means[tower][cell][rows].astype(np.float32) for cell in cells}
                groups[tower][group] = Observations(rows, None, columns)
            metrics[f"arithmetic/{name}/{mean}/{score_name}"] = tuple((group, cell) for cell in plan.changed)
            for cell in () if subset else cells:
                metrics[f"arithmetic/{name}/{cell}/{score_name}"] = ((group, cell),)
    return {tower: Results(f"{name}/all", len(plan.cases), groups[tower], metrics) for tower in towers}


def _case_means(towers: Mapping[str, Mapping[str, Grid]]) -> dict[str, dict[str, Grid]]:
    """(cases,) means over the seeds that all towers have a score for."""
    means: dict[str, dict[str, Grid]] = {tower: {} for tower in towers}
    for cell in next(iter(towers.values())):
        there = np.all([np.isfinite(cells[cell]) for cells in towers.values()], axis=0)
        counts = there.sum(axis=1)
        for tower, cells in towers.items():
            sums = np.where(there, cells[cell], 0).sum(axis=1)
            means[tower][cell] = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return means


def _subsets(plan: Plan) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """All cases, by the empty name, and those of each group."""
    yield "", np.ones(len(plan.cases), bool)
    for group in dict.fromkeys(group for case in plan.cases for group in case.groups):
        yield group, np.array([group in case.groups for case in plan.cases])


def _check(name: str, values: Scores, count: int, scorer: PictureScorer) -> None:
    shape = np.shape(values)
    if not re.fullmatch(r"\w+", name) or shape != (count,):
        raise PcclipError(
            f"{type(scorer).__qualname__}: its score {name!r} is of shape {shape} for {count} pictures; a "
            "score is one number per picture, and its name of letters, digits and '_'"
        )
