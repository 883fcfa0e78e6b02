"""The one entry point: `pcclip VERB ...`."""

from __future__ import annotations

import faulthandler
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from pcclip import __version__
from pcclip.errors import PcclipError, disk_error
from pcclip.stopping import stoppable

TRAINER_VERBS = ("fit", "validate", "test")
_GOES_ON = dict.fromkeys(("fit", "resume"), "`pcclip resume` goes on with its folder, or the same command")


def _trainer(arguments: list[str]) -> None:
    from pcclip.lean_imports import import_torchmetrics

    import_torchmetrics()
    from pcclip.trainer_cli import run  # imports torch and Lightning

    run(arguments)


def _resume(arguments: list[str]) -> None:
    from jsonargparse import auto_cli

    from pcclip.runs import resume_arguments

    # Further options count after the run's own: other devices, say.
    _trainer(auto_cli(resume_arguments, args=arguments[:1]) + arguments[1:])


def _compare(arguments: list[str]) -> None:
    from jsonargparse import ArgumentParser

    from pcclip.evaluation.comparing.command import compare

    parser = ArgumentParser(prog="pcclip compare", description="One table of several experiments.")
    add = parser.add_argument
    add("runs", nargs="+", help="run, experiment (newest run of each seed) or model result folders; the "
        "first experiment is the reference")  # fmt: skip
    add("--suite", help="compare by these evaluations (`fit`: those of the fits) with tests; without it, one "
        "table per experiment from its summaries")  # fmt: skip
    add("--stage", choices=("tuned", "interpolated"), default="tuned", help="which weights")
    add("--metrics", nargs="+", metavar="GLOB", help="only these metrics, as 'difference/*-wording-*'")
    add("--all", action="store_true", help="all metrics but those of single wordings")
    add("--markdown", metavar="FILE", help="write the table there as Markdown")
    add("--csv", metavar="FILE", help="write all numbers there, p-values too")
    add("--plot", metavar="FILE.png", help="draw changes and interpolation curves there")
    words = parser.parse_args(arguments)
    compare(
        words.runs, words.suite, words.stage, words.metrics, words.markdown, words.csv, words.plot, words.all
    )


def _write(arguments: list[str]) -> None:
    words = ["--dry_run=true" if word == "--dry-run" else word for word in arguments]
    _function("pcclip.generation.write", "write")(words)


def _judge(arguments: list[str]) -> None:
    from pcclip.generation.judging.cli import run

    run(arguments)


def _report(arguments: list[str]) -> None:
    from pcclip.report.command import run

    run(arguments)


def _serve(arguments: list[str]) -> None:
    from pcclip.inference.serve.command import run

    run(arguments)


def _ordering(verb: str) -> Callable[[list[str]], None]:
    def run(arguments: list[str]) -> None:
        from pcclip.inference import commands

        getattr(commands, verb)(arguments)

    return run


def _function(module: str, name: str, positional: bool = False) -> Callable[[list[str]], None]:
    """A verb that is one typed function, imported when it is called."""

    def verb(arguments: list[str]) -> None:
        import importlib

        from jsonargparse import auto_cli

        auto_cli(getattr(importlib.import_module(module), name), args=arguments, as_positional=positional)

    return verb


VERBS: dict[str, tuple[str, Callable[[list[str]], Any]]] = {
    "prepare": (
        "make pictures, differences and shards from a recipe",
        _function("pcclip.data.prepare", "prepare"),
    ),
    "write": ("have differences written by a language model or by rules", _write),
    "judge": ("have written texts rated, by language models or by people", _judge),
    "inspect": (
        "what is in a set, a bank, a model or a run, and whether it is as it was written",
        _function("pcclip.inspection", "inspect", positional=True),
    ),
    "bank": ("embed a picture set once by a frozen tower", _function("pcclip.data.bank_cli", "bank")),
    "fit": ("train by a configuration", _trainer),
    "validate": ("losses and evaluations on the validation split", _trainer),
    "test": ("evaluations on the test split", _trainer),
    "evaluate": (
        "any protocols on any sets, for finished runs and other models",
        _function("pcclip.evaluation.evaluate", "evaluate"),
    ),
    "arithmetic": (
        "pictures from embedding arithmetic, drawn by a generator and measured, base against tuned",
        _function("pcclip.arithmetic.command", "arithmetic"),
    ),
    "resume": ("go on with a stopped fit in its own run folder", _resume),
    "export": (
        "a model for open_clip, transformers or the hub, with its card",
        _function("pcclip.export.command", "export", positional=True),
    ),
    "rank": ("a folder's pictures in the order that a difference speaks of", _ordering("rank")),
    "search": ("a folder's pictures that are like one, but changed as a text says", _ordering("search")),
    "serve": ("a local page that orders and searches pictures by a difference", _serve),
    "compare": ("one table of several experiments, with tests of what differs", _compare),
    "report": ("one page on runs: what improved, what it cost, and why", _report),
}


def _usage() -> str:
    rows = "\n".join(f"  {verb:10} {what}" for verb, (what, _) in VERBS.items())
    return f"pcclip {__version__}\n\nusage: pcclip VERB [--help] [options]\n\n{rows}"


def main(args: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        args: words after `pcclip`; the process's own when None.

    Returns:
        Exit status: 0, 1 after an error of the user's files or settings, 2 for an unknown verb, 128 + the
        signal's number after SIGTERM (143) or Ctrl-C (130).
    """
    words = list(sys.argv[1:] if args is None else args)
    if args is None:
        faulthandler.enable()  # a library that crashes ends the process without a word else
    if not words or words[0] in ("-h", "--help", "--version"):
        print(__version__ if words[:1] == ["--version"] else _usage())
        return 0
    if words[0] not in VERBS:
        print(f"unknown verb '{words[0]}'\n\n{_usage()}", file=sys.stderr)
        return 2
    from pcclip.config_rules import enforce  # imports jsonargparse, which every verb needs

    enforce()
    with stoppable() as stop:
        try:
            VERBS[words[0]][1](words if words[0] in TRAINER_VERBS else words[1:])
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            told = stop.number is not None and isinstance(error, SystemExit) and error.code == stop.status
            if told or (stop.number is None and isinstance(error, SystemExit | KeyboardInterrupt)):
                raise
            mine = _user_error(error)
            if stop.number is None and mine is None:
                raise
            goes_on = _GOES_ON.get(words[0], "the same command goes on")
            print(f"pcclip {words[0]}: {mine or f'stopped by {stop.name}; {goes_on}'}", file=sys.stderr)
            return 1 if stop.number is None else stop.status
        return 0


def _user_error(error: BaseException | None) -> PcclipError | None:
    """The user's error in a chain of causes: jsonargparse wraps what a constructor raises."""
    while error is not None and not isinstance(error, PcclipError):
        if _is_of_a_dead_worker(error):
            return PcclipError(
                "a process that reads data has died, of too little memory as a rule: give fewer workers. "
                "What was saved is kept: go on with it as after any stop."
            )
        if (trouble := disk_error(error)) is not None:
            return trouble
        error = error.__cause__ or error.__context__
    return error


def _is_of_a_dead_worker(error: BaseException) -> bool:
    """Whether torch says that a data worker has died, or could not take what a dead one had sent."""
    if isinstance(error, RuntimeError):
        return str(error).startswith("DataLoader worker (pid")
    if not isinstance(error, ConnectionError | EOFError | FileNotFoundError):
        return False
    frames = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code.co_name == "_try_get_data" for frame, _ in frames)


if __name__ == "__main__":
    sys.exit(main())
