"""The one entry point: `pcclip VERB ...`."""

from __future__ import annotations

import difflib
import faulthandler
import sys
from collections.abc import Callable, Sequence
from typing import Any

from pcclip import __version__
from pcclip.stopping import stoppable

TRAINER_VERBS = ("fit", "validate", "test")
_GOES_ON = dict.fromkeys(("fit", "resume"), "`pcclip resume` goes on with its folder, or the same command")


def _trainer(arguments: list[str]) -> None:
    from pcclip.lean_imports import import_torchmetrics, uncollected

    with uncollected():
        import_torchmetrics()
        from pcclip.trainer_cli import run  # imports torch and Lightning

    run(arguments)


def _resume(arguments: list[str]) -> None:
    from pcclip.parsing import call
    from pcclip.runs import resume_arguments

    # Further options count after the run's own: other devices, say.
    _trainer(call(resume_arguments, arguments[:1], "resume", positional=True) + arguments[1:])


def _compare(arguments: list[str]) -> None:
    from pcclip.evaluation.comparing.command import compare
    from pcclip.parsing import Parser

    parser = Parser(prog="pcclip compare", description="One table of several experiments.")
    add = parser.add_argument
    add("runs", nargs="+", help="run, experiment (newest run of each seed) or model result folders; the "
        "first experiment is the reference")  # fmt: skip
    add("--suite", help="compare by these evaluations (`fit`: those of the fits) with tests; without it, one "
        "table per experiment from its summaries")  # fmt: skip
    add("--stage", choices=("tuned", "interpolated"), default="tuned", help="which weights")
    add("--metrics", nargs="+", metavar="GLOB", help="only these metrics, as 'difference/*-wording-*'")
    add(
        "--all",
        action="store_true",
        help="every held-out wording; with --suite, all metrics but those of single wordings",
    )
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


def _sweep(arguments: list[str]) -> None:
    from pcclip.sweep.command import run

    run(arguments)


def _ordering(verb: str) -> Callable[[list[str]], None]:
    def run(arguments: list[str]) -> None:
        from pcclip.inference import commands

        getattr(commands, verb)(arguments)

    return run


def _function(module: str, name: str, positional: bool = False) -> Callable[[list[str]], None]:
    """A verb that is one typed function of its name, imported when it is called."""

    def verb(arguments: list[str]) -> None:
        import importlib

        from pcclip.lean_imports import uncollected
        from pcclip.parsing import call

        with uncollected():
            function = getattr(importlib.import_module(module), name)
        call(function, arguments, name, positional)

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
    "sweep": ("fits with many settings, one chosen by validation data alone", _sweep),
    "export": (
        "a model for open_clip, transformers or the hub, with its card",
        _function("pcclip.export.command", "export", positional=True),
    ),
    "rank": ("a folder's pictures in the order that a difference speaks of", _ordering("rank")),
    "search": ("a folder's pictures that are like one, but changed as a text says", _ordering("search")),
    "serve": ("a local page that orders and searches pictures by a difference", _serve),
    "compare": ("one table of several experiments, with tests of what differs", _compare),
    "report": ("one page on runs: what improved, what it cost, and why", _report),
    "completion": (
        "a script by which bash or zsh complete verbs and options",
        _function("pcclip.completion", "completion", positional=True),
    ),
}


_PURPOSES = {
    "make data": ("prepare", "write", "judge", "bank", "inspect"),
    "train": ("fit", "resume", "sweep", "validate", "test"),
    "see what it brought and cost": ("compare", "report", "evaluate", "arithmetic"),
    "use a model": ("rank", "search", "serve", "export"),
    "this program": ("completion",),
}


def _usage() -> str:
    purposes = _PURPOSES | {
        "the rest": tuple(VERBS.keys() - {v for verbs in _PURPOSES.values() for v in verbs})
    }
    parts = []
    for purpose, verbs in purposes.items():
        rows = "".join(f"  {verb:10} {VERBS[verb][0]}\n" for verb in verbs if verb in VERBS)
        parts.append(f"\n{purpose}:\n{rows}" if rows else "")
    return (
        f"usage: pcclip VERB [options]        (pcclip {__version__})\n{''.join(parts)}\n"
        "`pcclip VERB --help` tells more. --config FILE.yaml may be given several times: later files count."
    )


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
        near = difflib.get_close_matches(words[0], VERBS, n=1)
        meant = f"Is `pcclip {near[0]}` meant? " if near else ""
        print(
            f"pcclip: there is no verb '{words[0]}'. {meant}There are {', '.join(VERBS)}; "
            "`pcclip --help` says what they do.",
            file=sys.stderr,
        )
        return 2
    from pcclip.config_files import check
    from pcclip.config_rules import enforce  # imports jsonargparse, which every verb needs
    from pcclip.quiet import quiet
    from pcclip.remedies import users_error

    quiet()
    enforce()
    verb = words[0]
    with stoppable() as stop:
        try:
            check(words[1:])
            VERBS[verb][1](words if verb in TRAINER_VERBS else words[1:])
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            told = stop.number is not None and isinstance(error, SystemExit) and error.code == stop.status
            if told or (stop.number is None and isinstance(error, SystemExit | KeyboardInterrupt)):
                raise
            mine = users_error(error, verb)
            if stop.number is None and mine is None:
                raise
            goes_on = _GOES_ON.get(verb, "the same command goes on")
            print(f"pcclip {verb}: {mine or f'stopped by {stop.name}; {goes_on}'}", file=sys.stderr)
            return 1 if stop.number is None else stop.status
        return 0


if __name__ == "__main__":
    sys.exit(main())
