"""What a dashboard shows when a fit has ended: figures, vectors, and the numbers of the table of runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pcclip.callbacks.dashboard.changes import means
from pcclip.callbacks.dashboard.confusion import confusion_figure
from pcclip.callbacks.dashboard.figures import log_figure
from pcclip.callbacks.dashboard.projector import write_projector
from pcclip.callbacks.dashboard.ranked import ranked_figure
from pcclip.callbacks.summary import Summary
from pcclip.data.progress import progress_bar
from pcclip.evaluation.exhibits.files import FOLDER, read_exhibits, read_vectors
from pcclip.evaluation.measured import Measured

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def final_metrics(summary: Summary, validation: Measured, base_validation: Measured) -> dict[str, float]:
    """Values of `hparams.METRICS`, as far as they were measured.

    Args:
        summary: Of the run.
        validation: Of the tuned model on validation splits.
        base_validation: Of the base model on them.
    """
    changes = {"validation": means(validation, base_validation)}
    if summary.base is not None and summary.tuned is not None:
        changes["test"] = means(summary.tuned, summary.base)
    found = {
        f"final/{split}_{name}_change": value
        for split, by_name in changes.items()
        for name, value in by_name.items()
    }
    if summary.alpha is not None:
        found["final/interpolation_alpha"] = summary.alpha
    if "fit" in summary.seconds:
        found["final/fit_seconds"] = summary.seconds["fit"]
    return found


def log_exhibits(writer: SummaryWriter, run: Path, step: int) -> None:
    """Draws the exhibits of a run, and writes their vectors for the projector.

    Args:
        writer: Of the run.
        run: Its folder, with exhibits or without.
        step: Of the fit.
    """
    vectors, exhibits = {}, read_exhibits(run)
    with progress_bar(transient=True) as bar:
        figures = sum(len(one.confusions) + len(one.rankings) for one in exhibits)
        task = bar.add_task("figures for TensorBoard", total=figures)
        for one in exhibits:
            for confusion in one.confusions:
                log_figure(writer, f"confusion/{one.name}", confusion_figure(confusion), step)
                bar.advance(task)
            pictures = {key: run / FOLDER / name for key, name in one.pictures.items()}
            for ranked in one.rankings:
                tag = f"ranked/{one.name}/{ranked.attribute}"
                log_figure(writer, tag, ranked_figure(ranked, pictures), step)
                bar.advance(task)
            found = read_vectors(run, one)
            if len(found.rows):
                vectors[f"{one.name}-{one.split}"] = found
    if vectors:
        write_projector(run, vectors)
