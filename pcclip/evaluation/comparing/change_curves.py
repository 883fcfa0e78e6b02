"""Recall of the changed picture by the weight of the text, of base models and of experiments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from pcclip.evaluation.comparing.experiments import Experiment
from pcclip.evaluation.measured import Measured
from pcclip.evaluation.statistics import Doubles

_FREE = {"text_difference": ":", "word_delta": "--", "image_direction": "-."}
"""Methods that are drawn of the base model, and how."""

Curves = dict[str, Doubles]
"""(W, 4) weight (NaN: the text alone), recall, low and high by method; a mean over seeds has no interval."""


def change_curves(experiments: Sequence[Experiment]) -> dict[str, dict[str, tuple[Curves, Curves]]]:
    """The curves before and after the fit by experiment, for each set and label that has some.

    Args:
        experiments: In their order; of a model that no run has made there is nothing before.
    """
    found: dict[str, dict[str, tuple[Curves, Curves]]] = {}
    for one in experiments:
        before, after = _curves(list(one.before.values())), _curves(list(one.after.values()))
        for title in before | after:
            found.setdefault(title, {})[one.name] = before.get(title, {}), after.get(title, {})
    return found


def draw_change_curves(
    axes: Axes, title: str, by_name: dict[str, tuple[Curves, Curves]], colours: Sequence[Any]
) -> None:
    """Draws one set's curves: after the fit in colour, before it and without training in grey.

    Args:
        axes: Where.
        title: Of the set.
        by_name: Before and after by experiment.
        colours: Of the experiments.
    """
    weights: Doubles = np.zeros(0)
    for number, ((before, after), colour) in enumerate(zip(by_name.values(), colours, strict=False)):
        base = before or after
        if number == 0:
            weights = base["sentence"][:, 0]
            axes.axhline(base["sentence"][0, 1], color="0.7", linewidth=0.8)
            for method, style in _FREE.items():
                if method in base:
                    label = f"{method.replace('_', ' ')} (base)"
                    axes.plot(base[method][:, 1], color="0.35", linestyle=style, linewidth=1.2, label=label)
        if before:
            axes.plot(before["sentence"][:, 1], color=colour, alpha=0.4, marker=".", label="sentence, before")
        for method, style in (("sentence", "-"), ("sentence-unseen", "--")):
            if method in after:
                label = "sentence, after" if method == "sentence" else "the same, held-out words"
                axes.plot(after[method][:, 1], color=colour, linestyle=style, marker=".", label=label)
                low, high = after[method][:, 2:].T
                axes.fill_between(range(len(low)), low, high, color=colour, alpha=0.12)
    names = ["text alone" if np.isnan(weight) else f"{weight:g}" for weight in weights]
    axes.set_xticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(0, 1)
    axes.grid(alpha=0.25)
    axes.set_xlabel("weight of the text (0: the picture alone)", fontsize=9)
    evaluated, _, score = title.partition(": ")
    axes.set_ylabel(score, fontsize=9)
    axes.set_title(f"Changed picture found, {evaluated}; bands: 95 % over pictures", fontsize=9)
    axes.legend(fontsize=8, loc="best", ncols=2)


def _curves(measured: Sequence[Measured]) -> dict[str, Curves]:
    """By "SET: SCORE", with the score of the largest K; only what all seeds have alike."""
    seeds: dict[str, list[dict[str, Doubles]]] = {}
    for one in measured:
        for results in one.values():
            for label, notes in results.notes.items():
                if label.partition("/")[0] != "change_retrieval" or "curve" not in notes:
                    continue
                score = list(next(iter(notes["curve"].values())))[-1]
                name = "-".join(filter(None, (results.evaluated, label.partition("/")[2])))
                seeds.setdefault(f"{name}: {score.replace('_', ' ')}", []).append(
                    {method: np.array(of[score], np.float64) for method, of in notes["curve"].items()}
                )
    return {title: _mean(found) for title, found in seeds.items() if len(found) == len(measured)}


def _mean(seeds: Sequence[Curves]) -> Curves:
    if len(seeds) == 1:
        return seeds[0]
    means: Curves = {}
    for method, first in seeds[0].items():
        of = [curves[method] for curves in seeds if method in curves and len(curves[method]) == len(first)]
        if len(of) == len(seeds):
            means[method] = np.mean(of, axis=0)
            means[method][:, 2:] = np.nan
    return means
