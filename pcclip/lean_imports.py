"""Faster starts: imports without collections, and Lightning's metrics without what they import for plots."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError
from typing import Any

_NOT_NEEDED = ("matplotlib", "scipy")
_MANY = 500  # modules: torch and Lightning, say, the first time


@contextmanager
def uncollected() -> Iterator[None]:
    """Imports here are not held up by the garbage collector, nor is what follows by what they made."""
    enabled, before = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > before + _MANY:
            gc.freeze()  # and back, to where what is old is: no collection of the young looks through it
            gc.unfreeze()
        if enabled:
            gc.enable()


def import_torchmetrics() -> None:
    """Imports torchmetrics, which Lightning does, as if matplotlib and scipy were not installed.

    It imports both for functions that a training does not call: its metrics' `plot` (which then says in this
    process that it needs matplotlib), and a name that it adds to `scipy.signal`. What else imports them gets
    them as ever.
    """
    if "torchmetrics" in sys.modules:
        return
    look_ups: Any = importlib.import_module("lightning_utilities.core.imports")
    available, version = look_ups.package_available, look_ups._version

    def without(package: str) -> bool:
        return package.partition(".")[0] not in _NOT_NEEDED and available(package)

    def version_without(package: str) -> str:
        if package in _NOT_NEEDED:
            raise PackageNotFoundError(package)
        return version(package)

    look_ups.package_available, look_ups._version = without, version_without
    try:
        found = importlib.import_module("torchmetrics.utilities.imports")
    finally:
        look_ups.package_available, look_ups._version = available, version
    for answer in vars(found).values():  # metrics that compute with scipy look again when they are called
        if isinstance(answer, look_ups.RequirementCache) and str(answer.requirement).startswith("scipy"):
            vars(answer).pop("available", None)
