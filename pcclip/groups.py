"""Process groups end before the interpreter does.

A thread of torch's gloo backend that lets go of its last tensor while the interpreter is taken down aborts
the process, whose work is done ("terminate called without an active exception"). The threads end with the
last reference to their group, so nothing may keep one. Two do: the default arguments of
`torch.distributed.nn.functional`, where that is imported once there is a group, and Lightning, which destroys
NCCL's alone.
"""

from __future__ import annotations

import atexit
import gc
from functools import cache


@cache
def before_groups() -> None:
    """Calls for it that all groups of this process end with it; before the first one is made."""
    import torch.distributed.nn.functional  # noqa: F401

    atexit.register(_end)


def _end() -> None:
    """Handlers that were registered later, of those who hold groups, have run."""
    import torch.distributed as dist

    gc.collect()  # what is left of a fit and refers to itself
    if dist.is_initialized():
        dist.destroy_process_group()
