"""Trying again: pauses that grow, with jitter, up to a limit."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from pcclip.data.records import ShardError
from pcclip.data.remote.options import RemoteOptions
from pcclip.data.remote.storage import Changed, Failure, failure_of
from pcclip.errors import PcclipError

_log = logging.getLogger(__name__)
_FIRST_WAIT = 0.25
_Result = TypeVar("_Result")


class Attempts:
    """Counts failures in a row at one URL.

    Args:
        url: For messages.
        options: `retries` and `max_wait_s`.
    """

    def __init__(self, url: str, options: RemoteOptions) -> None:
        self.url = url
        self.options = options
        self.failed = 0

    def failure(self, error: Exception, got: str = "") -> None:
        """Waits before the next attempt.

        Args:
            error: What the attempt ended with.
            got: What there is so far, for messages.

        Raises:
            ShardError: It cannot pass, or it was the last attempt; names the URL, what happened, the remedy.
        """
        failure = failure_of(error)
        self.failed += 1
        if not failure.passes:
            raise ShardError(f"{self.url}: {failure.what}. {_remedy(failure)}") from error
        if self.failed > self.options.retries:
            raise ShardError(
                f"{self.url}: {failure.what}, {self.failed} times in a row{got}. Is the server up and the "
                "network there? Then start again: what was fetched is kept. remote.retries sets the limit, "
                "remote.timeout_s the patience."
            ) from error
        wait = self._pause(failure)
        _log.warning(
            "%s: %s%s; attempt %d of %d in %.1f s",
            self.url, failure.what, got, self.failed + 1, self.options.retries + 1, wait,
        )  # fmt: skip
        time.sleep(wait)

    def _pause(self, failure: Failure) -> float:
        ceiling = min(_FIRST_WAIT * 2 ** (self.failed - 1), self.options.max_wait_s)
        pause = ceiling * random.uniform(0.5, 1.0)  # clients that failed together part
        return min(max(pause, failure.wait_s or 0.0), max(self.options.max_wait_s, ceiling))


def retrying(url: str, options: RemoteOptions, work: Callable[[], _Result]) -> _Result:
    """Does something small at a URL until it goes well.

    Raises:
        ShardError: It does not.
    """
    attempts = Attempts(url, options)
    while True:
        try:
            return work()
        except (PcclipError, Changed, NotImplementedError):
            raise
        except Exception as error:  # what fsspec's file systems raise is no closed set
            attempts.failure(error)


def _remedy(failure: Failure) -> str:
    if "access" in failure.what:
        return "Give credentials by the environment (AWS_PROFILE, ~/.netrc, ...), or ask for access."
    return "Check the URL in the setting."
