"""Errors about the options of a command line, and the names that are likely meant."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from pcclip.config_files import named

_SHIPPED = {"prepare": "data_recipes/", "write": "data_recipes/", "judge": "data_recipes/"} | dict.fromkeys(
    ("fit", "validate", "test", "evaluate", "arithmetic", "sweep"), "experiments/"
)
"""Verbs that need a configuration, and the folder with some."""


def missing(names: Sequence[str], words: Sequence[str], parser: Any) -> str:
    """What a command lacks."""
    verb = parser.prog.rpartition(" ")[2]
    names = [name.removeprefix(f"{verb}.").lstrip("-") for name in names]
    told = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    if verb in _SHIPPED and (files := named(words)):
        return (
            f"{told}: not set in {', '.join(map(str, files))}. What changes a configuration in part is given "
            "after a whole one: --config WHOLE.yaml --config PART.yaml."
        )
    if verb in _SHIPPED:
        return (
            f"no configuration is given. Name one by --config FILE.yaml ({_SHIPPED[verb]} has some); it has "
            f"to set {told}."
        )
    helps = {action.dest: str(action.help or "").rstrip(".") for action in parser._actions}
    told = ", ".join(f"{name} ({helps[name]})" if helps.get(name) else name for name in names)
    return f"missing: {told}. `{parser.prog} --help` shows all."


def unrecognised(word: str, parser: Any) -> str:
    """A word that is no option, and the option that is meant."""
    option = word.partition("=")[0]
    if not option.startswith("-"):
        return f"'{word}': what is it for? Options are --NAME=VALUE; `{parser.prog} --help` lists them."
    known = sorted(options(parser))
    last = option.lstrip("-").rpartition(".")[2].replace("-", "_")
    near = nearest(option.replace("-", "_"), [name.replace("-", "_") for name in known])
    same = [name for name in known if name.rpartition(".")[2].lstrip("-") == last]
    meant = same[0] if len(same) == 1 else next((n for n in known if n.replace("-", "_") == near), "")
    ask = f" Is {meant} meant?" if meant else ""
    return f"{option}: there is no such option.{ask} `{parser.prog} --help` lists them."


def options(parser: Any) -> set[str]:
    """The options of a parser, those of its usual classes too."""
    known = {name for action in parser._actions for name in action.option_strings if name.startswith("--")}
    for key, kind in parser.classes.items():
        known |= {f"--{key}.{name}" for name in settings_of(kind)}
    return known


def without_value(option: str, message: str, words: Sequence[str]) -> str:
    """An option that ends the line, or is followed by another."""
    for word, after in zip(words, [*words[1:], "--"], strict=True):
        if word.startswith(option) and "=" not in word and after.startswith("--"):
            return f"{word}: has no value. Give {word}=VALUE."
    return message.removeprefix("argument ")


def nearest(word: str, known: Iterable[str]) -> str:
    """The known name that a word most likely stands for, or an empty one."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return near[0] if near else ""


def settings_of(kind: Any) -> list[str]:
    """Names of the settings that a class, or a function that makes one, takes."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    with suppress(Exception):  # for suggestions only
        if inspect.isclass(kind):
            parser.add_class_arguments(kind, fail_untyped=False)
        else:
            parser.add_function_arguments(kind, fail_untyped=False)
    return [action.dest for action in parser._actions if action.dest != "help" and action.option_strings]
