"""A run's event file across stops: each point once, whatever a killed process had written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

PREFIXES = ("validation/", "change/", "interval/", "in_batch/", "hardest/")
"""What a validation writes, at the step that it follows."""


def event_files(run: Path) -> list[Path]:
    """The event files of a run, oldest first."""
    return sorted(run.glob("events.out.tfevents.*"))


def go_on(writer: SummaryWriter, former: Iterable[Path], step: int) -> bool:
    """Lets a run's events go on at a step.

    Later ones of processes that were killed are void: readers drop what comes before a session's start and
    is not below its step. The validation that followed this very step is not repeated by a resumed run, so
    its events are written again.

    Args:
        writer: Of the new events.
        former: Files of earlier processes, oldest first.
        step: Steps that are done.

    Returns:
        Whether there are events of a validation at `step`.
    """
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog

    kept = list(_at(former, step).values()) if step else []
    events = writer._get_file_writer()  # type: ignore[no-untyped-call]
    events.add_event(Event(session_log=SessionLog(status=SessionLog.START)), step)  # type: ignore[no-untyped-call]
    for event in kept:
        events.event_writer.add_event(event)
    writer.flush()  # type: ignore[no-untyped-call]
    return bool(kept)


def _at(files: Iterable[Path], step: int) -> dict[str, Any]:
    """Events of the validation at a step by tag: of several the last, none from before a later start."""
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
                if tag.startswith(PREFIXES):
                    found[tag] = event
    return found
