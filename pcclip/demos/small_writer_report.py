"""Tells how much of the rules' gain a language model's texts keep, and how many of these are right.

python -m pcclip.demos.small_writer_report
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pcclip.demos.claims import Judgement
from pcclip.demos.small_writer import ABOUT, TEXTS
from pcclip.demos.written_texts import Worth, answers_of, known_pictures, read_triples, worth
from pcclip.errors import PcclipError
from pcclip.evaluation.finished import load_summaries
from pcclip.evaluation.statistics import Estimate, mean_over_seeds
from pcclip.untrusted import parse_json

Summary = Mapping[str, Any]
Rows = list[tuple[str, ...]]
_MEAN = "difference/shapes-mean"
_ATTRIBUTES = ("size", "number", "brightness", "horizontal", "vertical", "kind", "colour", "background")
_SCORES = (
    ("two-alternative, seen wordings", f"{_MEAN}/two_alternative"),
    ("two-alternative, held-out wordings", f"{_MEAN}-unseen/two_alternative"),
    *((f"- {name}, seen wordings", f"difference/shapes-{name}/two_alternative") for name in _ATTRIBUTES),
)
_ZERO_SHOT = (
    ("zero-shot top-1", "zero_shot/shapes/top1"),
    ("zero-shot top-1, held-out combinations", "zero_shot/shapes-unseen-combinations/top1"),
)
_NORMAL = 1.96


def report(
    rule_runs: str = "runs/shapes-differences",
    written_runs: str = "runs/shapes-small-lm",
    rule_triples: str = "data/shapes/triples/train",
    job: str = "data/shapes-small-lm",
    pictures: str = "data/shapes/pictures/train",
    writer: str = "runs/shapes-writer",
    markdown: str | None = None,
) -> None:
    """Prints the tables.

    Args:
        rule_runs: Experiment folder, or run, that was finetuned on rule-written differences.
        written_runs: The same from the same base models, on the language model's differences.
        rule_triples: The rule-written triples.
        job: Folder of the writing job.
        pictures: The pictures of both.
        writer: Folder of the language model.
        markdown: File to write the tables to as Markdown.

    Raises:
        PcclipError: Something is missing, or the runs do not start from the same base models.
    """
    pairs = paired(load_summaries([Path(rule_runs)]), load_summaries([Path(written_runs)]))
    taught_file = Path(writer) / TEXTS
    if not taught_file.is_file():
        raise PcclipError(f"{taught_file}: is not there. Name the folder that small_writer made as 'writer'.")
    taught = set(taught_file.read_text(encoding="utf-8").splitlines())
    known = known_pictures(pictures)
    by_rules = worth(read_triples(rule_triples), known, taught)
    by_model = worth(read_triples(f"{job}/triples"), known, taught)
    about = parse_json((Path(writer) / ABOUT).read_bytes())
    tables = [
        (
            "The texts",
            ("", "by rules", "by the language model"),
            text_rows(by_rules, by_model, *answers_of(Path(job))),
        ),
        (
            "What they teach",
            ("", "base", "rule-written", "LM-written", "gain kept"),
            gain_rows(pairs),
        ),
    ]
    notes = [
        f"The language model: {about['parameters']:,} parameters, trained in {about['seconds']:.0f} s.",
        *_notes([one["seed"] for one, _ in pairs]),
        *(f"Wrong: {text}" for text in by_model.wrong),
        *(f"Unreadable: {text}" for text in by_model.unreadable),
    ]
    _print(tables, notes, markdown)


def paired(rules: Sequence[Summary], written: Sequence[Summary]) -> list[tuple[Summary, Summary]]:
    """Runs of the same seed, by rules and by the language model.

    Raises:
        PcclipError: No seed has both, or a pair differs in its base model or its steps.
    """
    by_seed = {summary["seed"]: summary for summary in written}
    pairs = [(one, by_seed[one["seed"]]) for one in rules if one["seed"] in by_seed]
    if not pairs:
        raise PcclipError("no seed has a run on rule-written and on LM-written differences. Finetune both.")
    for one, other in pairs:
        for what in ("base", "steps", "precision"):
            if _values(one[what]) != _values(other[what]):
                raise PcclipError(
                    f"seed {one['seed']}: the two runs differ in {what!r}: their gains cannot be compared. "
                    "Finetune both from the same base model with the same settings."
                )
    return pairs


def _values(told: Any) -> Any:
    """Scores without their intervals, which releases may estimate otherwise."""
    return {name: score["value"] for name, score in told.items()} if isinstance(told, dict) else told


def gain_rows(pairs: Sequence[tuple[Summary, Summary]]) -> Rows:
    """Score by score: base, both runs with their changes, and the share of the gain that is kept."""
    rows: Rows = []
    for label, name in (*_SCORES, *_ZERO_SHOT):
        if not all(name in one["tuned"] for one, _ in pairs):
            continue
        base = _over_seeds([Estimate(**one["base"][name]) for one, _ in pairs])
        cells = [label, _percent(base)]
        gains = [[Estimate(**run["delta"][name]) for run in runs] for runs in zip(*pairs, strict=True)]
        for at, gain in enumerate(gains):
            after = _over_seeds([Estimate(**pair[at]["tuned"][name]) for pair in pairs])
            cells.append(f"{_percent(after)} ({100 * _over_seeds(gain).value:+.1f})")
        kept = _over_seeds([share_kept(*both) for both in zip(*gains, strict=True)])
        rows.append((*cells, _percent(kept) if name.startswith("difference/") else ""))
    return rows


def share_kept(rules: Estimate, written: Estimate) -> Estimate:
    """Share of one gain that another one has; its interval by the delta method, the two as independent."""
    if rules.value == 0:
        return Estimate(math.nan, math.nan, math.nan, written.n)
    share = written.value / rules.value
    spreads = [(gain.high - gain.low) / (2 * _NORMAL) for gain in (rules, written)]
    reach = _NORMAL * math.hypot(share * spreads[0], spreads[1]) / abs(rules.value)
    return Estimate(share, share - reach, share + reach, written.n)


def text_rows(by_rules: Worth, by_model: Worth, rows: int, rejected: Mapping[str, int]) -> Rows:
    """What the texts are worth, by rules and by the language model."""
    both = (by_rules, by_model)
    lines: Rows = [
        ("rows asked", "", f"{rows:,}"),
        ("rejected", "", f"{sum(rejected.values()):,} ({sum(rejected.values()) / max(rows, 1):.2%})"),
    ]
    lines += [(f"- {why}", "", f"{count:,}") for why, count in sorted(rejected.items(), key=lambda x: -x[1])]
    lines.append(("texts", *(f"{one.texts:,}" for one in both)))
    lines.append(("different texts", *(f"{one.different:,}" for one in both)))
    for label, name in (
        ("right by the pictures' attributes", Judgement.RIGHT),
        ("wrong", Judgement.WRONG),
        ("cannot be read, or tells no difference", Judgement.UNREADABLE),
        ("right, and told by the captions", "told"),
        ("equal to a training text", "taught"),
    ):
        lines.append((label, *(_percent(one.shares[name]) for one in both)))
    for name in _ATTRIBUTES:
        counts = [one.right_of.get(name, (0, 0)) for one in both]
        lines.append(
            (
                f"- right of those about {name}",
                *(f"{right / max(all_, 1):.1%} of {all_:,}" for right, all_ in counts),
            )
        )
    return lines


def _notes(seeds: Sequence[int]) -> list[str]:
    several = "Intervals: 95 %, Student's t over seeds."
    alone = (
        "Intervals: 95 %, bootstrap over pictures, without how seeds differ; of the gain kept: as if "
        "both gains were independent."
    )
    return [
        f"Seeds {', '.join(map(str, seeds))}. {several if len(seeds) > 1 else alone}",
        "Equal to a training text: short texts are few, so some are equal without being memorised; the share "
        "of the rules' texts about the same pairs says how many.",
    ]


def _over_seeds(estimates: Sequence[Estimate]) -> Estimate:
    return estimates[0] if len(estimates) == 1 else mean_over_seeds([one.value for one in estimates])


def _percent(one: Estimate) -> str:
    return f"{100 * one.value:.1f} [{100 * one.low:.1f}, {100 * one.high:.1f}]"


def _print(
    tables: Sequence[tuple[str, tuple[str, ...], Rows]], notes: Sequence[str], markdown: str | None
) -> None:
    console = Console() if Console().is_terminal else Console(width=160)  # files take whole rows
    lines: list[str] = []
    for title, columns, rows in tables:
        table = Table(title=title)
        for at, name in enumerate(columns):
            table.add_column(name, justify="right" if at else "left")
        for row in rows:
            table.add_row(*row)
        console.print(table)
        lines += [f"**{title}**", "", "| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
        lines += ["| " + " | ".join(row) + " |" for row in rows] + [""]
    for note in notes:
        console.print(note, markup=False)
    if markdown is not None:
        Path(markdown).write_text(
            "\n".join([*lines, *(f"- {note}" for note in notes)]) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    from pcclip.demos import command

    command(report)
