"""What must hold before worker processes are started."""

from __future__ import annotations

import os
import tempfile

from pcclip.errors import PcclipError

_SOCKET = "/pymp-12345678/listener-12345678"
"""Where, in the temporary folder, multiprocessing makes the socket that tensors are handed over by."""
_LONGEST = 107
"""Bytes of a socket's path, by Linux."""


def check_temporary_folder() -> None:
    """Raises PcclipError where workers could hand nothing over: a path as long as their sockets' cannot be.

    (The error comes in a thread of the worker, which loses the batch; the main process waits for it forever.)
    """
    folder = tempfile.gettempdir()
    room = _LONGEST - len(_SOCKET)
    if (size := len(os.fsencode(folder))) > room:
        raise PcclipError(
            f"the temporary folder {folder} has a path of {size} bytes, but worker processes, which make "
            f"sockets there, need one of at most {room}. Set the variable TMPDIR to a folder with "
            "a shorter path, such as /tmp, or num_workers to 0."
        )
