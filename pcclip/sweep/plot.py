"""Difference gain against zero-shot change of all trials."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from pcclip.sweep.choosing import Found, Trial
from pcclip.sweep.lines import names

_PARETO = "Pareto: no other gains more and costs less"
_LABELLED = 20  # trials, of which each gets its number


def draw(found: Found) -> bytes:
    """The Pareto plot as PNG: error bars are the 95 % intervals, the chosen trial is a star.

    Of a sweep with one objective: the gain of each trial by its number.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    gain, *cost = names(found)
    chosen, pareto, trials = found.chosen, found.pareto, found.complete
    groups = (
        ([t for t in trials if t.number not in pareto], "0.6", "o", "trial"),
        ([t for t in trials if t.number in pareto and t is not chosen], "tab:blue", "o", _PARETO),
        ([chosen] if chosen is not None else [], "tab:orange", "*", "chosen"),
    )  # fmt: skip
    for members, colour, marker, label in groups:
        _scatter(axes, members, colour, marker, label)
    front = sorted((t for t in trials if t.number in pareto), key=_place)
    if cost and len(front) > 1:
        axes.plot(
            *zip(*map(_place, front), strict=True), color="tab:blue", linewidth=0.8, alpha=0.6, zorder=1
        )
    axes.axhline(0, color="0.5", linewidth=0.8)
    if cost:
        axes.axvline(0, color="0.5", linewidth=0.8)
        left, right = axes.get_xlim()
        axes.set_xlim(min(left, -0.5), max(right, 0.5))
        axes.axvspan(axes.get_xlim()[0], 0, color="tab:red", alpha=0.06, zorder=0)
        axes.plot([0], [0], "s", color="0.2", markersize=5, label="base model")
    for (name, value), style in zip(found.training_free.items(), ("--", ":"), strict=False):
        axes.axhline(
            100 * value, color="tab:green", linestyle=style, linewidth=1, label=f"{name}, training-free"
        )
    for trial in (
        trials if len(trials) <= _LABELLED else [t for t in trials if t.number in pareto or t is chosen]
    ):
        axes.annotate(str(trial.number), _place(trial), xytext=(6, 5), textcoords="offset points", fontsize=8)
    axes.set_xlabel(f"{cost[0]} in points" if cost else "trial")
    axes.set_ylabel(f"{gain} in points")
    axes.set_title(f"{found.folder.name}: {len(trials)} trials, validation data; bars: 95 %", fontsize=10)
    axes.grid(alpha=0.25)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()


def _scatter(axes: Any, trials: Sequence[Trial], colour: str, marker: str, label: str) -> None:
    if not trials:
        return
    across, up = zip(*map(_place, trials), strict=True)
    axes.errorbar(
        across, up,
        xerr=_bars([t.cost.mean for t in trials if t.cost is not None]) if trials[0].cost else None,
        yerr=_bars([t.gain.mean for t in trials if t.gain is not None]),
        fmt=marker, color=colour, ecolor=colour, elinewidth=0.8, capsize=2,
        markersize=14 if marker == "*" else 5, label=label, zorder=3 if marker == "*" else 2,
    )  # fmt: skip


def _place(trial: Trial) -> tuple[float, float]:
    assert trial.gain is not None
    across = float(trial.number) if trial.cost is None else 100 * trial.cost.mean.value
    return across, 100 * trial.gain.mean.value


def _bars(estimates: Sequence[Any]) -> list[list[float]]:
    return [
        [100 * max(0.0, one.value - one.low) for one in estimates],
        [100 * max(0.0, one.high - one.value) for one in estimates],
    ]
