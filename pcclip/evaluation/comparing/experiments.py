"""What is compared: the results of runs and models in one suite."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pcclip.errors import PcclipError
from pcclip.evaluation.finished import Finished, finished_runs
from pcclip.evaluation.measured import FIT, RESULTS, Measured

_CONFIGS = Path("experiments/evaluations")


@dataclass(frozen=True)
class Experiment:
    """Results of the runs of one experiment, or of a model that no run has made.

    Attributes:
        name: Of the experiment or model.
        before: Results of the base model, by seed; empty for a model.
        after: Results after the fit, by seed; of a model, one, by seed 0.
        folders: Where they lie.
        alphas: Share of the tuned weights that an interpolation took, by seed, where it is known.
    """

    name: str
    before: dict[int, Measured]
    after: dict[int, Measured]
    folders: tuple[Path, ...]
    alphas: dict[int, float]

    @property
    def is_model(self) -> bool:
        """Whether it is a model that no run has made."""
        return not self.before


def load_experiments(folders: Sequence[str], suite: str, stage: str) -> list[Experiment]:
    """Reads the results of a suite.

    Args:
        folders: Run folders, experiment folders (the newest finished run of each seed is taken), or result
            folders of models (OUT/SUITE/LABEL).
        suite: Name of the suite.
        stage: `tuned` or `interpolated`.

    Returns:
        In the order of first naming; runs of one experiment together.

    Raises:
        PcclipError: A folder has no finished run, or a run lacks the suite or the stage; the message says
            which command makes them.
    """
    found: dict[str, Experiment] = {}
    lacking: dict[Path, str] = {}
    for folder in map(Path, folders):
        if any((folder / "base").glob("*.npz")):
            if folder.name in found:
                raise PcclipError(f"{folder}: there is another {folder.name!r} already. Leave one out.")
            measured = {0: Measured.load(folder / "base")}
            found[folder.name] = Experiment(folder.name, {}, measured, (folder,), {})
            continue
        for run in finished_runs([folder]):
            place = run.folder / RESULTS / suite
            lacks = [one for one in ("base", stage) if not any((place / one).glob("*.npz"))]
            if lacks:
                lacking[run.folder] = f"no {place / lacks[0]}"
                continue
            experiment = found.setdefault(run.experiment, Experiment(run.experiment, {}, {}, (), {}))
            found[run.experiment] = _with_run(experiment, run, place, stage)
    if lacking:
        raise PcclipError(_lacking(lacking, suite, stage))
    return list(found.values())


def evaluate_command(suite: str, folders: Sequence[Path], again: bool = False) -> str:
    """The command that makes the results of a suite."""
    config = _CONFIGS / f"{suite}.yaml"
    shown = str(config) if config.is_file() else f"YOUR-EVALUATIONS.yaml  # whose suite is {suite!r}"
    file, _, comment = shown.partition("  ")
    names = ",".join(map(str, folders))
    return f"pcclip evaluate --config {file} --runs '[{names}]'{' --again true' * again}  {comment}".rstrip()


def _with_run(experiment: Experiment, run: Finished, place: Path, stage: str) -> Experiment:
    if run.seed in experiment.after:
        raise PcclipError(
            f"{run.folder}: a second run of {experiment.name!r} with seed {run.seed} beside "
            f"{', '.join(map(str, experiment.folders))}. Leave one out."
        )
    alpha = run.summary.get("alpha")
    return Experiment(
        experiment.name,
        experiment.before | {run.seed: Measured.load(place / "base")},
        experiment.after | {run.seed: Measured.load(place / stage)},
        (*experiment.folders, run.folder),
        experiment.alphas | ({} if alpha is None else {run.seed: float(alpha)}),
    )


def _lacking(lacking: dict[Path, str], suite: str, stage: str) -> str:
    problems = "\n".join(f"  {folder}: {problem}" for folder, problem in lacking.items())
    suites = {
        place.name
        for folder in lacking
        for place in (folder / RESULTS).glob("*")
        if (place / "base").is_dir()
    }
    if suite not in suites and (near := difflib.get_close_matches(suite, suites, n=1)):
        return f"{next(iter(lacking))}: has no results of the suite {suite!r}. Is --suite {near[0]} meant?"
    has = f"These runs have the suites {', '.join(sorted(suites))}. " if suites else ""
    if suite == FIT:
        remedy = "They are of an older version, or did not evaluate; name another suite."
    else:
        remedy = f"Make the results by\n  {evaluate_command(suite, list(lacking))}"
        if stage == "interpolated":
            remedy += "\n(A run without a folder 'interpolated' has no such weights: leave it out.)"
    return f"not all runs have results of the suite {suite!r}, stage {stage!r}:\n{problems}\n{has}{remedy}"
