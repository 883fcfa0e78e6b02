"""The configuration files that a command names: checked before they are composed, and searched for a key."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pcclip.errors import PcclipError
from pcclip.untrusted import check_yaml

_OPTIONS = ("--config", "-c")
_FOLDERS = ("experiments", "data_recipes")


def named(words: Sequence[str]) -> list[Path]:
    """Files that `--config` names, from left to right; configurations written out as words are none."""
    given = []
    for at, word in enumerate(words):
        option, equals, value = word.partition("=")
        if option not in _OPTIONS:
            continue
        value = value if equals else words[at + 1] if at + 1 < len(words) else ""
        if value and not value.lstrip().startswith(("{", "-")) and "\n" not in value and "://" not in value:
            given.append(Path(value))
    return given


def check(words: Sequence[str]) -> None:
    """Refuses configuration files that cannot be read; says so where one has no effect.

    Raises:
        PcclipError: A file is missing, is a folder, or is no YAML of settings; with the line.
    """
    roots = [(file, _read(file)) for file in named(words)]
    for at, (file, root) in enumerate(roots):
        own = set(_leaves(root))
        later = {leaf for _, other in roots[at + 1 :] for leaf in _leaves(other)}
        if own and own <= later:
            after = " and ".join(str(other) for other, _ in roots[at + 1 :])
            print(
                f"note: {file} has no effect: {after}, given after it, sets all that it sets. Give what "
                "changes a configuration after it.",
                file=sys.stderr,
            )


def find(words: Sequence[str], key: str) -> str:
    """Where a setting was written, for people: `FILE, line 12`, or empty.

    Args:
        words: Of the command line.
        key: As the parser names it, without `init_args`: `data.batch_size`.
    """
    parts = [part for part in key.split(".") if part != "init_args"]
    for file in reversed(named(words)):  # the last one counts
        line = _line(_read(file), parts)
        if line is not None:
            return f"{file}, line {line + 1}"
    return ""


def _read(file: Path) -> Any:
    """The root node of a file's YAML."""
    import yaml

    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise PcclipError(f"--config {file}: there is no such file.{_near(file)}") from None
    except IsADirectoryError:
        raise PcclipError(f"--config {file}: is a folder. Name a file in it.{_near(file / '?')}") from None
    except UnicodeDecodeError as error:
        raise PcclipError(
            f"--config {file}: is no text in UTF-8 ({error.reason}). Give a YAML file."
        ) from None
    try:
        check_yaml(text)
        root = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except ValueError as error:
        raise PcclipError(f"{file}: a configuration is refused: {error}. Write it without that.") from error
    except yaml.YAMLError as error:
        raise PcclipError(_not_yaml(file, text, error)) from None
    if root is None:
        raise PcclipError(
            f"{file}: is empty. Give a configuration; experiments/ and data_recipes/ have some."
        )
    if not isinstance(root, yaml.MappingNode):
        raise PcclipError(
            f"{file}: holds no settings (lines of 'key: value'). Is it the right file? experiments/ and "
            "data_recipes/ have configurations."
        )
    return root


def _not_yaml(file: Path, text: str, error: Any) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    if mark is None:
        return f"{file}: is no YAML ({problem}). Mend it."
    lines = text.splitlines()
    line = lines[min(mark.line, len(lines) - 1)]
    tabs = ". YAML is indented by spaces, not tabs." if "\t" in line else ""
    return f"{file}, line {mark.line + 1}: is no YAML ({problem}) at or before: {line.strip()[:80]}{tabs}"


def _near(file: Path) -> str:
    """Files that may be meant."""
    beside = [other.as_posix() for other in file.parent.glob("*.yaml")] if file.parent.is_dir() else []
    if file.name == "?":
        return f" It has {', '.join(sorted(beside)[:6])}." if beside else ""
    near = difflib.get_close_matches(file.as_posix(), beside, n=2, cutoff=0.6)
    if not near:
        shipped = [one for folder in _FOLDERS for one in Path(folder).glob("**/*.yaml")]
        near = [one.as_posix() for one in shipped if one.name == file.name][:3]
        near = near or difflib.get_close_matches(
            file.as_posix(), map(Path.as_posix, shipped), n=2, cutoff=0.6
        )
    if near:
        return f" Is {' or '.join(near)} meant?"
    where = "" if file.is_absolute() else f" Relative paths count from where the command runs, {Path.cwd()}."
    return f"{where} experiments/ and data_recipes/ have configurations."


def _leaves(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    import yaml

    if not isinstance(node, yaml.MappingNode) or not node.value:
        yield path
        return
    for key, value in node.value:
        yield from _leaves(value, (*path, str(key.value)))


def _line(node: Any, parts: Sequence[str]) -> int | None:
    """The line of a key: found however deep `init_args` lie between."""
    import yaml

    if isinstance(node, yaml.SequenceNode):
        found = (_line(item, parts) for item in node.value)
        return next((line for line in found if line is not None), None)
    if not isinstance(node, yaml.MappingNode):
        return None
    for key, value in node.value:
        name = str(key.value).rstrip("+")
        if name == parts[0]:
            line = key.start_mark.line if len(parts) == 1 else _line(value, parts[1:])
        else:
            line = _line(value, parts) if name == "init_args" else None
        if line is not None:
            return line
    return None
