"""TensorBoard's table of runs: what each was set to, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcclip.untrusted import parse_yaml

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS = (
    "final/validation_difference_change",
    "final/validation_zero_shot_change",
    "final/test_difference_change",
    "final/test_zero_shot_change",
    "final/interpolation_alpha",
    "final/fit_seconds",
)
"""The same of every run, so that runs on any data compare; scalars of which the last value counts."""

_FIRST = (
    "experiment",
    "version",
    "seed_everything",
    "model.optimizer.lr",
    "data.batch_size",
    "trainer.max_steps",
    "model.objective",
    "model.objective.temperature",
    "model.trainable",
    "trainer.precision",
    "model.optimizer",
)
_TRAINER = ("max_steps", "max_epochs", "precision", "accumulate_grad_batches", "gradient_clip_val", "devices")


def settings_of(config: Path) -> dict[str, float | str]:
    """The settings of a run by the names of their options: `model.optimizer.lr`; unset ones are left out.

    Args:
        config: The run's `config.yaml`.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no configuration.
    """
    settings = parse_yaml(config.read_bytes())
    if not isinstance(settings, dict):
        raise ValueError(f"{config} holds no settings")
    kept = {name: settings.get(name) for name in ("experiment", "seed_everything", "model", "data")}
    trainer = settings.get("trainer") or {}
    kept["trainer"] = {name: trainer.get(name) for name in _TRAINER}
    found = {"version": config.parent.name} | dict(_leaves(kept, ""))
    return {name: found[name] for name in [*_FIRST, *found] if name in found}


def _leaves(value: Any, name: str) -> Iterator[tuple[str, float | str]]:
    if isinstance(value, Mapping):
        if isinstance(value.get("class_path"), str):
            if name.count("."):  # of model and data themselves the class is nearly always the same
                yield name, value["class_path"].rpartition(".")[2]
            value = value.get("init_args") or {}
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        yield name, ", ".join(map(str, value))
    elif isinstance(value, bool):
        yield name, str(value).lower()  # as YAML has it; TensorBoard would show a number
    elif value is not None:
        yield name, value


def log_settings(writer: SummaryWriter, settings: dict[str, float | str]) -> None:
    """Begins the run's row of the table."""
    experiment, start, _ = _summaries(settings)
    for summary in (experiment, start):
        writer._get_file_writer().add_summary(summary, 0)  # type: ignore[no-untyped-call]


def log_outcome(writer: SummaryWriter, metrics: Mapping[str, float], step: int) -> None:
    """Ends the row of a run that has finished.

    Args:
        writer: Of the run.
        metrics: Values of some of `METRICS`.
        step: Of the fit.
    """
    for name, value in metrics.items():
        writer.add_scalar(name, value, step)  # type: ignore[no-untyped-call]
    writer._get_file_writer().add_summary(_summaries({})[2], step)  # type: ignore[no-untyped-call]


def _summaries(settings: dict[str, float | str]) -> tuple[Any, Any, Any]:
    from torch.utils.tensorboard.summary import hparams

    return hparams(settings, dict.fromkeys(METRICS, 0.0))  # type: ignore[no-untyped-call]
