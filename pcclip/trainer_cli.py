"""LightningCLI as pcclip uses it: run folders, mandatory callbacks, defaults that keep numbers right."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from jsonargparse import Namespace, set_parsing_settings
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException

from pcclip.callbacks.checkpoint import RunCheckpoint
from pcclip.callbacks.checkpoint_file import WholeCheckpoints
from pcclip.callbacks.dashboard.callback import Dashboard
from pcclip.callbacks.dashboard.events import RunEvents
from pcclip.callbacks.progress import StepProgress
from pcclip.callbacks.ranks import Ranks
from pcclip.callbacks.throughput import Throughput
from pcclip.callbacks.validations import Validations
from pcclip.data.datamodule import DifferenceData
from pcclip.data.files import write_atomically
from pcclip.errors import PcclipError, writing
from pcclip.parsing import Remedied
from pcclip.precision import register as register_precision
from pcclip.report.machine import gpu_driver
from pcclip.report.provenance import note_start
from pcclip.runs import begun, claim, forget, hold, let_go
from pcclip.stopping import current
from pcclip.strategies import register as register_strategies
from pcclip.training import DifferenceTraining

_VERSION_OF_RUN = "PCCLIP_RUN_VERSION"  # hands the claimed folder to ranks that Lightning launches

_PLACES = ("RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK")
"""Where launchers say which process this is; all are 0 in the first rank."""

_PICKLE = b"\x80"
"""Begins a checkpoint of other formats than torch's own, of which the reader of checkpoints says more."""

_SETTINGS = """\
Settings of the model and the data (--model.NAME=VALUE, --data.NAME=VALUE): `pcclip {verb}
--model.help pcclip.training.DifferenceTraining`, `pcclip {verb} --data.help
pcclip.data.datamodule.DifferenceData`."""

_LAST_SEED = 2**32 - 1

_FINISHED = "summary.json"
"""Of a run that has finished."""


class SaveRunConfig(SaveConfigCallback):
    """Write the resolved configuration into a new run folder; leave a resumed run's alone.

    What a fit was started by, and on, is added to the run's provenance each time.

    Args:
        parser: As Lightning's.
        config: As Lightning's.
        words: Of the command.
        options: Lightning's others.
    """

    def __init__(
        self, parser: LightningArgumentParser, config: Namespace, words: Sequence[str] = (), **options: Any
    ) -> None:
        """See the class."""
        super().__init__(parser, config, **options)
        self.words = words

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Save once, on the first rank, whole: a run would be resumed by half a configuration as well."""
        folder = trainer.log_dir  # on all ranks: it is broadcast
        if folder is None or not trainer.is_global_zero:
            return
        file = Path(folder) / self.config_filename
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, self.parser.dump(self.config, skip_unset=False).encode())
        if stage == "fit":
            data = self.config.as_dict().get("data") or {}
            precision = str(trainer.precision)
            note_start(Path(folder), self.words, data.get("init_args") or {}, precision, _devices(trainer))


class TrainerParser(Remedied, LightningArgumentParser):
    """The parser of the trainer's verbs."""

    classes = {  # noqa: RUF012
        "model": DifferenceTraining,
        "data": DifferenceData,
    }


