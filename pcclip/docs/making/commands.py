"""The page of all verbs, from their own parsers."""

from __future__ import annotations

import argparse
import contextlib
import io
from collections.abc import Iterator
from typing import Any
from unittest import mock

import jsonargparse
from jsonargparse._actions import _ActionConfigLoad

from pcclip.cli import TRAINER_VERBS, VERBS
from pcclip.docs.making.classes import linked
from pcclip.docs.making.text import one_line, page, table, type_name, value

_INTRO = """\
`pcclip VERB --help` prints the same. Options of verbs that take `--config` can stand in YAML files, dots as
nesting; several `--config` are read from left to right, and options by hand win. `--print_config` shows what
came of them. `fit`, `validate` and `test` are Lightning's: their model, data and callbacks are classes with
settings of their own ([training](training.md)); options of Lightning's `Trainer` stand in its documentation,
here are only ours."""
_LONG = 300
_SKIPPED = ("help", "print_config", "print_shtab", "==SUPPRESS==")


class _Captured(Exception):
    """Carries a parser out of the verb that has just made it."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        super().__init__()
        self.parser = parser


def commands_page() -> str:
    """All verbs with their options."""
    body: list[str] = []
    for verb, (what, _) in VERBS.items():
        body += [f"## pcclip {verb}", "", f"{what[0].upper()}{what[1:]}.", ""]
        if verb in TRAINER_VERBS and verb != TRAINER_VERBS[0]:
            body += [f"The options are those of `pcclip {TRAINER_VERBS[0]}`.", ""]
            continue
        rows = list(_options(parser_of(verb), verb))
        body += [*table(("option", "type", "default", "what it is"), rows), ""] if rows else []
    return page("Commands", _INTRO, body)


def parser_of(verb: str) -> argparse.ArgumentParser:
    """The parser that a verb makes, caught before it parses."""

    def capture(parser: argparse.ArgumentParser, *_: Any, **__: Any) -> Any:
        raise _Captured(parser)

    patches = [
        mock.patch.object(kind, "parse_args", capture)
        for kind in (argparse.ArgumentParser, jsonargparse.ArgumentParser)
    ]
    for patch in patches:
        patch.start()
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # `judge` has more to say
            VERBS[verb][1]([verb] if verb in TRAINER_VERBS else [])
    except _Captured as caught:
        parser = caught.parser
    else:
        raise AssertionError(f"{verb}: has made no parser")
    finally:
        for patch in patches:
            patch.stop()
    commands = getattr(parser, "_subcommands_action", None)
    return commands.choices[verb] if commands is not None else parser


def _options(parser: argparse.ArgumentParser, verb: str) -> Iterator[tuple[str, str, str, str]]:
    for action in parser._actions:
        if not action.option_strings and action.dest in _SKIPPED:
            continue
        name = action.option_strings[-1] if action.option_strings else action.dest
        name = name.removesuffix("+")
        if action.dest in _SKIPPED or name.endswith(".help") or action.help == argparse.SUPPRESS:
            continue
        if verb in TRAINER_VERBS and name.startswith("--trainer."):
            continue
        kind = getattr(action, "_typehint", None) or action.type
        told = type_name(kind) if kind else "flag" if action.nargs == 0 else "text"
        if action.choices and not kind:
            told = ", ".join(map(str, action.choices))
        if len(text := one_line((action.help or "").split("(type:")[0])) > _LONG:  # Lightning's own
            text = f"{text.partition('. ')[0]}."
        default = "" if action.default in (None, argparse.SUPPRESS) else value(action.default)
        text = text.replace("%(default)s", default)
        if isinstance(action, _ActionConfigLoad):
            told, text = "settings", "A YAML file with those below."
        if action.required:
            text = f"**needed.** {text}"
        yield f"`{name}`", linked(told), f"`{default}`" if default else "", text
