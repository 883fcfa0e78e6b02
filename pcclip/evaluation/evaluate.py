"""`pcclip evaluate`: any protocols on any sets, for finished runs and for models from anywhere."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from pcclip.data.files import write_atomically
from pcclip.errors import PcclipError
from pcclip.evaluation.bench import Bench, Evaluation, Model
from pcclip.evaluation.encoders import TowerEncoders
from pcclip.evaluation.features import FeatureCache
from pcclip.evaluation.measured import RESULTS, Measured
from pcclip.model.towers import load_towers

STAGES = {"tuned": "model", "interpolated": "interpolated"}
"""What a run is measured at, and the folder of its weights there."""


@dataclass
class Named:
    """A model to evaluate.

    Attributes:
        name: open_clip tag, `hf-hub:ORG/NAME`, `local-dir:FOLDER` or one of pcclip's small configs.
        pretrained: open_clip's pretrained tag or a checkpoint file; null for folders and hubs.
        label: what its results are called; from the name if null.
    """

    name: str
    pretrained: str | None = None
    label: str | None = None

    def title(self) -> str:
        """The label, fit for a folder's name."""
        return self.label or "-".join(filter(None, (self.name, self.pretrained))).replace("/", "-")


def evaluate(
    evaluations: list[Evaluation],
    suite: str,
    runs: list[str] | None = None,
    models: list[Named] | None = None,
    out: str = "runs/evaluations",
    cache_dir: str | None = "data/cache",
    device: str = "auto",
    batch_size: int = 128,
    again: bool = False,
) -> None:
    """Evaluates finished runs (base, tuned and interpolated weights) and models from anywhere.

    A run's results go into its own folder, RUN/results/SUITE/STAGE/SET.npz; a model's into
    OUT/SUITE/LABEL/base. `pcclip compare` reads both. What is there already is not measured again.

    Args:
        evaluations: Sets and their protocols.
        suite: Name of these evaluations together.
        runs: Run folders (RUNS/EXPERIMENT/VERSION) or experiment folders (all their finished runs).
        models: Models that no run has made.
        out: Where the results of models go.
        cache_dir: Where image embeddings are kept; null keeps them in memory only.
        device: `cpu`, `cuda`, `cuda:1`, or `auto`.
        batch_size: Pictures per call of the image tower.
        again: Measure what is there already once more.

    Raises:
        PcclipError: Nothing to evaluate, no such run, or what a source, model or protocol raises.
    """
    place = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    bench = Bench(FeatureCache(None if cache_dir is None else Path(cache_dir), batch_size))
    targets = [run_target(folder, suite) for name in runs or [] for folder in _run_folders(Path(name))]
    targets += [Target(one.title(), Path(out) / suite / one.title(), {"base": one}) for one in models or []]
    if not targets:
        raise PcclipError("nothing to evaluate: name --runs RUN ..., or models in the configuration")
    for target in targets:
        loaded: dict[str, Model] = {}
        for stage, named in target.stages.items():
            if again or not (target.folder / stage).is_dir():
                for needed in ("base", stage):
                    if needed not in loaded:
                        loaded[needed] = _load(target.stages[needed], place)
                base = None if stage == "base" else loaded["base"]
                measured = Measured()
                for one in evaluations:
                    measured.add(bench.measure(one, one.split, loaded[stage], base))
                measured.save(target.folder / stage)
            _print(f"{target.title}: {stage} ({named.title()})", Measured.load(target.folder / stage))
        _write_summary(target)


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


def run_target(run: Path, suite: str) -> Target:
    """The weights of a finished run.

    Raises:
        PcclipError: It has not finished.
    """
    try:
        base = json.loads((run / "summary.json").read_bytes())["base_model"]["base"]
        if base["random_init"]:
            raise ValueError("its base model is random weights, which are not kept")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PcclipError(
            f"{run}: is no finished run that can be evaluated ({error}). Name RUNS/EXPERIMENT or "
            "RUNS/EXPERIMENT/VERSION; `pcclip resume` finishes a stopped run; a model that was trained from "
            "nothing is evaluated as a model (local-dir:RUN/model)."
        ) from error
    stages = {"base": Named(base["name"], base["pretrained"])}
    for stage, folder in STAGES.items():
        if (run / folder).is_dir():
            stages[stage] = Named(f"local-dir:{run / folder}")
    return Target(str(run), run / RESULTS / suite, stages)


def _run_folders(folder: Path) -> list[Path]:
    if (folder / "summary.json").is_file():
        return [folder]
    found = [file.parent for file in sorted(folder.glob("*/summary.json")) if not file.parent.is_symlink()]
    if not found:
        raise PcclipError(
            f"{folder}: no finished run (no summary.json in it or in a folder of it). Name RUNS/EXPERIMENT "
            "or RUNS/EXPERIMENT/VERSION."
        )
    return found


def _load(named: Named, device: torch.device) -> Model:
    towers = load_towers(named.name, named.pretrained).to(device)
    return Model.of(towers, TowerEncoders(towers, device))


def _write_summary(target: Target) -> None:
    """Every metric of every stage, and the change against the base, with intervals."""
    stages = {stage: Measured.load(target.folder / stage) for stage in target.stages}
    record: dict[str, Any] = {stage: measured.estimates() for stage, measured in stages.items()}
    for stage, measured in stages.items():
        if stage != "base":
            record[f"{stage}_delta"] = measured.minus(stages["base"]).estimates()
    record["notes"] = {
        stage: {name: results.notes for name, results in measured.items() if results.notes}
        for stage, measured in stages.items()
    }
    write_atomically(target.folder / "estimates.json", json.dumps(record, indent=1).encode())


def _print(title: str, measured: Measured) -> None:
    console = Console() if Console().is_terminal else Console(width=160)  # files take whole rows
    table = Table("metric", "value", "95 % interval", "n", title=title, title_justify="left")
    for name, found in measured.estimates().items():
        if "-wording-" not in name:  # they are many, and in estimates.json
            interval = f"[{found['low']:.4f}, {found['high']:.4f}]"
            table.add_row(name, f"{found['value']:.4f}", interval, f"{found['n']:,}")
    console.print(table)
