"""TensorBoard's table of runs: what each was set to, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcclip.untrusted import parse_yaml

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS = {
    "final/validation_difference_change": "differences, change (validation)",
    "final/validation_zero_shot_change": "zero-shot, change (validation)",
    "final/test_difference_change": "differences, change (test)",
    "final/test_zero_shot_change": "zero-shot, change (test)",
    "final/interpolation_alpha": "interpolation: chosen share",
    "final/fit_seconds": "seconds of the fit",
}
"""Scalars and their headings: the same of every run, so that runs on any data compare."""

_FIRST = (
    "data.batch_size",
    "model.objective",
    "model.objective.temperature",
    "model.optimizer.lr",
    "model.trainable",
)
"""What runs are compared by as a rule. TensorBoard shows five columns, those that differ first, by name."""

_DATA = ("triples", "payload", "captions", "batch_size", "caption_batch_size", "augment")
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
    kept = {name: settings.get(name) for name in ("experiment", "seed_everything", "model")}
    data = settings.get("data") or {}
    data, trainer = data.get("init_args") or data, settings.get("trainer") or {}
    kept["data"] = {name: data.get(name) for name in _DATA}
    kept["trainer"] = {name: trainer.get(name) for name in _TRAINER}
    return dict(_leaves(kept, ""))


def _leaves(value: Any, name: str) -> Iterator[tuple[str, float | str]]:
    if isinstance(value, Mapping):
        if isinstance(value.get("class_path"), str):
            if "." in name:  # of the model itself the class is nearly always the same
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
    from tensorboard.plugins.hparams import api_pb2, metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

    columns = [
        api_pb2.HParamInfo(
            name=name,
            type=api_pb2.DATA_TYPE_STRING if isinstance(value, str) else api_pb2.DATA_TYPE_FLOAT64,
            differs=name in _FIRST,
        )
        for name, value in settings.items()
    ]
    shown = [
        api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=heading)
        for tag, heading in METRICS.items()
    ]
    experiment = api_pb2.Experiment(hparam_infos=columns, metric_infos=shown)
    start = SessionStartInfo(start_time_secs=time.time())
    for name, value in settings.items():
        if isinstance(value, str):
            start.hparams[name].string_value = value
        else:
            start.hparams[name].number_value = value
    _write(writer, metadata.EXPERIMENT_TAG, HParamsPluginData(experiment=experiment), 0)
    _write(writer, metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=start), 0)


def log_outcome(writer: SummaryWriter, metrics: Mapping[str, float], step: int) -> None:
    """Ends the row of a run that has finished.

    Args:
        writer: Of the run.
        metrics: Values of some of `METRICS`.
        step: Of the fit.
    """
    from tensorboard.plugins.hparams import api_pb2, metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

    for name, value in metrics.items():
        writer.add_scalar(name, value, step)
    end = SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=time.time())
    _write(writer, metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=end), step)


def _write(writer: SummaryWriter, tag: str, content: Any, step: int) -> None:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata

    about = metadata.create_summary_metadata(content)
    value = Summary.Value(tag=tag, metadata=about, tensor=metadata.NULL_TENSOR)
    writer._get_file_writer().add_summary(Summary(value=[value]), step)  # type: ignore[no-untyped-call]
