"""The sweep's table: its columns and cells, and what must be said beside it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from pcclip.evaluation.statistics import Estimate
from pcclip.report.tables import Cell
from pcclip.sweep.choosing import Found, Trial
from pcclip.sweep.objectives import COST, GAIN
from pcclip.sweep.ranges import Value

LOSS = "▼"


def points(value: float) -> str:
    """A change in points, with its sign."""
    return f"{100 * value:+.1f}"


def interval(estimate: Estimate) -> str:
    """A change in points with its interval; a loss is marked."""
    loss = f"{LOSS} " * (estimate.value < 0)
    return f"{loss}{points(estimate.value)} [{points(estimate.low)}, {points(estimate.high)}]"


@dataclass(frozen=True)
class Line:
    """One trial in the table.

    Attributes:
        trial: Of the row.
        cells: One per column.
        marks: `chosen`, `Pareto`, `loses`, `failed` or `running`.
    """

    trial: Trial
    cells: tuple[Cell | str, ...]
    marks: tuple[str, ...]


def names(found: Found) -> tuple[str, ...]:
    """What the objectives are called."""
    gain = "difference gain" if found.globs[0] == GAIN else "gain"
    cost = "zero-shot change" if found.globs[1:] == (COST,) else "cost"
    return (gain, cost)[: len(found.globs)]


def columns(found: Found) -> list[str]:
    """Headings of the table."""
    tested = [f"{name}, test" for name in names(found)] if any(t.test for t in found.trials) else []
    return ["trial", *_short_keys(found.keys), *names(found), *tested]


def table(found: Found) -> list[Line]:
    """Rows: complete trials by their gain, then the others."""
    complete = sorted(found.complete, key=lambda trial: -trial.gain.mean.value if trial.gain else 0.0)
    chosen, pareto = found.chosen, found.pareto
    tested = any(trial.test for trial in found.trials)
    rows = []
    for trial in [*complete, *(trial for trial in found.trials if trial.gain is None)]:
        marks = [
            *(["chosen"] if chosen is not None and trial.number == chosen.number else []),
            *(["Pareto"] if trial.number in pareto else []),
            *(["loses"] if trial.loses else []),
            *([trial.state] if trial.gain is None else []),
        ]
        objectives = [trial.gain, trial.cost][: len(found.globs)]
        cells: list[Cell | str] = [", ".join((str(trial.number), *marks))]
        cells += [show(trial.params.get(key)) for key in found.keys]
        cells += ["" if one is None else _cell(one.mean) for one in objectives]
        if tested:
            test = trial.test or [None] * len(found.globs)
            cells += ["" if one is None else _cell(one.mean) for one in test]
        rows.append(Line(trial, tuple(cells), tuple(marks)))
    return rows


def _cell(estimate: Estimate) -> Cell:
    return Cell(interval(estimate), "gain" if estimate.low > 0 else "loss" if estimate.high < 0 else "")


def show(value: Value) -> str:
    """A setting's value: numbers with four digits."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def notes(found: Found) -> list[str]:
    """What a reader must not overlook."""
    gain, *cost = names(found)
    complete, chosen = found.complete, found.chosen
    seeds = max((len(trial.runs) for trial in found.trials), default=1)
    out = [
        f"Changes against the base model in points ({LOSS} a loss) on validation data, {_mean(seeds)}, with "
        "paired 95 % intervals over pictures. Rows by gain; Pareto: no other trial gains more and costs less"
        + (f"; loses: the interval of the {cost[0]} lies below zero." if cost else "."),
        _rule(found),
    ]
    if chosen is not None:
        out.append(_optimism(found, chosen, len(complete)))
        assert chosen.gain is not None
        if chosen.gain.mean.low <= 0:
            out.append(f"The chosen trial's {gain} may be chance: its interval holds zero.")
    out += [
        f"The base model's {name}, which needs no training, gains {_compared(chosen, value)}"
        for name, value in found.training_free.items()
    ]
    failed = [trial for trial in found.trials if trial.state == "failed"]
    out += [f"Trial {trial.number} failed: {trial.error}" for trial in failed]
    if running := sum(trial.state == "running" for trial in found.trials):
        out.append(f"Running or stopped trials: {running}. The same command finishes them.")
    return out


