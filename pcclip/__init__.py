"""pcclip: teach CLIP what it means that two pictures differ.

`pcclip.load` gives a model that encodes pictures and texts, and ranks and searches pictures by a difference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pcclip.inference.model import load

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> object:
    if name != "load":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # what is imported costs a second, which `import pcclip` should not

    return import_module("pcclip.inference.model").load
