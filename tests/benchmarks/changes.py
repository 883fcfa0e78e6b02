"""Changed pictures found by the tuned model, paired with what the base model finds without training.

    python -m tests.benchmarks.changes runs/shapes-differences/seed0 shapes

The run has been measured by experiments/evaluations/shapes.yaml (or eurosat.yaml, set `eurosat`).
"""

from __future__ import annotations

from pathlib import Path

from jsonargparse import auto_cli

from pcclip.evaluation.measured import RESULTS
from pcclip.evaluation.protocol import Results
from pcclip.evaluation.statistics import Observations

FOUND = ("sentence", "sentence-unseen", "direction", "direction-unseen")
FREE = ("text_difference", "word_delta", "nearest", "image_direction")


def one_method(results: Results, column: str) -> Results:
    """The mean over attributes of one method's recall, by a name that all methods share."""
    groups = {
        name: Observations(seen.first, seen.second, {"found": seen.scores[column]})
        for name, seen in results.groups.items()
        if name.startswith("change_retrieval ") and column in seen.scores
    }
    parts = tuple((name, "found") for name in groups)
    return Results(results.evaluated, results.pictures, groups, {"found": parts})


def run(run: Path, name: str) -> None:
    """Prints the changes with 95 % intervals over query pictures.

    Args:
        run: Folder of the run.
        name: Of the set and the suite.
    """
    base, tuned = (Results.load(run / RESULTS / name / stage / f"{name}.npz") for stage in ("base", "tuned"))
    for count in (1, 10):
        for mine in FOUND:
            for theirs in FREE:
                found = one_method(tuned, f"{mine}_recall_at_{count}")
                change = found.minus(one_method(base, f"{theirs}_recall_at_{count}")).estimates()["found"]
                interval = f"[{100 * change.low:+.1f}, {100 * change.high:+.1f}]"
                print(f"R@{count}: tuned {mine} - base {theirs} {100 * change.value:+.1f} {interval}")


if __name__ == "__main__":
    auto_cli(run, as_positional=True)
