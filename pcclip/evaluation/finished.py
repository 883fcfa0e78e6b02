"""Finished runs and their summaries."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcclip.checksums import check_seal
from pcclip.errors import PcclipError
from pcclip.untrusted import parse_json

SCHEMA = 1

Summary = Mapping[str, Any]


@dataclass(frozen=True)
class Finished:
    """A finished run.

    Attributes:
        folder: Of the run.
        summary: What its summary.json says.
    """

    folder: Path
    summary: Summary

    @property
    def experiment(self) -> str:
        """Name of its experiment."""
        return str(self.summary["experiment"])

    @property
    def seed(self) -> int:
        """The seed that it was trained with."""
        return int(self.summary["seed"])


def load_summaries(folders: Iterable[Path]) -> list[Summary]:
    """The summaries of `finished_runs`."""
    return [run.summary for run in finished_runs(folders)]


def finished_runs(folders: Iterable[Path]) -> list[Finished]:
    """Run folders, or the newest finished run of each seed in experiment folders.

    Of folders that `pcclip fit` named (`v000`, `v001`, ...) the highest number is the newest, whatever the
    clock said; folders with names of the user's own come before them, by the time of their summary.

    Raises:
        PcclipError: A folder has no summary, or one of another version.
    """
    found: list[Finished] = []
    for folder in folders:
        if (folder / "summary.json").is_file():
            found.append(Finished(folder, _load(folder / "summary.json")))
            continue
        files = [file for file in folder.glob("*/summary.json") if not file.parent.is_symlink()]
        by_seed: dict[Any, Finished] = {}
        for file in sorted(files, key=_age):
            summary = _load(file)
            if "base" in summary and "tuned" in summary:
                by_seed[summary["seed"]] = Finished(file.parent, summary)
        if not by_seed:
            above = next((one for one in folder.parents if (one / "summary.json").is_file()), None)
            ask = f"Is {above} meant?" if above else "Name RUNS/EXPERIMENT or RUNS/EXPERIMENT/VERSION;"
            raise PcclipError(
                f"{folder}: no finished run (no summary.json in it, or in a folder of it, that holds 'base' "
                f"and 'tuned'). {ask} `pcclip resume` finishes a stopped run."
            )
        found += [by_seed[seed] for seed in sorted(by_seed)]
    return found


def _age(file: Path) -> tuple[int, float]:
    claimed = re.fullmatch(r"v(\d+)", file.parent.name)
    return (int(claimed[1]), 0.0) if claimed else (-1, file.stat().st_mtime)


def _load(file: Path) -> Summary:
    try:
        summary = parse_json(file.read_text(encoding="utf-8"))
        schema = summary["schema"]
        check_seal(summary)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PcclipError(f"{file}: is no summary of a run ({error!r}). Run it again.") from error
    if schema != SCHEMA:
        raise PcclipError(f"{file}: schema {schema!r}, this version reads {SCHEMA}. Run it again.")
    return summary
