"""Results of a model on several sets, and where a run keeps them: `RUN/results/SUITE/STAGE/SET.npz`."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pcclip.errors import writing
from pcclip.evaluation.protocol import Results
from pcclip.folders import sync_files, sync_folder

RESULTS = "results"
FIT = "fit"
"""The suite that a fit itself measures."""
VALIDATION = "validation"
"""The same on the validation splits: what things are chosen by."""


class Measured(dict[str, Results]):
    """Results by the name of the evaluation set."""

    def add(self, results: Results) -> None:
        """Takes in more results; those of one and the same set become one."""
        name = results.evaluated.rpartition("/")[0]
        self[name] = self[name].merged(results) if name in self else results

    def values_by_name(self) -> dict[str, float]:
        """Every metric without its interval."""
        return {n: v for results in self.values() for n, v in results.values().items()}

    def estimates(self) -> dict[str, Any]:
        """Every metric with its interval."""
        return {n: e.as_dict() for results in self.values() for n, e in results.estimates().items()}

    def minus(self, base: Measured) -> Measured:
        """Paired change against `base`."""
        return Measured({name: results.minus(base[name]) for name, results in self.items() if name in base})

    def headline(self) -> str:
        """Zero-shot, retrieval and mean difference scores in one line."""
        shown = {
            n: v
            for n, v in self.values_by_name().items()
            if n.endswith("/top1")
            or re.fullmatch(r"retrieval/.+_recall_at_5", n)
            or ("-mean" in n and n.endswith("/two_alternative"))
        }
        return ", ".join(f"{n} {100 * v:.1f}" for n, v in shown.items())

    def save(self, folder: Path, beside: Mapping[str, bytes] | None = None) -> None:
        """Write one file per set, and others beside them by name; the folder appears whole."""
        partial, former = (folder.with_name(f".{folder.name}.{end}") for end in ("tmp", "old"))
        for left in (partial, former):  # by a process that was killed while it wrote
            shutil.rmtree(left, ignore_errors=True)
        try:
            with writing(folder):
                partial.mkdir(parents=True)
                for name, results in self.items():
                    results.save(partial / f"{name}.npz")
                for name, content in (beside or {}).items():
                    (partial / name).write_bytes(content)
                sync_files(partial)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        if folder.exists():  # it goes whole as well
            os.rename(folder, former)
            shutil.rmtree(former)
        os.rename(partial, folder)
        sync_folder(folder.parent)

    @classmethod
    def load(cls, folder: Path) -> Measured:
        """Read what `save` wrote."""
        return cls({path.stem: Results.load(path) for path in sorted(folder.glob("*.npz"))})
