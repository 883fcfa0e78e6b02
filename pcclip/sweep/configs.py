"""The configuration of a trial: the user's own, resolved, with the test split left out."""

from __future__ import annotations

import contextlib
import io
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from pcclip.errors import PcclipError
from pcclip.untrusted import parse_yaml

_SUITE = "pcclip.callbacks.evaluation.EvaluationSuite"
_PLACES = ("runs", "experiment", "version", "ckpt_path")
_SHOWN = 500  # characters of an error


def resolve(words: Sequence[str]) -> dict[str, Any]:
    """What `pcclip fit WORDS` would train by, every default and `${...}` in it.

    Args:
        words: Configurations and overrides, from left to right.

    Raises:
        PcclipError: They do not parse.
    """
    from pcclip.trainer_cli import run  # imports torch and Lightning

    printed, said = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
            run(["fit", *words, "--print_config"])
    except SystemExit as ended:
        if ended.code:
            told = " ".join(said.getvalue().rpartition("error: ")[2].split())
            raise PcclipError(f"`pcclip fit {shlex.join(words)}` is refused: {told[:_SHOWN]}") from ended
    found: dict[str, Any] = parse_yaml(printed.getvalue())
    return found


def without_test_split(config: dict[str, Any]) -> dict[str, Any]:
    """The same fit, measured on validation splits alone.

    Args:
        config: As `resolve` gives it; changed in place.

    Raises:
        PcclipError: It measures nothing that a trial could be chosen by.
    """
    suites = list(_suites(config))
    if not any(suite["evaluations"] for suite in suites):
        raise PcclipError(
            "fit: it has no EvaluationSuite with evaluations in trainer.callbacks, so no trial could be "
            "chosen. Add one, as experiments/shapes/differences.yaml has it"
        )
    for suite in suites:
        suite["test"] = False
    return config


def evaluations(config: dict[str, Any]) -> tuple[list[Any], str | None]:
    """Sets and protocols that a fit is measured by, and where it keeps embeddings."""
    suites = list(_suites(config))
    return [one for suite in suites for one in suite["evaluations"]], suites[0]["cache_dir"]


def common(config: dict[str, Any], varied: Sequence[str]) -> dict[str, Any]:
    """What all trials of a sweep share: every setting by dotted key, but places and what is varied.

    Args:
        config: As `resolve` gives it.
        varied: Keys, with or without `init_args` in them.
    """
    skipped = {_plain(key) for key in (*varied, *_PLACES)}
    flat = {_plain(key): value for key, value in _flat("", config)}
    return {
        key: value
        for key, value in flat.items()
        if not any(key == one or key.startswith(f"{one}.") for one in skipped)
    }


def _suites(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    callbacks = config["trainer"]["callbacks"] or []
    for one in callbacks if isinstance(callbacks, list) else [callbacks]:
        if one["class_path"] == _SUITE:
            yield one["init_args"]


def _plain(key: str) -> str:
    return ".".join(part for part in key.split(".") if part != "init_args")


def _flat(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, one in value.items():
            yield from _flat(f"{key}.{name}" if key else name, one)
    elif isinstance(value, list) and any(isinstance(one, dict) for one in value):
        for number, one in enumerate(value):
            yield from _flat(f"{key}.{number}", one)
    else:
        yield key, value
