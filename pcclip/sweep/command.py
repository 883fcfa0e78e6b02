"""`pcclip sweep`."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pcclip.data.files import write_atomically
from pcclip.errors import PcclipError
from pcclip.sweep.choosing import TEST, Found, Trial, found
from pcclip.sweep.configs import common, evaluations, resolve, without_test_split
from pcclip.sweep.lines import columns, importances, notes, table
from pcclip.sweep.objectives import COST, GAIN
from pcclip.sweep.ranges import Range, Value, grid
from pcclip.sweep.report import write_report
from pcclip.sweep.running import Runner
from pcclip.sweep.settings import Sampler, Sweep
from pcclip.sweep.showing import Shown
from pcclip.sweep.study import Storage


def run(arguments: list[str]) -> None:
    """Parses and runs.

    Args:
        arguments: After `pcclip sweep`.
    """
    from pcclip.parsing import call

    call(sweep, ["--final=true" if word == "--final" else word for word in arguments], "sweep")


def sweep(
    fit: str,
    ranges: dict[str, Range],
    name: str,
    trials: int = 20,
    seeds: list[int] | None = None,
    sampler: Sampler = "tpe",
    sampler_seed: int = 0,
    gain: list[str] | None = None,
    cost: list[str] | None = None,
    weight: float | None = None,
    runs: str = "runs/sweeps",
    workers: int = 1,
    gpus: list[int | str] | None = None,
    max_failures: int = 5,
    final: bool = False,
) -> None:
    """Fits with many settings and chooses one by validation data alone.

    Each trial is a `pcclip fit` in a process of its own, with a run folder RUNS/NAME/trial000; none of them
    looks at the test split. Stopped anywhere, the same command goes on; given again in another terminal, or
    on another machine of the same disk (with file locks that work), it joins in. The trials are in
    RUNS/NAME/sweep.db (Optuna, SQLite), the table in sweep.md and trials.csv, the plot in pareto.png. No fit
    is cut short: Optuna prunes by one objective only.

    Args:
        fit: The `pcclip fit` command that is varied: configurations from left to right, and overrides.
        ranges: What is varied: dotted key of the fit -> its values.
        name: Of the sweep.
        trials: How many there shall be in all, failed ones too; raise it for more. A grid ends by itself.
        seeds: Fit each trial with each of these (`seed_everything`) and take means; null for the fit's own.
        sampler: Who proposes trials.
        sampler_seed: Of the sampler. One worker proposes the same trials again, whatever was stopped.
        gain: Metrics that should rise, as patterns: the first objective is their mean change against the base
            model. Default: differences, two-alternative, seen and held-out wordings.
        cost: Metrics that should not fall: the second objective. Default: zero-shot top-1; `[]` for none.
        weight: Choose by gain + weight * cost. By default the greatest gain is chosen among trials whose cost
            is not significantly negative.
        runs: Folder of all sweeps.
        workers: How many fits run at once.
        gpus: Which of them each worker gets, round about (`[0, 1]`); null: each sees all.
        max_failures: With more failed trials (a loss that is not finite, too little memory) the sweep stops.
        final: Measure the chosen trial's test split in the end.

    Raises:
        PcclipError: A setting makes no sense, the folder holds trials of other settings, too many trials have
            failed, or they measure nothing to choose by.
    """
    for what, least, value in (
        ("trials", 1, trials),
        ("workers", 1, workers),
        ("max_failures", 0, max_failures),
    ):
        if value < least:
            raise PcclipError(f"{what}: {value} makes no sense; give {least} or more")
    if gpus is not None and not gpus:
        raise PcclipError("gpus: is empty; name some, or null for all")
    settings = Sweep(
        fit, ranges, Path(runs) / name, None if seeds is None else tuple(seeds), sampler, sampler_seed,
        GAIN if gain is None else tuple(gain), COST if cost is None else tuple(cost),
    )  # fmt: skip
    settings.check()
    if sampler == "grid":
        trials = min(trials, len(grid(ranges)))
    with Shown(trials, workers) as shown:
        storage = _open(settings)
        storage.note("weight", weight)
        shown.know(found(settings.folder))

        def finished() -> None:
            if (now := found(settings.folder)) is not None:
                shown.tell(now)
                write_report(now)

        Runner(settings, storage, trials, workers, gpus, max_failures, finished, shown.tick).run()
    _conclude(settings, final)


def _open(settings: Sweep) -> Storage:
    """Checks the fit and every key before anything is written."""
    varied = [key for name, one in settings.ranges.items() for key in (name, *one.also)]
    base = resolve(settings.base_words())
    example = {key: one.example() for key, one in settings.ranges.items()}
    try:
        tried = resolve(settings.words(example, settings.seeds[0] if settings.seeds else None))
    except PcclipError:
        _blame(settings, example)
        raise
    without_test_split(tried)
    return Storage(settings, common(base, varied))


def _blame(settings: Sweep, example: dict[str, Value]) -> None:
    """Finds the range that the fit refuses, if it is one alone."""
    for key, value in example.items():
        try:
            resolve(settings.words({key: value}, None))
        except PcclipError as error:
            raise PcclipError(
                f"ranges: {key}: no setting of this fit, or no value for it: {error}"
            ) from error


def _conclude(settings: Sweep, final: bool) -> None:
    """Measures the test split if asked to, writes the report and prints what was found."""
    now = found(settings.folder)
    assert now is not None
    chosen = now.chosen
    if chosen is not None:
        suite = _write_suite(settings, chosen)
        if final:
            _measure(suite, chosen)
            now = found(settings.folder) or now
    write_report(now)
    console = Console()
    if not console.is_terminal:  # files take whole rows
        console = Console(width=200)
    console.print(_rich(now))
    console.print(Text("\n".join([*notes(now), *filter(None, [importances(now)])])), soft_wrap=True)
    if chosen is not None:
        console.print(Text(_commands(settings, chosen, suite)), soft_wrap=True)
    if not now.complete:
        raise PcclipError(
            f"{settings.folder}: no trial has been measured; why is said above and in logs/ there"
        )


def _write_suite(settings: Sweep, chosen: Trial) -> Path:
    """The chosen trial's evaluations as `pcclip evaluate` takes them."""
    sets, cache = evaluations(_config(chosen))
    file = settings.folder / f"{TEST}.yaml"
    suite = {"suite": TEST, "evaluations": sets, "runs": list(map(str, chosen.runs)), "cache_dir": cache}
    write_atomically(file, json.dumps(suite, indent=1).encode())
    return file


