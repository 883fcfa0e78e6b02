"""What arithmetic did to painted shapes: the tuned sentence beside the base's and the training-free one.

python -m pcclip.demos.painter.report
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from pcclip.arithmetic.cases import CaseFile, slug
from pcclip.arithmetic.command import PICTURES
from pcclip.data.sources.shapes_drawing import KINDS
from pcclip.demos.painter.reader import read
from pcclip.demos.painter.scorer import subject
from pcclip.errors import PcclipError
from pcclip.evaluation.measured import RESULTS
from pcclip.evaluation.protocol import Results
from pcclip.evaluation.statistics import Estimate

_SENTENCE, _DIRECTION = "painted-shapes", "painted-shapes-text-difference"
_CASES, _DIRECTION_CASES = "shapes", "shapes-text-difference"
_SCORES = ("moved", "stayed", "both")


def report(run: str = "runs/shapes-differences/seed0") -> None:
    """Prints a table of shares, and the paired changes against what needs no finetuning.

    Args:
        run: Folder of a run for which `pcclip arithmetic` has drawn both suites.

    Raises:
        PcclipError: A suite has not been drawn, or other cases.
    """
    base, tuned = (_load(Path(run), _SENTENCE, tower) for tower in ("base", "tuned"))
    free = _named_alike(_load(Path(run), _DIRECTION, "base"))
    columns = {"base, sentence": base, "tuned, sentence": tuned, "base, text difference": free}
    table = Table("", *columns, title=f"{run}, {base.pictures} cases")
    estimates = {name: results.estimates() for name, results in columns.items()}
    for metric in (name for score in ("as_asked", *_SCORES) for name in base.metrics if name.endswith(score)):
        table.add_row(
            metric.removeprefix(f"arithmetic/{_CASES}/"),
            *(_share(found[metric]) for found in estimates.values()),
        )
    console = Console(width=140)
    console.print(table)
    console.print(_painted(Path(run)), soft_wrap=True, highlight=False)
    for name, changes in (
        ("tuned sentence - base sentence", tuned.minus(base)),
        ("tuned sentence - base text difference", tuned.minus(free)),
        ("tuned sentence - base in words", _over_words(tuned, base)),
        ("base text difference - base in words", _over_words(free, base)),
    ):
        found = changes.estimates()
        means = (
            metric for score in _SCORES for metric in found if "/mean" in metric and metric.endswith(score)
        )
        told = (f"{metric.split('/', 2)[2]} {_change(found[metric])}" for metric in means)
        console.print(f"{name}: {'; '.join(told)}", soft_wrap=True, highlight=False)


def _painted(run: Path) -> str:
    """Whether the base tower's pictures without change show what was asked for."""
    folder = run / PICTURES / _SENTENCE / "base"
    right = []
    for case in {case.subject: case for case in CaseFile.load(_CASES).cases}.values():
        for file in sorted((folder / slug(case.subject)).glob("w0-*.png")):
            with Image.open(file) as picture:
                seen = read(picture)
            colour, kind = subject(case)
            right.append((seen.colour == colour, seen.kind == kind))
    colours, kinds = np.mean(right, axis=0) if right else (np.nan, np.nan)
    return (
        f"{len(right)} pictures without change: the asked colour in {100 * colours:.1f} %, the asked kind in "
        f"{100 * kinds:.1f} % (chance {100 / len(KINDS):.1f} %)"
    )


def _metrics(results: Results, scores: tuple[str, ...]) -> list[str]:
    return [metric for score in scores for metric in results.metrics if metric.endswith(f"/{score}")]


def _load(run: Path, suite: str, tower: str) -> Results:
    cases = _CASES if suite == _SENTENCE else _DIRECTION_CASES
    file = run / RESULTS / suite / tower / f"{cases}.npz"
    if not file.is_file():
        raise PcclipError(f"{file}: is not there. Draw the pictures: make demo-arithmetic")
    return Results.load(file)


def _named_alike(results: Results) -> Results:
    """The same numbers by the names of the sentences' cases: subjects and attributes are the same."""

    def name(old: str) -> str:
        return old.replace(_DIRECTION_CASES, _CASES)

    return replace(
        results,
        evaluated=name(results.evaluated),
        groups={name(group): seen for group, seen in results.groups.items()},
        metrics={
            name(metric): tuple((name(group), column) for group, column in parts)
            for metric, parts in results.metrics.items()
        },
    )


def _over_words(mine: Results, words: Results) -> Results:
    """The change from `words`' pictures of the attribute in words to every picture by arithmetic."""
    there = {group: seen for group, seen in words.groups.items() if "words" in seen.scores}
    told = {
        group: replace(seen, scores=dict.fromkeys(seen.scores, there[group].scores["words"]))
        for group, seen in mine.groups.items()
        if group in there
    }
    metrics = {m: parts for m, parts in mine.metrics.items() if all(group in told for group, _ in parts)}
    kept = replace(mine, groups={group: mine.groups[group] for group in told}, metrics=metrics)
    return kept.minus(replace(kept, groups=told))


def _share(one: Estimate) -> str:
    return f"{100 * one.value:.1f} [{100 * one.low:.1f}, {100 * one.high:.1f}]"


def _change(one: Estimate) -> str:
    return f"{'▼ ' * (one.value < 0)}{100 * one.value:+.1f} [{100 * one.low:+.1f}, {100 * one.high:+.1f}]"


if __name__ == "__main__":
    from pcclip.demos import command

    command(report)