def importances(found: Found) -> str | None:
    """How much each setting matters to the gain; None for few trials."""
    if not found.importances:
        return None
    parts = ", ".join(f"{key} {100 * share:.0f} %" for key, share in found.importances.items())
    return (
        f"What the gain depends on over the ranges, by functional ANOVA of {len(found.complete)} trials "
        f"(main effects only, as shares of their sum; rough with so few trials): {parts}."
    )


def csv_text(found: Found) -> str:
    """Everything that is known, one line per trial; changes as fractions."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    what = [name.replace(" ", "_").replace("-", "_") for name in names(found)]
    fields = [f"{name}{part}" for name in what for part in ("", "_low", "_high", "_by_run")]
    fields += [f"test_{name}{part}" for name in what for part in ("", "_low", "_high", "_by_run")]
    writer.writerow(["trial", "state", "chosen", "pareto", *found.keys, *fields, "seconds", "error"])
    for line in table(found):
        trial = line.trial
        objectives = [trial.gain, trial.cost][: len(what)]
        cells: list[object] = []
        for one in [*objectives, *(trial.test or [None] * len(what))]:
            if one is None:
                cells += [""] * 4
            else:
                cells += [one.mean.value, one.mean.low, one.mean.high, " ".join(map(repr, one.by_run))]
        writer.writerow(
            [trial.number, trial.state, int("chosen" in line.marks), int("Pareto" in line.marks)]
            + [trial.params.get(key, "") for key in found.keys]
            + [*cells, "" if trial.seconds is None else round(trial.seconds, 1), trial.error or ""]
        )
    return stream.getvalue()


def _rule(found: Found) -> str:
    gain, *cost = names(found)
    if found.weight is not None and cost:
        rule = f"the greatest {gain} + {found.weight:g} x {cost[0]}"
    elif cost:
        rule = f"the greatest {gain} among those whose {cost[0]} is not significantly negative"
    else:
        rule = f"the greatest {gain}"
    chosen = found.chosen
    if chosen is None:
        return (
            f"Chosen would be {rule}, if it is better than the base model: no trial is. Try wider ranges, or "
            "a --weight."
        )
    return f"Chosen: trial {chosen.number}, by {rule}."


def _optimism(found: Found, chosen: Trial, count: int) -> str:
    text = (
        f"The best of {count} looks better on the data that chose it than it is; its interval does not know "
        "of the choice."
    )
    others = sum(bool(trial.test) for trial in found.trials if trial.number != chosen.number)
    if chosen.test:
        text += f" The test split, which chose nothing, says {_stages(found, chosen)}."
    else:
        text += " The test split has not been looked at: --final measures it, for this trial alone."
    if others:
        text += (
            f" {others} other trials have been measured on it as well, chosen earlier: who picks "
            "among these by the test split has no test split any more."
        )
    return text


def _stages(found: Found, trial: Trial) -> str:
    return " and ".join(
        f"{name} {interval(one.mean)}" for name, one in zip(names(found), trial.test, strict=True)
    )


def _compared(chosen: Trial | None, value: float) -> str:
    text = f"{points(value)} points over the sentences"
    if chosen is None or chosen.gain is None:
        return f"{text}."
    if chosen.gain.mean.value < value:
        return f"{text}: the chosen trial ({points(chosen.gain.mean.value)}) does not reach it."
    return f"{text}; the chosen trial gains {points(chosen.gain.mean.value)}."


def _mean(seeds: int) -> str:
    return f"mean of {seeds} seeds" if seeds > 1 else "one seed, which says nothing about others"


def _short_keys(keys: Sequence[str]) -> list[str]:
    """The last part of each key where that tells them apart."""
    last = [key.rpartition(".")[2] for key in keys]
    return [key if last.count(short) > 1 else short for key, short in zip(keys, last, strict=True)]
