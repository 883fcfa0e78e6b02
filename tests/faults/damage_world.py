"""A small world of everything that pcclip writes, made once per process by the commands themselves."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

from tests.benchmarks.soak import commands, go


@functools.cache
def world() -> Path:
    """A folder with `base` (a model) and `round`: data, texts, a bank, a finished run, caches, photos."""
    import torch

    from pcclip.model.checkpoint import save_folder
    from pcclip.model.towers import load_towers

    place = Path(tempfile.mkdtemp(prefix="damage-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    torch.manual_seed(0)
    save_folder(load_towers("pcclip-tiny", random_init=True), place / "base")
    for words in commands(place / "round", place / "base", workers=0):
        if words[0] not in ("inspect", "compare", "search"):
            go(words)
    return place


def run() -> Path:
    """The finished run."""
    return world() / "round/runs/soak/v000"
