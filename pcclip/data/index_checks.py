"""What an index of a shard, and the names in it, must be like, whoever made the shard."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pcclip.data.records import ShardError

_MAX_NAME = 4096
MAX_EXTENSIONS = 10_000
_LAYOUT = {
    "skipped": ("<i8", 0),
    "extensions": ("|u1", 1),
    "key_bytes": ("|u1", 1),
    "key_ends": ("<u4", 1),
    "firsts": ("<u4", 1),
    "offsets": ("<i8", 1),
    "sizes": ("<i8", 1),
    "kinds": ("<u2", 1),
}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def is_index(arrays: dict[str, npt.NDArray[Any]], size: int) -> bool:
    """Whether a cached index can be one of a shard of `size` bytes: it may have come with the shard."""
    try:
        if {name: (of.dtype.str, of.ndim) for name, of in arrays.items()} != _LAYOUT:
            return False
        ends, firsts = arrays["key_ends"].astype(np.int64), arrays["firsts"].astype(np.int64)
        offsets, sizes, kinds = arrays["offsets"], arrays["sizes"], arrays["kinds"]
        names = arrays["extensions"].tobytes().count(b"\0") + 1
        return bool(
            len(ends) == len(firsts) >= 1
            and len(offsets) == len(sizes) == len(kinds)
            and ends[0] == firsts[0] == 0
            and ends[-1] == len(arrays["key_bytes"])
            and firsts[-1] == len(offsets)
            and (np.diff(ends) > 0).all()
            and (np.diff(firsts) > 0).all()
            and (kinds < names).all()
            and ((offsets >= 0) & (offsets <= size)).all()
            and ((sizes >= 0) & (sizes <= size - offsets)).all()
            and (np.diff(offsets) >= sizes[:-1]).all()
        )
    except (ValueError, IndexError):
        return False


def check_name(path: Path, name: str) -> None:
    """Checks a record's name: a relative path that leads into no other folder and can be shown.

    Nothing is unpacked here, but a set may be handed on to someone who does.

    Raises:
        ShardError: It is none.
    """
    problem = (
        f"is {len(name):,} characters long"
        if len(name) > _MAX_NAME
        else "is an absolute path"
        if name.startswith("/")
        else "has '..' among its folders"
        if ".." in name and ".." in name.split("/")
        else "has control characters"
        if _CONTROL.search(name)
        else None
    )
    if problem:
        raise ShardError.at(
            path, name[:200], f"its name {problem}", "Write the tar with plain relative names."
        )
