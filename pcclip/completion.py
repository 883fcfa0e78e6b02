"""`pcclip completion`: a script by which bash or zsh complete verbs, options and file names.

The script is static: completing starts no Python.
"""

from __future__ import annotations

import argparse
import contextlib
import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, get_args

from jsonargparse import ArgumentParser, capture_parser

from pcclip.errors import PcclipError
from pcclip.mistaken_options import settings_of

_FOLDERS = ("out", "runs", "folder", "cache_dir", "pictures", "images", "bank", "triples", "model")
"""Settings that take a folder, by the last part of their names; other words are completed as files."""
_LINES = {
    "judge": [["--people=x"], ["--import=x"], ["--texts=x"]],  # its forms have options of their own
    "resume": [[], ["fit"]],
}

Verbs = Mapping[str, tuple[str, Callable[[list[str]], Any]]]


def completion(shell: Literal["bash", "zsh"]) -> None:
    """Prints the script that makes a shell complete `pcclip`.

    Args:
        shell: Which.
    """
    import shtab

    from pcclip.cli import TRAINER_VERBS, VERBS

    script = shtab.complete(_whole(VERBS, TRAINER_VERBS), shell)
    # What the function does not know, as in --config=FILE, is a file; folders end with a slash.
    print(script.replace("complete -o bashdefault -F", "complete -o bashdefault -o default -o filenames -F"))


def _whole(verbs: Verbs, of_trainer: tuple[str, ...]) -> argparse.ArgumentParser:
    """A plain parser of all verbs with the names of their options."""
    root = argparse.ArgumentParser("pcclip", add_help=False)
    subparsers = root.add_subparsers()
    for verb, (what, run) in verbs.items():
        parser = subparsers.add_parser(verb, help=what, add_help=False)
        for words in _LINES.get(verb, [[]]):
            source = verbs["fit"][1] if words == ["fit"] else run
            begin = ["fit"] if words == ["fit"] else [verb] if verb in of_trainer else words
            with contextlib.suppress(PcclipError):
                _add(parser, _parser_of(source, begin))
    return root


def _parser_of(run: Callable[[list[str]], Any], words: list[str]) -> ArgumentParser:
    """The parser that a verb would parse words with."""
    with contextlib.redirect_stdout(io.StringIO()):
        found = capture_parser(lambda: run(words))
    if found._subcommands_action is not None:
        found = found._subcommands_action._name_parser_map[words[0]]
    return found


def _add(parser: argparse.ArgumentParser, source: ArgumentParser) -> None:
    known = set(parser._option_string_actions)
    for name, choices, text in _options(source):
        if name not in known:
            known.add(name)
            action = parser.add_argument(name, help=text, choices=choices)
            _complete(action, name)
    for action in source._actions:
        if not action.option_strings and not any(one.dest == action.dest for one in parser._actions):
            _complete(parser.add_argument(action.dest, nargs=action.nargs, help=_help(action)), action.dest)


def _options(source: ArgumentParser) -> Iterator[tuple[str, list[str] | None, str]]:
    """Options, what they may be where that is a list, and their help."""
    for action in source._actions:
        for name in action.option_strings:
            # `--trainer.callbacks+` appends, `--trainer.callbacks.help` asks: both are one key away.
            if (
                name.startswith("--")
                and not name.endswith(("+", ".help"))
                and action.help != argparse.SUPPRESS
            ):
                yield name, _choices(action), _help(action)
    for key, kind in getattr(source, "classes", {}).items():
        for setting in settings_of(kind):
            yield f"--{key}.{setting}", None, ""


def _choices(action: argparse.Action) -> list[str] | None:
    if action.choices:
        return [str(choice) for choice in action.choices]
    kind = getattr(action, "_typehint", None)
    if kind is bool:
        return ["true", "false"]
    found = [str(value) for value in get_args(kind)] if getattr(kind, "__origin__", None) is Literal else []
    return found or None


def _help(action: argparse.Action) -> str:
    return str(action.help or "").replace("%", "%%").partition(". ")[0][:80]


def _complete(action: argparse.Action, name: str) -> None:
    import shtab

    last = name.lstrip("-").rpartition(".")[2]
    if action.choices is None:
        action.complete = shtab.DIRECTORY if last in _FOLDERS else shtab.FILE  # type: ignore[attr-defined]
