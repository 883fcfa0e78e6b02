"""The Ray cluster of a pool: its settings, and the way to it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pcclip.errors import PcclipError
from pcclip.generation.writers.base import EngineError


@dataclass
class RayWorkers:
    """How many workers, and where.

    Args:
        count: Workers; the job begins with the first that has a place.
        num_gpus: GPUs of one worker: as many as its engine's `tensor_parallel_size`.
        num_cpus: Processor cores of one worker.
        resources: Other resources of one worker, by the cluster's own names.
        address: The cluster: `HOST:PORT`, or `auto` for the one that this machine belongs to. Where None, it
            is that of `RAY_ADDRESS`, or else one is started on this machine, for the time of the job.
        cluster: Further arguments of `ray.init`, such as `runtime_env`.
        block: Rows that a worker gets together; see `Feed`.
        restarts: How many workers may be replaced.
        start_seconds: Longest time until the first worker has a place.
        silent_seconds: After so long without a sign of life a worker is replaced.
    """

    count: int = 2
    num_gpus: float = 0.0
    num_cpus: float = 1.0
    resources: dict[str, float] = field(default_factory=dict)
    address: str | None = None
    cluster: dict[str, Any] = field(default_factory=dict)
    block: int = 64
    restarts: int = 20
    start_seconds: float = 900.0
    silent_seconds: float = 120.0

    def __post_init__(self) -> None:
        """Refuses numbers that mean nothing."""
        if self.count < 1 or self.block < 1 or self.restarts < 0:
            raise PcclipError(
                f"writer.workers: count {self.count}, block {self.block}, restarts {self.restarts}: give 1 "
                "or more, 1 or more, and 0 or more."
            )


def connect(settings: RayWorkers) -> tuple[Any, bool]:
    """Joins the cluster, or starts one.

    Returns:
        The module `ray`, and whether `ray.shutdown` is for the caller to do.

    Raises:
        EngineError: Ray is not installed, or the cluster cannot be joined.
    """
    ray = import_ray()
    if ray.is_initialized():
        return ray, False
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = settings.address or os.environ.get("RAY_ADDRESS") or "local"
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        options["include_dashboard"] = False
    try:
        _knock(address)
        with _kept_signals():
            ray.init(address, **(options | settings.cluster))
    except Exception as error:  # no such cluster, another version of Ray, a wrong argument
        raise EngineError(
            f"writer.workers: no Ray cluster at {address!r} ({type(error).__name__}: {error}). Start one by "
            "'ray start --head', or mend 'address' or 'cluster', or give its token in RAY_AUTH_TOKEN."
        ) from error
    return ray, True


def import_ray() -> Any:
    """The module `ray`, loaded when it is needed.

    Raises:
        EngineError: It is not installed.
    """
    try:
        with _kept_signals():
            import ray
    except ImportError as error:
        raise EngineError(
            "writer: Ray is not installed here. Install it by 'pip install pcclip[ray]'."
        ) from error
    return ray


def _knock(address: str) -> None:
    """Fails at once where nobody listens; Ray itself would try for a quarter of an hour."""
    host, _, port = address.rpartition(":")
    if host and "/" not in host:
        socket.create_connection((host, int(port)), timeout=10).close()


@contextlib.contextmanager
def _kept_signals() -> Iterator[None]:
    """Gives the job back its handlers, which Ray replaces by its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
