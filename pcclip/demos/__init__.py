"""Demonstrations of the whole way, run as `python -m pcclip.demos.NAME`; nothing else imports them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def command(function: Callable[..., Any]) -> None:
    """Runs a typed function as a command of its own; the user's errors are told without a traceback."""
    from jsonargparse import auto_cli

    from pcclip.errors import PcclipError

    try:
        auto_cli(function, as_positional=False)
    except PcclipError as error:
        sys.exit(f"{function.__name__}: {error}")