def _config(chosen: Trial) -> dict[str, object]:
    from pcclip.untrusted import parse_yaml

    file = chosen.runs[0] / "config.yaml"
    try:
        config: dict[str, object] = parse_yaml(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PcclipError(
            f"{file}: cannot be read ({error}); the sweep's other trials stay as they are"
        ) from error
    return config


def _measure(suite: Path, chosen: Trial) -> None:
    from pcclip.evaluation.evaluate import evaluate
    from pcclip.parsing import call

    Console(stderr=True).print(Text(f"measuring the test split of trial {chosen.number}"))
    with contextlib.redirect_stdout(io.StringIO()):  # the sweep's own table says it
        call(evaluate, [f"--config={suite}"], "evaluate")


def _rich(now: Found) -> Table:
    shown = Table(title=Text(f"{now.folder.name}: trials by validation data"))
    for number, head in enumerate(columns(now)):
        shown.add_column(Text(head), justify="right" if number else "left")
    for line in table(now):
        style = "bold" if "chosen" in line.marks else "red" if "loses" in line.marks else ""
        shown.add_row(*(Text(cell if isinstance(cell, str) else cell.text, style) for cell in line.cells))
    return shown


def _commands(settings: Sweep, chosen: Trial, suite: Path) -> str:
    words = settings.words(dict(chosen.params), settings.seeds[0] if settings.seeds else None)
    out = ["", "The chosen settings as an experiment of their own, test split included:"]
    out.append(f"  pcclip fit {shlex.join(words)}")
    if not chosen.test:
        out.append("Or its test split alone, by the weights that are there (as --final does):")
        out.append(f"  pcclip evaluate --config {shlex.quote(str(suite))}")
    return "\n".join(out)
