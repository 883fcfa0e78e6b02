"""`pcclip evaluate`: any protocols on any sets, for finished runs and for models from anywhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pcclip.checksums import check_seal, seal
from pcclip.crew import Crew, Job, launched_crew, launched_device
from pcclip.data.files import write_atomically
from pcclip.data.locks import only_one
from pcclip.errors import PcclipError
from pcclip.evaluation.bench import Bench, Evaluation, PictureOrder
from pcclip.evaluation.encoding.features import FeatureCache
from pcclip.evaluation.encoding.models import Model, NamedModel, TextOrder
from pcclip.evaluation.encoding.named import Named
from pcclip.evaluation.finished import Finished, finished_runs
from pcclip.evaluation.measured import RESULTS, Measured
from pcclip.evaluation.record import FILE, check_record, read_record, record
from pcclip.untrusted import parse_json

STAGES = {"tuned": "model", "interpolated": "interpolated"}
"""What a run is measured at, and the folder of its weights there."""


def evaluate(
    evaluations: list[Evaluation],
    suite: str,
    runs: list[str] | None = None,
    models: list[Named] | None = None,
    out: str = "runs/evaluations",
    cache_dir: str | None = "data/cache",
    device: str = "auto",
    batch_size: int = 64,
    again: bool = False,
) -> None:
    """Evaluates finished runs (base, tuned and interpolated weights) and models from anywhere.

    A run's results go into its own folder, RUN/results/SUITE/STAGE/SET.npz; a model's into
    OUT/SUITE/LABEL/base. `pcclip compare` reads both. What is there already is not measured again, so a
    stopped evaluation goes on; but results of other settings, data or weights are refused.

    Started by `torchrun -m pcclip evaluate ...`, the processes share the embedding of pictures and texts; the
    results are those of a single process.

    Args:
        evaluations: Sets and their protocols.
        suite: Name of these evaluations together.
        runs: Run folders (RUNS/EXPERIMENT/VERSION), or experiment folders (the newest finished run of each
            seed).
        models: Models that no run has made.
        out: Where the results of models go.
        cache_dir: Where embeddings are kept; null keeps them in memory only.
        device: `cpu`, `cuda`, `cuda:1`, or `auto`: a GPU (its own for each process) where there is one.
        batch_size: Pictures per call of the image tower.
        again: Measure what is there already once more.

    Raises:
        PcclipError: Nothing to evaluate, no such run, results of another measurement, or what a source,
            model or protocol raises.
    """
    cache = None if cache_dir is None else Path(cache_dir)
    with launched_crew() as crew:
        place = (launched_device() or device) if device == "auto" else device
        work = _Work(evaluations, Bench(FeatureCache(cache, batch_size)), place, cache, crew)
        crew.lead(lambda: _evaluate(work, suite, runs, models, out, again), work.job)


def _evaluate(
    work: _Work, suite: str, runs: list[str] | None, models: list[Named] | None, out: str, again: bool
) -> None:
    targets = [run_target(run, suite) for run in finished_runs(map(Path, runs or []))]
    targets += [Target(one.title(), Path(out) / suite / one.title(), {"base": one}) for one in models or []]
    if not targets:
        raise PcclipError("nothing to evaluate: name --runs RUN ..., or models in the configuration")
    if not again:
        for target in targets:  # before anything is measured
            work.check(target, work.models(target))
    for target in targets:
        with only_one(target.folder / ".lock", f"evaluating {target.title}"):
            work.measure(target, again)
            _report(target)


@dataclass(frozen=True)
class _Work:
    """What is the same for all targets."""

    evaluations: list[Evaluation]
    bench: Bench
    device: str
    cache: Path | None
    crew: Crew
    led: dict[str, Model] = field(default_factory=dict)

    def models(self, target: Target) -> dict[str, NamedModel]:
        return {stage: self._named(named) for stage, named in target.stages.items()}

    def _named(self, named: Named) -> NamedModel:
        return NamedModel(named, self.device, self.cache, self.crew)

    def job(self, order: PictureOrder | TextOrder) -> Job[Any]:
        """This process's share, where another leads. Two models stay loaded: a model and its base."""
        model = self.led.pop(repr(order.model), None) or self._named(order.model).share()
        self.led[repr(order.model)] = model
        if len(self.led) > 2:
            del self.led[next(iter(self.led))]
        return self.bench.job(order, model)

    def check(self, target: Target, models: Mapping[str, NamedModel]) -> None:
        """Refuses results that are there already but are of another measurement."""
        for stage, model in models.items():
            if (folder := target.folder / stage).is_dir():
                base = None if stage == "base" else models["base"].fingerprints
                check_record(folder, self.evaluations, self.bench, model.fingerprints, base)

    def measure(self, target: Target, again: bool) -> None:
        """Measures the stages that have no results yet."""
        models = self.models(target)
        if not again:
            self.check(target, models)
        ready: dict[str, Model] = {}
        for stage, model in models.items():
            if not again and (target.folder / stage).is_dir():
                continue
            for needed in ("base", stage):
                if needed not in ready:
                    ready[needed] = models[needed].model()
            base = None if stage == "base" else ready["base"]
            measured = Measured()
            for one in self.evaluations:
                measured.add(self.bench.measure(one, one.split, ready[stage], base))
                for each in ready.values():
                    each.encoders.keep()
            before = None if stage == "base" else models["base"].fingerprints
            note = record(self.evaluations, self.bench, model.fingerprints, before)
            measured.save(target.folder / stage, {FILE: json.dumps(note, indent=1).encode()})


