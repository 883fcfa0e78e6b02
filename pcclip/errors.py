"""The error that a user can mend: bad input, a wrong path, a mismatch of files."""

from __future__ import annotations


class PcclipError(Exception):
    """Something about the user's files or settings is wrong; the message names it and the remedy.

    The command line prints it without a traceback and exits with status 1.
    """
