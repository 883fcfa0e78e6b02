"""The command line's parsers: jsonargparse's, whose errors take a line or two and name the remedy."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, auto_cli


class Remedied:
    """Mixed into a parser: its errors are those of `pcclip.mistakes`, without usage, with status 2.

    Attributes:
        classes: Of settings that take a class: the one that they are mostly given, to suggest its settings.
    """

    classes: dict[str, type] = {}  # noqa: RUF012

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Says what is wrong and ends the process; inner parsers raise, as jsonargparse's own."""
        parser: Any = self
        if not parser.exit_on_error:
            super().error(message, ex)  # type: ignore[misc]
        from pcclip.mistakes import explain  # imports what only errors need

        asked = getattr(ex, "subcommand_parser", None) or parser
        words = list(getattr(parser, "args", None) or [])
        verb = asked.prog.replace("[options] ", "")
        if parser._subcommands_action is not None and words:
            verb = f"pcclip {words[0]}"
            asked = parser._subcommands_action._name_parser_map.get(words[0], parser)
        print(f"{verb}: {explain(message, words, asked)}", file=sys.stderr)
        raise SystemExit(2)


class Parser(Remedied, ArgumentParser):
    """The parser of a verb."""


def call(function: Callable[..., Any], words: Sequence[str], verb: str, positional: bool = False) -> Any:
    """Calls a typed function with the words of a command line.

    Args:
        function: Whose parameters and docstring make the options and their help.
        words: After the verb.
        verb: For help and errors.
        positional: Whether required parameters are words without an option.
    """
    prog = f"pcclip {verb}"
    return auto_cli(function, args=list(words), parser_class=Parser, prog=prog, as_positional=positional)
