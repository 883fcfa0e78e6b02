"""What a configuration may not do, whichever verb reads it; docs/configs.md is the page on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pcclip.errors import PcclipError
from pcclip.untrusted import check_yaml

# Beside what jsonargparse itself denies (os, subprocess, pickle, importlib, builtins.eval, ...): what loads
# pickles, compiles, or fetches and runs code.
DENIED = [
    "torch.load",
    "torch.serialization",
    "torch.hub",
    "torch.utils.cpp_extension",
    "torch.utils.model_zoo",
    "torch.package",
    "torch.jit",
    "numpy.load",
    "numpy.lib",
    "numpy.f2py",
    "numpy.ctypeslib",
    "pandas.read_pickle",
    "joblib",
    "cloudpickle",
    "dill",
    "yaml",
    "omegaconf",
    "huggingface_hub",
    "IPython",
    "pytest",
    "_pytest",
]


def enforce() -> None:
    """Sets jsonargparse's rules for this process: denied imports, bounded YAML, no objects of any type."""
    from jsonargparse import ArgumentParser, get_loader, set_loader, set_parsing_settings
    from yaml import YAMLError

    # Where a setting may be anything, {class_path: ...} stays a mapping: nothing is called for it.
    set_parsing_settings(import_path_denylist=DENIED, instantiate_subclass_spec_in_any=False)
    ArgumentParser(parser_mode="omegaconf+").parse_string("{}")  # lets jsonargparse make that loader
    for mode in ("yaml", "omegaconf+"):
        load = get_loader(mode)
        if not hasattr(load, "bounded"):
            set_loader(mode, _bounded(load), (YAMLError,))


def _bounded(load: Callable[[str], Any]) -> Callable[[str], Any]:
    def bounded(value: str) -> Any:
        try:
            check_yaml(value)
        except ValueError as error:
            raise PcclipError(f"a configuration is refused: {error}. Write it without that.") from error
        return load(value)

    bounded.bounded = True  # type: ignore[attr-defined]
    return bounded