@dataclass(frozen=True)
class Target:
    """Weights whose results belong together.

    Attributes:
        title: For people.
        folder: Where the results go.
        stages: `base` and, of a run, `tuned` and maybe `interpolated`.
    """

    title: str
    folder: Path
    stages: dict[str, Named]


def run_target(run: Finished, suite: str) -> Target:
    """The weights of a finished run.

    Raises:
        PcclipError: Its base model is not kept.
    """
    base = run.summary["base_model"]["base"]
    if base["random_init"]:
        raise PcclipError(
            f"{run.folder}: was trained from random weights, which are not kept. Evaluate it as a model: "
            f"models: [{{name: 'local-dir:{run.folder}/model'}}]"
        )
    stages = {"base": Named(base["name"], base["pretrained"])}
    for stage, folder in STAGES.items():
        if (run.folder / folder).is_dir():
            stages[stage] = Named(f"local-dir:{run.folder / folder}")
    return Target(str(run.folder), run.folder / RESULTS / suite, stages)


def _report(target: Target) -> None:
    """Prints every metric of every stage; writes them, and the change against the base, with intervals."""
    file = target.folder / "estimates.json"
    of = {stage: read_record(target.folder / stage)["id"] for stage in target.stages}
    try:
        estimates = parse_json(file.read_bytes())
        known = estimates["of"] == of
        check_seal(estimates)
    except (OSError, ValueError, KeyError, TypeError):
        known = False
    if not known:
        estimates = seal(_estimates(target, of))
        write_atomically(file, json.dumps(estimates, indent=1).encode())
    for stage, named in target.stages.items():
        _print(f"{target.title}: {stage} ({named.title()})", estimates[stage])


def _estimates(target: Target, of: dict[str, str]) -> dict[str, Any]:
    stages = {stage: Measured.load(target.folder / stage) for stage in target.stages}
    found: dict[str, Any] = {"of": of}
    found |= {stage: measured.estimates() for stage, measured in stages.items()}
    for stage, measured in stages.items():
        if stage != "base":
            found[f"{stage}_delta"] = measured.minus(stages["base"]).estimates()
    found["notes"] = {
        stage: {name: results.notes for name, results in measured.items() if results.notes}
        for stage, measured in stages.items()
    }
    return found


def _print(title: str, estimates: Mapping[str, Mapping[str, Any]]) -> None:
    console = Console() if Console().is_terminal else Console(width=160)  # files take whole rows
    table = Table("metric", "value", "95 % interval", "n", title=title, title_justify="left")
    for name, found in estimates.items():
        if "-wording-" not in name:  # they are many, and in estimates.json
            interval = f"[{found['low']:.4f}, {found['high']:.4f}]"
            table.add_row(name, f"{found['value']:.4f}", interval, f"{found['n']:,}")
    console.print(table)
