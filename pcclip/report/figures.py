"""The curves of a run: losses, what validation data said on the way, and the interpolation."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcclip.errors import PcclipError
from pcclip.evaluation.comparing.rows import Row, choose_rows, describe
from pcclip.report.results import BASELINES, COST, FOR, kind_of
from pcclip.report.tables import escaped
from pcclip.report.thumbnails import data_address
from pcclip.untrusted import parse_json

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = list[tuple[int, float]]

_LOSSES = ("loss", "difference_loss", "caption_loss")
_POINTS = 400  # of a curve: more cannot be seen
_LINES = 8  # that can be told from each other
_STYLES = ("-", "--", "-.", ":")
_MARKERS = "osD^vP*X"


def read_scalars(run: Path) -> dict[str, Curve]:
    """What the fit logged to TensorBoard, by tag: step and value; nothing where no events are.

    A run that was resumed logs some steps twice: the later value counts.
    """
    if not any(run.glob("events.out.tfevents.*")):
        return {}
    from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

    kept = dict.fromkeys(("images", "audio", "histograms", "compressedHistograms", "tensors"), 1)
    events = EventAccumulator(str(run), size_guidance={**kept, SCALARS: 0})
    events.Reload()
    return {
        tag: sorted({one.step: one.value for one in events.Scalars(tag)}.items())
        for tag in events.Tags()[SCALARS]
    }


@dataclass(frozen=True)
class _Line:
    label: str
    curve: Sequence[tuple[float, float]]
    marked: bool


def curves(run: Path, scalars: Mapping[str, Curve]) -> str:
    """All curves of a run as HTML; a sentence for those that it does not have.

    Args:
        run: Its folder.
        scalars: Of `read_scalars`.

    Raises:
        PcclipError: The interpolation's file is damaged.
    """
    figures, missing = [], []
    if losses := list(_losses(scalars)):
        figures.append(_figure(losses, "Loss", "step", "loss"))
    else:
        missing.append("losses")
    changes = list(_validation(scalars))
    for kind, title in (
        (FOR, "Differences on validation data"),
        (COST, "Single pictures on validation data"),
    ):
        lines = [line for of, line in changes if of == kind][:_LINES]
        if lines:
            figures.append(_figure(lines, title, "step", "change against step 0, points", zero=True))
    if not changes:
        missing.append("evaluations on the way")
    if found := _interpolation(run):
        lines, chosen = found
        title = "Weights between base (0) and tuned (1), validation data"
        x = f"share of the tuned weights (taken: {chosen:g})"
        figures.append(_figure(lines, title, x, "change, points", zero=True, mark=chosen))
    else:
        missing.append("interpolation")
    said = f'<p class="note">Not in this run: {", ".join(missing)}.</p>\n' if missing else ""
    return f'<div class="charts">\n{"".join(figures)}</div>\n{said}'


def _losses(scalars: Mapping[str, Curve]) -> Iterator[_Line]:
    for split in ("train", "validation"):
        found = {name: curve for name in _LOSSES if (curve := scalars.get(f"{split}/{name}"))}
        if len(found) == 2:  # the whole is its only part
            found = {"loss": found["loss"]}
        for name, curve in found.items():
            yield _Line(f"{name.replace('_', ' ')}, {split}", _thinned(curve), split != "train")


def _thinned(curve: Curve) -> Curve:
    """A long curve as means of stretches of equal length."""
    width = math.ceil(len(curve) / _POINTS)
    if width == 1:
        return curve
    stretches = [curve[at : at + width] for at in range(0, len(curve), width)]
    return [(part[-1][0], sum(value for _, value in part) / len(part)) for part in stretches]


def _validation(scalars: Mapping[str, Curve]) -> Iterator[tuple[int, _Line]]:
    """Changes against step 0 of the rows that a table shows first, those with shares."""
    logged = {tag.partition("/")[2]: curve for tag, curve in scalars.items() if tag.startswith("validation/")}
    logged = {
        name: curve for name, curve in logged.items() if "/" in name and len(curve) > 1 and not curve[0][0]
    }
    try:
        rows: Sequence[Row] = choose_rows(logged, None, everything=False)
    except PcclipError:  # none of the usual rows
        rows = [describe(name) for name in logged]
    for row in rows:
        if row.share and kind_of(row) != BASELINES and not row.metric.endswith("/sign"):
            start = logged[row.metric][0][1]
            curve = [(step, 100 * (value - start)) for step, value in logged[row.metric]]
            yield kind_of(row), _Line(row.label, curve, True)


def _interpolation(run: Path) -> tuple[list[_Line], float] | None:
    file = run / "interpolation.json"
    if not file.is_file():
        return None
    try:
        stored = parse_json(file.read_bytes())
        points: list[dict[str, Any]] = sorted(stored["points"], key=lambda point: point["alpha"])
        base, chosen = points[0], float(stored["chosen"])
        lines = [
            _Line(name, [(point["alpha"], 100 * (point[key] - base[key])) for point in points], True)
            for key, name in (("difference", "two-alternative accuracy"), ("zero_shot", "zero-shot top-1"))
            if not math.isnan(base[key])
        ]
    except (ValueError, KeyError, TypeError, IndexError, json.JSONDecodeError) as error:
        raise PcclipError(f"{file}: is no interpolation curve ({error!r}). Run it again.") from error
    return lines, chosen


def _figure(
    lines: Sequence[_Line], title: str, x: str, y: str, zero: bool = False,
    mark: float | None = None,
) -> str:  # fmt: skip
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    # Wide enough for a telephone: at its width a letter is as large as on paper.
    figure = Figure(figsize=(4.9, 3.3 + 0.19 * len(lines)), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    for number, line in enumerate(lines):
        _draw(axes, line, number)
    if zero:
        axes.axhline(0, color="0.3", linewidth=0.8)
    if mark is not None:
        axes.axvline(mark, color="0.5", linewidth=0.8, linestyle=":")
    if x == "step":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(x, fontsize=10)
    axes.set_ylabel(y, fontsize=10)
    axes.tick_params(labelsize=9)
    axes.grid(alpha=0.25)
    figure.legend(loc="outside lower center", fontsize=9, frameon=False, ncols=1)
    buffer = io.BytesIO()
    # The same run gives the same bytes: no date in them, no random ids.
    with rc_context({"svg.hashsalt": title}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    told = "; ".join(f"{line.label}: {line.curve[0][1]:.3g} to {line.curve[-1][1]:.3g}" for line in lines)
    picture = data_address(buffer.getvalue(), "image/svg+xml")
    alt = f"{title}. From first to last: {told}"
    return (
        f'<figure class="chart"><figcaption>{escaped(title)}</figcaption>'
        f'<img alt="{escaped(alt)}" src="{picture}"></figure>\n'
    )


def _draw(axes: Axes, line: _Line, number: int) -> None:
    xs, ys = zip(*line.curve, strict=True)
    axes.plot(
        xs,
        ys,
        _STYLES[number % len(_STYLES)],
        marker=_MARKERS[number % len(_MARKERS)] if line.marked else None,
        markersize=5,
        linewidth=1.5,
        label=line.label.replace("$", r"\$"),
    )
