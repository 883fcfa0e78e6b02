"""`pcclip arithmetic`: pictures from embedding arithmetic, for finished runs and for models from anywhere."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from pcclip import __version__
from pcclip.arithmetic import report as reporting
from pcclip.arithmetic.evaluation import Outcome, PictureArithmetic
from pcclip.errors import PcclipError
from pcclip.evaluation.encoding.models import NamedModel
from pcclip.evaluation.encoding.named import Named
from pcclip.evaluation.evaluate import Target, run_target
from pcclip.evaluation.finished import finished_runs
from pcclip.evaluation.measured import RESULTS, Measured
from pcclip.evaluation.record import FILE

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

PICTURES = "arithmetic"
"""Folder of a run for pictures: RUN/arithmetic/SUITE/TOWER/..."""


def arithmetic(
    pictures: PictureArithmetic,
    suite: str,
    runs: list[str] | None = None,
    models: list[Named] | None = None,
    out: str = "runs/arithmetic",
    device: str = "auto",
) -> None:
    """Draws pictures by arithmetic on text embeddings and measures them: base, tuned and interpolated towers.

    A run's pictures, tables (arithmetic.json, arithmetic.csv, pictures.csv) and pages (grids/) go into
    RUN/arithmetic/SUITE, what `pcclip compare --suite SUITE` reads into RUN/results/SUITE; a model's into
    OUT/SUITE/LABEL. Pictures that are there already, by the same generator, tower and settings, are not drawn
    again, so a stopped evaluation goes on; they are scored anew.

    Args:
        pictures: What is drawn and how it is measured.
        suite: Name of this evaluation.
        runs: Run folders (RUNS/EXPERIMENT/VERSION), or experiment folders (the newest finished run of each
            seed).
        models: Models that no run has made.
        out: Where the results of models go.
        device: Where the towers read texts: `cpu`, `cuda`, `cuda:1`, or `auto`. The generator has a setting
            of its own.

    Raises:
        PcclipError: Nothing to evaluate, no such run, or towers, generator, scorers and cases that do not fit
            each other.
    """
    targets = [
        (target, run.folder / PICTURES / suite)
        for run in finished_runs(map(Path, runs or []))
        for target in [run_target(run, suite)]
    ]
    for one in models or []:
        folder = Path(out) / suite / one.title()
        targets.append((Target(one.title(), folder, {"base": one}), folder / "pictures"))
    if not targets:
        raise PcclipError("nothing to evaluate: name --runs RUN ..., or models in the configuration")
    for target, folder in targets:
        towers = {stage: NamedModel(named, "cpu", None).towers for stage, named in target.stages.items()}
        outcome = pictures.run(towers, folder, target.title, _place(device))
        keep(outcome, target.folder)
        _log(outcome, folder)
        reporting.show(outcome.report)
        print(f"{folder}: pictures, {reporting.JSON}, {reporting.CSV}, {reporting.PICTURES_CSV}, grids/")


def keep(outcome: Outcome, folder: Path) -> None:
    """Writes the results where `pcclip compare` finds them.

    Args:
        outcome: Of an evaluation.
        folder: RUN/results/SUITE, or OUT/SUITE/LABEL of a model.
    """
    for stage, results in outcome.results.items():
        measured = Measured()
        measured.add(results)
        note = {
            "schema": 1,
            "id": uuid.uuid4().hex,
            "pcclip": __version__,
            "model": {"text": outcome.settings["towers"][stage]},
            "base": None if stage == "base" else {"text": outcome.settings["towers"]["base"]},
            "evaluations": [outcome.settings],
        }
        measured.save(folder / stage, {FILE: json.dumps(note, indent=1).encode()})


def results_folder(run: Path, suite: str) -> Path:
    """Where a run keeps what `keep` writes."""
    return run / RESULTS / suite


def log(outcome: Outcome, writer: SummaryWriter, step: int) -> None:
    """Writes numbers and pages to TensorBoard.

    Args:
        outcome: Of an evaluation.
        writer: Of the run.
        step: Of the fit.
    """
    import numpy as np
    from PIL import Image

    for tower, results in outcome.results.items():
        for name, value in results.values().items():
            writer.add_scalar(f"{name}/{tower}", value, step)
    for name, path in outcome.pages.items():
        with Image.open(path) as page:
            writer.add_image(
                f"arithmetic/{outcome.report.name}/{name}", np.asarray(page), step, dataformats="HWC"
            )


def _log(outcome: Outcome, folder: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    for old in folder.glob("events.out.tfevents.*"):  # of an earlier scoring of the same pictures
        old.unlink()
    with SummaryWriter(str(folder)) as writer:
        log(outcome, writer, 0)


def _place(device: str) -> str:
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