class PcclipCLI(LightningCLI):
    """`fit`, `validate` and `test` with configurations composed from left to right."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the run's name and place, and the callbacks that every run has."""
        parser.add_argument("--experiment", type=str, default="experiment", help="name of the experiment")
        parser.add_argument("--runs", type=str, default="runs", help="folder of all runs")
        parser.add_argument(
            "--version", type=str | None, default=None, help="run folder; the next one if unset"
        )
        parser.add_lightning_class_args(RunCheckpoint, "checkpoint")
        parser.add_lightning_class_args(Ranks, "ranks")
        parser.add_lightning_class_args(Dashboard, "dashboard")
        parser.set_defaults(
            {
                "seed_everything": 0,
                "trainer.use_distributed_sampler": False,  # the stream splits by itself
                "trainer.num_sanity_val_steps": 0,
                "trainer.logger": True,
                "trainer.log_every_n_steps": 10,
                "trainer.enable_model_summary": False,  # the module itself says what trains, by kind
            }
        )

    _fresh: Path | None = None

    def setup_parser(self, *args: Any, **kwargs: Any) -> None:
        """Name the parsers as the verbs are called."""
        super().setup_parser(*args, **kwargs)
        for verb, parser in self._subcommand_parsers.items():
            parser.prog = f"pcclip {verb}"
            parser.usage = f"pcclip {verb} --config FILE.yaml [--config MORE.yaml ...] [--SETTING=VALUE ...]"
            parser.epilog = _SETTINGS.format(verb=verb)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse `args` whatever the process's own words are; tests call us with lists."""
        self.config = parser.parse_args(args)
        self.save_config_kwargs["words"] = list(args)
        settings = self.config[self.config.subcommand]
        if settings.get("weights_only") is False:
            raise PcclipError("weights_only: false would run code that a checkpoint holds. Leave it out.")
        settings.weights_only = True
        seed = settings.get("seed_everything")
        if seed is not None and not 0 <= seed <= _LAST_SEED:
            raise PcclipError(f"seed_everything={seed}: give a whole number from 0 to {_LAST_SEED}")
        if (checkpoint := settings.get("ckpt_path")) is not None:
            _check_checkpoint(str(checkpoint))

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Claim the run folder, and log to it."""
        settings = self.config[self.subcommand]
        if settings.trainer.logger is True and not settings.trainer.fast_dev_run:
            version = self._version(settings)
            kwargs["logger"] = TensorBoardLogger(settings.runs, settings.experiment, version)
        own = (
            [Throughput()]
            if settings.trainer.enable_progress_bar is False
            else [Throughput(), StepProgress()]
        )
        events = RunEvents(from_start=settings.get("ckpt_path") is None)
        kwargs["callbacks"] = [events, *(self._get(self.config_init, "trainer").callbacks or []), *own]
        plugins = self._get(self.config_init, "trainer").plugins or []
        plugins = plugins if isinstance(plugins, list) else [plugins]
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            kwargs["plugins"] = [*plugins, WholeCheckpoints()]
        folder = Path(kwargs["logger"].log_dir) if "logger" in kwargs and _is_first_rank() else None
        if folder is not None:
            self._hold(folder)
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except Exception:
            if self._fresh is not None:
                forget(self._fresh)
            raise
        trainer.callbacks.append(Validations())  # last
        for callback in trainer.callbacks:
            if isinstance(callback, Ranks):
                callback.prepare(trainer)
        return trainer

    def _run_subcommand(self, subcommand: str) -> None:
        """Run; what the disk refuses without a name (TensorBoard's events) is said of the run folder."""
        folder, first = self.trainer.log_dir, self.trainer.is_global_zero
        if folder and first:
            print(f"run folder: {folder}", file=sys.stderr)
        try:
            with writing(Path(folder or ".")):
                super()._run_subcommand(subcommand)
        except PcclipError:
            if self._fresh is not None and self.trainer.world_size == 1 and self.trainer.global_step == 0:
                forget(self._fresh)
            raise
        if folder and first and subcommand == "fit" and (Path(folder) / _FINISHED).is_file():
            print(f"{folder}: finished; `pcclip compare {shlex.quote(folder)}` shows what it brought")

    def _hold(self, run: Path) -> None:
        """Keep the run folder to this process; it is fresh if nothing is in it yet."""
        if self.subcommand == "fit" and (run / _FINISHED).is_file():
            raise PcclipError(
                f"{run}: has finished, and nothing overwrites a run. Give another --version, or none for the "
                "next free one."
            )
        self._fresh = None if run.is_dir() and begun(run) else run
        hold(run)

    def _version(self, settings: Any) -> str:
        if (version := settings.version) is not None:
            if "/" in version or not version.strip():
                raise PcclipError(f"version={version!r}: is no name of a folder. Leave '/' out.")
            return str(version)
        if _VERSION_OF_RUN in os.environ:
            return os.environ[_VERSION_OF_RUN]
        if not _is_first_rank():
            return "pending"  # Lightning takes the first rank's folder
        version = claim(settings.runs, settings.experiment, self.subcommand)
        os.environ[_VERSION_OF_RUN] = version
        return version


def _check_checkpoint(path: str) -> None:
    """Refuses what is no checkpoint at all, before a run folder is made."""
    file = Path(path)
    if "://" in path or path in ("best", "last", "hpc", "registry"):  # names of Lightning's
        return
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "there is no such file"
        raise PcclipError(
            f"ckpt_path={path}: {what}. A run's is RUNS/EXPERIMENT/VERSION/checkpoints/"
            "last.ckpt; `pcclip resume RUN` finds it by itself."
        )
    with file.open("rb") as stream:
        foreign = stream.read(1) == _PICKLE
    if not foreign and not zipfile.is_zipfile(file):
        raise PcclipError(
            f"ckpt_path={path}: is no checkpoint, or a damaged one. Give one that pcclip wrote."
        )


def _devices(trainer: Trainer) -> dict[str, Any]:
    """What all ranks together train on, for the run's provenance."""
    device = trainer.strategy.root_device
    gpu = torch.cuda.get_device_properties(device) if device.type == "cuda" else None
    return {
        "gpu": gpu.name if gpu else None,
        "gpu_memory_bytes": gpu.total_memory if gpu else None,
        "processes": trainer.world_size,
        "nodes": trainer.num_nodes,
        "gpu_driver": gpu_driver() if gpu else None,
        "cuda": torch.version.cuda if gpu else None,
    }


def _is_first_rank() -> bool:
    return not any(int(os.environ.get(name, "0")) for name in _PLACES)


def run(arguments: list[str]) -> PcclipCLI:
    """Parse and run `fit`, `validate` or `test`.

    Args:
        arguments: the verb and its options.
    """
    torch.set_float32_matmul_precision("high")
    register_precision()
    register_strategies()
    # ${trainer.max_steps} in a YAML means the run's own, under whichever verb and wherever it was set.
    set_parsing_settings(omegaconf_absolute_to_relative_paths=True)
    mode = {"parser_mode": "omegaconf+", "prog": "pcclip"}
    try:
        return PcclipCLI(
            DifferenceTraining,
            DifferenceData,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=SaveRunConfig,
            parser_kwargs={**mode, "fit": mode, "validate": mode, "test": mode},
            parser_class=TrainerParser,
            args=arguments,
        )
    except UnpicklingError as error:
        raise PcclipError(
            "ckpt_path: the checkpoint holds pickled code, which is never run. Give one that pcclip wrote "
            f"({str(error).splitlines()[0]})"
        ) from error
    except SIGTERMException:
        stop = current()
        stop.number = stop.number or signal.SIGTERM
        print(
            f"stopped by {stop.name}; the run is saved: `pcclip resume` goes on with its folder",
            file=sys.stderr,
        )
        raise SystemExit(stop.status) from None
    finally:
        let_go()
        os.environ.pop(_VERSION_OF_RUN, None)
