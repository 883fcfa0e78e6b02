"""A run's event file across stops: each point once, whatever a killed process had written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from pcclip.callbacks.validations import validate_again

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

OF_BATCH = ("in_batch/", "hardest/")
"""Begin the tags of what is written at the end of a step, before its checkpoint is."""


class RunEvents(Callback):
    """Lets the events of a stopped run go on where the run does. It comes before all that log.

    Args:
        from_start: Whether the fit begins at step 0 and not with a checkpoint, although the run's folder may
            hold events of a process that was killed before its first one.

    Attributes:
        resumed: Whether there were events before.
    """

    def __init__(self, from_start: bool) -> None:
        """See the class."""
        self.from_start = from_start
        self.resumed = False
        self._trains = False
        self._former: list[Path] = []

    @classmethod
    def of(cls, trainer: Trainer) -> RunEvents:
        """That of a trainer; one that knows of no earlier process, where it has none."""
        return next((one for one in trainer.callbacks if isinstance(one, cls)), cls(from_start=True))

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Look what is there already."""
        if stage == "fit" and writes(trainer):
            self._former = sorted(Path(trainer.logger.log_dir).glob("events.out.tfevents.*"))
            if self.from_start:
                self._go_on(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on: it is known from where."""
        self._trains = True
        self._go_on(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The same, where no step was left to do; and the validation after the last one."""
        if not self._trains:
            self._go_on(trainer)
            trainer.strategy.model_to_device()  # Lightning has moved it to the CPU
            validate_again(trainer)

    def _go_on(self, trainer: Trainer) -> None:
        former, self._former = self._former, []
        self.resumed |= bool(former)
        if former:
            go_on(writer_of(trainer), former, trainer.global_step)


def writes(trainer: Trainer) -> bool:
    """Whether this process writes TensorBoard's events."""
    return trainer.is_global_zero and isinstance(trainer.logger, TensorBoardLogger)


def writer_of(trainer: Trainer) -> SummaryWriter:
    """Of the run's events; only where this process writes them."""
    return trainer.logger.experiment  # type: ignore[no-any-return]


def go_on(writer: SummaryWriter, former: Iterable[Path], step: int) -> None:
    """Lets a run's events go on at a step.

    Later ones of processes that were killed are void: readers drop what comes before a session's start and
    is not below its step. What was told of the last batch is written again, as the batch is gone.

    Args:
        writer: Of the new events.
        former: Files of earlier processes, oldest first.
        step: Steps that are done.
    """
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog

    kept = list(_at(former, step).values()) if step else []
    events = writer._get_file_writer()  # type: ignore[no-untyped-call]
    events.add_event(Event(session_log=SessionLog(status=SessionLog.START)), step)  # type: ignore[no-untyped-call]
    for event in kept:
        events.event_writer.add_event(event)
    writer.flush()  # type: ignore[no-untyped-call]


def _at(files: Iterable[Path], step: int) -> dict[str, Any]:
    """What was told of the batch before a step, by tag: the last, and none from before a later start."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
    from tensorboard.compat.proto.event_pb2 import SessionLog

    found: dict[str, Any] = {}
    for file in files:
        for event in LegacyEventFileLoader(str(file)).Load():
            if event.HasField("session_log") and event.session_log.status == SessionLog.START:
                if event.step <= step:
                    found = {}
            elif event.step == step and event.summary.value:
                tag = event.summary.value[0].tag
                if tag.startswith(OF_BATCH):
                    found[tag] = event
    return found
