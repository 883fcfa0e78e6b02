"""Errors of the command line's parsers in words that name the setting, its place and the remedy."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pcclip.config_files import find, named
from pcclip.mistaken_options import missing, nearest, options, settings_of, unrecognised, without_value

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "list": "a list, as [A,B]",
}
_KEY = re.compile(r'Parser key "([^"]+)"(?: element \d+)?:\s*(.*)', re.S)
_CLASS = re.compile(r"Problem with given class_path '([^']+)':")
_CALLABLE = re.compile(r"Type .* expects a function or a callable class: (.*)", re.S)
_GIVEN_CLASS = re.compile(r"Got value: Namespace\(class_path='([^']+)'")
_UNKNOWN = re.compile(
    r"(?:Group '([^']+)' does not accept option|Subcommand '\w+' does not accept option|Option) '([^']+)'"
)
_NO_NAME = re.compile(r"module '([^']+)' has no attribute '([^']+)'")
_NO_MODULE = re.compile(r"No module named '([^']+)'")
_NO_SUBCLASS = re.compile(r"Import path (?:(\S+) )?does not correspond to a subclass of (\w+)")
_GIVEN = re.compile(r"Given value: (.*)")
_NO_PATH = re.compile(r"Expected a dot import path string: (\S+)")
_EXPECTED = re.compile(r"Expected an? (.+?)(?:\. Got value: (.*?)(?:\. Got value: .*)?)?$")
_OF_OTHER_VERBS = {
    "trainer": "fit",
    "model": "fit",
    "evaluations": "evaluate",
    "source": "prepare",
    "rows": "write",
    "writer": "write",
    "judges": "judge",
}
_FILES = (".yaml", ".yml", ".json")
"""Endings of settings that may be files as well as classes."""
_LISTED = 14
"""Most names in a message."""
_NO_SETTINGS = ("config", "help", "print_config", "print_shtab")
"""Options that a configuration cannot set."""


@dataclass
class _Found:
    """What a message of jsonargparse says, from its outermost line to its innermost."""

    keys: list[str] = field(default_factory=list)
    owner: str = ""
    expected: list[str] = field(default_factory=list)
    value: str = ""


def explain(message: str, words: Sequence[str], parser: Any) -> str:
    """What is wrong, where, and what to do.

    Args:
        message: Of jsonargparse.
        words: That were parsed.
        parser: That of the verb.
    """
    if message.startswith("the following arguments are required: "):
        return missing(message.partition(": ")[2].split(", "), words, parser)
    if message.startswith("unrecognized arguments: "):
        return unrecognised(message.partition(": ")[2].split()[0], parser)
    if found := re.fullmatch(r"argument (\S+): expected .*argument.*", message):
        return without_value(found[1], message, words)
    given = _GIVEN.search(message)  # of the innermost choice, which comes first
    found_, told = _Found(value=given[1] if given else ""), ""
    for line in message.splitlines():
        text = line.strip().removeprefix("- ")
        if text.startswith("Given value"):
            break
        if told := _read_line(text, found_, words, parser):
            break
    if told:
        return told
    if found_.expected:
        return _of_type(found_, words)
    return " ".join(message.split())


def _read_line(text: str, found: _Found, words: Sequence[str], parser: Any) -> str:
    """Takes up what a line says; the whole explanation where it is the innermost one."""
    if match := _KEY.match(text):
        found.keys.append(match[1])
        return _read_line(match[2], found, words, parser) if match[2] else ""
    if match := _CLASS.match(text):
        found.owner = match[1]
        return ""
    if match := _CALLABLE.match(text):
        if given := _GIVEN_CLASS.search(text):
            found.owner = given[1]
        return _read_line(match[1], found, words, parser)
    if match := _UNKNOWN.match(text):
        return _unknown(
            [*found.keys, *([match[1]] if match[1] else [])], match[2], found.owner, words, parser
        )
    if _NO_NAME.search(text) or _NO_MODULE.search(text):
        return _no_class(found, text, words)
    if match := _NO_SUBCLASS.search(text):
        return _wrong_class(found, match[1] or found.value, match[2], words)
    if "Importing '" in text:
        return f"{_place(found.keys, words)}{text} (what a configuration may name: pcclip/docs/configs.md)"
    if (match := _NO_PATH.match(text)) and re.match(r"[-+]?[\d.,]", match[1]):
        return f"{_place(found.keys, words)}{match[1]!r} is not a number (decimals have a point)."
    if match:
        return f"{_place(found.keys, words)}there is no class {match[1]}. Give its whole path: MODULE.CLASS."
    if (match := _EXPECTED.match(text)) and not text.startswith("Expected a path but "):
        found.expected.append(match[1])
        found.value = match[2] or found.value
    return ""


def _place(keys: Sequence[str], words: Sequence[str]) -> str:
    """Where and what a setting is: `FILE, line 3: data.batch_size: `."""
    key = ".".join(part for part in ".".join(keys).split(".") if part != "init_args")
    if not key:
        return ""
    if any(word.partition("=")[0] == f"--{key}" for word in words):
        return f"--{key}: "
    where = find(words, key)
    return f"{where}: {key}: " if where else f"{key}: "


def _unknown(keys: Sequence[str], name: str, owner: str, words: Sequence[str], parser: Any) -> str:
    if owner:
        kind = _imported(owner)
        prefix = f"{keys[-1]}." if f"{keys[-1]}." in " ".join(settings_of(kind)) else ""
        known = {n.removeprefix(prefix) for n in settings_of(kind) if n.startswith(prefix)}
    else:
        prefix = f"{'.'.join(keys)}." if keys else ""
        known = {
            n.removeprefix("--").removeprefix(prefix) for n in options(parser) if n.startswith(f"--{prefix}")
        }
    top = name.partition(".")[0]
    if not keys and top not in {one.partition(".")[0] for one in known} and top in _OF_OTHER_VERBS:
        files = ", ".join(map(str, named(words))) or "the configuration"
        other = _OF_OTHER_VERBS[top]
        return f"{files}: is for `pcclip {other}`: it sets {top!r}, which {parser.prog} does not have."
    place = _place([*keys, name], words)
    if near := nearest(name, known):
        return f"{place}there is no such setting. Is {near} meant?"
    shown = sorted(one for one in known if one.rpartition(".")[2] not in _NO_SETTINGS)
    if len(shown) <= _LISTED:
        return f"{place}there is no such setting. There are {', '.join(shown)}."
    option = (
        f" {owner} has others: `{parser.prog} --{keys[0]}.help {owner}` lists them." if owner and keys else ""
    )
    return f"{place}there is no such setting.{option or f' `{parser.prog} --help` lists them.'}"


def _imported(path: str) -> Any:
    module, _, name = path.rpartition(".")
    with suppress(Exception):
        return getattr(importlib.import_module(module), name)
    return None


def _no_class(found: _Found, text: str, words: Sequence[str]) -> str:
    path = found.owner or text
    if path.endswith(_FILES):
        return _no_file(found, path, words)
    module, _, name = path.rpartition(".")
    known: list[str] = []
    while module and not known:
        try:
            there = importlib.import_module(module)
        except ImportError:
            module, _, name = module.rpartition(".")
            continue
        known = [
            key for key, value in vars(there).items() if inspect.isclass(value) or inspect.isfunction(value)
        ]
        known += [one.name for one in pkgutil.iter_modules(getattr(there, "__path__", []))]
        break
    near = nearest(name, known) if module else ""
    rest = path.removeprefix(f"{module}.{name}")
    ask = (
        f" Is {module}.{near}{rest} meant?"
        if near
        else " Check its spelling, and that its package is installed."
    )
    return f"{_place(found.keys, words)}there is no class {path}.{ask}"


def _wrong_class(found: _Found, path: str, wanted: str, words: Sequence[str]) -> str:
    module = importlib.import_module(path.rpartition(".")[0])
    fits = [
        name
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and not inspect.isabstract(value)
        and any(base.__name__ == wanted for base in value.__mro__[1:])
    ]
    ask = (
        f" There {'is' if len(fits) == 1 else 'are'} {', '.join(fits)}."
        if fits
        else " Name a class of that kind."
    )
    return f"{_place(found.keys, words)}{path} is no {wanted}.{ask}"


def _no_file(found: _Found, path: str, words: Sequence[str]) -> str:
    place = _place(found.keys, words)
    counts = "" if place.startswith("--") else " In a configuration, paths count from its own folder."
    return f"{place}{path}: there is no such file.{counts}"


def _of_type(found: _Found, words: Sequence[str]) -> str:
    kinds, choices = [], list[str]()
    for text in found.expected:
        if literal := re.fullmatch(r"typing\.Literal\[(.*)\]", text):
            choices += [part.strip(" '\"") for part in literal[1].split(",")]
        elif "NoneType" not in text:
            name = re.sub(r"<class '([^']+)'>", r"\1", text)
            kinds.append(_KINDS.get(name, name))
    wanted = " or ".join(dict.fromkeys([*kinds, *(["one of " + ", ".join(choices)] if choices else [])]))
    if not wanted and found.value.endswith(_FILES):
        return _no_file(found, found.value, words)
    if wanted.endswith("is abstract"):
        key = ".".join(found.keys)
        return (
            f"{key}: no class is named. Give a configuration that names one, before the options, or "
            f"--{key}=MODULE.CLASS."
        )
    near = nearest(found.value, choices)
    ask = f" Is {near} meant?" if near else ""
    return f"{_place(found.keys, words)}{found.value!r} is not {wanted}.{ask}"
