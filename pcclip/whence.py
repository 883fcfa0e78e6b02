"""What to do about a file that is not there: the command that makes it, or the folder to run in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

_PLACES = ("data_recipes", "experiments")
_COMMAND = re.compile(r"^# +(pcclip (?:prepare|write|fit) (?:.*\\\n# *)*.*)$", re.M)
_SEEDED = re.compile(r"seed(\d+)")


def whence(path: str | Path) -> str:
    """Says how to come by a file or folder that a shipped configuration makes.

    Args:
        path: That is missing, as the setting has it: relative paths count from the folder of the command.

    Returns:
        A sentence with a space before it; empty where nothing is known.
    """
    wanted = Path(path)
    if wanted.is_absolute():
        return ""
    here = Path.cwd()
    root = next((one for one in (here, *here.parents, _checkout()) if _is_checkout(one)), None)
    if root is None:
        return f" Relative paths count from where the command runs, {here}."
    if root != here and (root / wanted).exists():
        return f" Relative paths count from where the command runs, {here}: run it in {root}, which has it."
    for config, made in _made(root):
        if wanted == made or made in wanted.parents:
            where = "" if root == here else f" Run it in {root}."
            return f" It is made by `{_command(config, root, wanted, made)}`.{where}"
    return ""


def _is_checkout(folder: Path) -> bool:
    return all((folder / name).is_dir() for name in _PLACES)


def _checkout() -> Path:
    return Path(__file__).resolve().parents[1]


def _made(root: Path) -> Iterator[tuple[Path, Path]]:
    """Shipped configurations, and the folders that they make, relative to the root."""
    for place, key, folder in (("data_recipes", "out", "."), ("experiments", "experiment", "runs")):
        for config in sorted((root / place).glob("**/*.yaml")):
            text = config.read_text(encoding="utf-8")
            if found := re.search(rf"^{key}: *([\w./-]+)", text, re.M):
                yield config, Path(folder, found[1])


def _command(config: Path, root: Path, wanted: Path, made: Path) -> str:
    named = config.relative_to(root).as_posix()
    text = config.read_text(encoding="utf-8")
    told = [re.sub(r" *\\\n# *", " ", command) for command in _COMMAND.findall(text)]
    told = [command for command in told if "--dry-run" not in command]
    verb = "fit" if re.search(r"^experiment:", text, re.M) else "prepare"
    command = next((one for one in told if named in one), f"pcclip {verb} --config {named}")
    version = wanted.relative_to(made).parts[:1] if verb == "fit" else ()
    if version and (seed := _SEEDED.fullmatch(version[0])):  # the command of the header is of one seed
        command = re.sub(r" --(seed_everything|version) \S+", "", command)
        command += f" --seed_everything {seed[1]} --version {version[0]}"
    return command
