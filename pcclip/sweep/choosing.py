"""What a sweep has found: its trials, which of them no other beats, and the one that is chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcclip.evaluation.measured import RESULTS
from pcclip.evaluation.statistics import Estimate
from pcclip.sweep.database import DEFINITION, load
from pcclip.sweep.objectives import Objective, changes, level
from pcclip.sweep.ranges import Value

if TYPE_CHECKING:
    import optuna

TEST = "final"
"""The suite that a chosen trial's test split is measured as."""


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        number: Of the trial.
        state: `complete`, `failed` or `running` (or stopped: the same command takes it up).
        params: Its settings by dotted key.
        runs: Its run folders.
        gain: First objective, on validation data; None unless it is complete.
        cost: Second objective; None too where the sweep has none.
        seconds: Wall time of its fits.
        error: Why it failed.
        test: Both objectives on test data, where they have been measured.
    """

    number: int
    state: str
    params: Mapping[str, Value]
    runs: tuple[Path, ...]
    gain: Objective | None
    cost: Objective | None
    seconds: float | None
    error: str | None
    test: tuple[Objective, ...] = ()

    @property
    def loses(self) -> bool:
        """Whether the 95 % interval of its cost lies below zero."""
        return self.cost is not None and self.cost.mean.high < 0


@dataclass(frozen=True)
class Found:
    """A sweep as it stands.

    Attributes:
        folder: Of the sweep.
        trials: By number.
        globs: Metrics of each objective.
        weight: What a point of cost counts beside a point of gain; None: see `choose`.
        keys: Settings that vary.
        training_free: Gain of the base model's baselines that need no training, by name.
        importances: Share of the variance of the gain by setting; empty for few trials.
    """

    folder: Path
    trials: tuple[Trial, ...]
    globs: tuple[tuple[str, ...], ...]
    weight: float | None
    keys: tuple[str, ...]
    training_free: Mapping[str, float]
    importances: Mapping[str, float]

    @property
    def complete(self) -> list[Trial]:
        """Trials that have been measured."""
        return [trial for trial in self.trials if trial.gain is not None]

    @property
    def chosen(self) -> Trial | None:
        """The trial to take, by validation data alone; see `choose`."""
        return choose(self.complete, self.weight)

    @property
    def pareto(self) -> set[int]:
        """Numbers of trials than which no other gains more and costs less."""
        points = {trial.number: _point(trial) for trial in self.complete}
        return {
            number
            for number, point in points.items()
            if not any(
                other != point and all(a >= b for a, b in zip(other, point, strict=True))
                for other in points.values()
            )
        }


def choose(trials: Sequence[Trial], weight: float | None) -> Trial | None:
    """The trial to take.

    Without a weight the rule is that of the interpolation (`choose_alpha`): among the trials whose cost is
    not significantly negative (its 95 % interval reaches zero), the one with the greatest gain. With one it
    is the greatest gain + weight * cost. Of equals the first. The base model gains nothing and costs
    nothing: a trial that does not do better than that is not chosen.

    Args:
        trials: Complete ones.
        weight: See above.

    Returns:
        None where no trial may be chosen.
    """

    def score(trial: Trial) -> float:
        gain, cost = _point(trial)
        return gain + (weight or 0.0) * cost

    allowed = [trial for trial in trials if weight is not None or not trial.loses]
    best = max(allowed, key=lambda trial: (score(trial), -trial.number), default=None)
    return best if best is not None and score(best) > 0 else None


def found(folder: Path) -> Found | None:
    """Reads a sweep's folder; None where it is none.

    Raises:
        PcclipError: Its storage, or results of a trial, cannot be read.
    """
    study = load(folder)
    if study is None:
        return None
    definition = study.user_attrs[DEFINITION]
    globs = tuple(tuple(one) for one in (definition["gain"], definition["cost"]) if one)
    seeds = definition["seeds"]
    trials = tuple(_trial(one, folder, seeds, globs) for one in study.get_trials(deepcopy=False))
    runs = next((trial.runs for trial in trials if trial.gain is not None), ())
    return Found(
        folder,
        tuple(trial for trial in trials if trial.state != "waiting"),
        globs,
        study.user_attrs.get("weight"),
        tuple(definition["ranges"]),
        _training_free(runs, globs[0]),
        _importances(study),
    )


def _trial(
    one: optuna.trial.FrozenTrial, folder: Path, seeds: list[int] | None, globs: tuple[tuple[str, ...], ...]
) -> Trial:
    states = {"COMPLETE": "complete", "FAIL": "failed", "WAITING": "waiting"}
    state = states.get(one.state.name, "running")
    name = f"trial{one.number:03d}"
    names = [name] if seeds is None else [f"{name}-seed{seed}" for seed in seeds]
    runs = tuple(folder / name for name in names)
    objectives = [_objective(note) for note in one.user_attrs.get("objectives", ())]
    if state != "complete":
        objectives = []
    measured = objectives and all((run / RESULTS / TEST / "tuned").is_dir() for run in runs)
    return Trial(
        one.number,
        state,
        {key: one.params[key] for key in sorted(one.params)},
        runs,
        objectives[0] if objectives else None,
        objectives[1] if len(objectives) > 1 else None,
        one.user_attrs.get("seconds"),
        one.user_attrs.get("error") if state == "failed" else None,
        tuple(changes(runs, TEST, globs)) if measured else (),
    )


def _objective(note: Mapping[str, Any]) -> Objective:
    mean = Estimate(note["value"], note["low"], note["high"], note["n"])
    return Objective(mean, tuple(note["by_run"]))


def _point(trial: Trial) -> tuple[float, float]:
    assert trial.gain is not None
    return trial.gain.mean.value, 0.0 if trial.cost is None else trial.cost.mean.value


def _training_free(runs: Sequence[Path], globs: Sequence[str]) -> dict[str, float]:
    """What baselines of the base model gain over the base model itself, on validation data."""
    if not any(glob.startswith("difference/") for glob in globs):
        return {}
    from pcclip.evaluation.measured import VALIDATION

    base = level(runs, VALIDATION, globs) if runs else None
    if base is None:
        return {}
    baselines = {
        name: level(runs, VALIDATION, (f"difference/*-mean/{score}",))
        for name, score in (("text difference", "text_difference"), ("absolute score", "absolute"))
    }
    return {name: value - base for name, value in baselines.items() if value is not None}


_FEW = 10


def _importances(study: optuna.Study) -> dict[str, float]:
    """By functional ANOVA of the gain; with few trials it would say nothing."""
    import optuna

    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(complete) < _FEW or len({trial.values[0] for trial in complete}) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return optuna.importance.get_param_importances(
        study, evaluator=evaluator, target=lambda trial: trial.values[0]
    )
