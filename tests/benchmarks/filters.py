"""`python -m tests.benchmarks.filters`: what the filter wrongly rejects, and what it lets through.

Needs the folder of real data in PCCLIP_TEST_DATA for the first table. `--show` lists the answers behind it.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pcclip.generation.filters import Limits, Rejected
from tests.generation.answers import (
    ANY_LENGTH,
    Labelled,
    human_captions,
    human_differences,
    labelled,
    rule_written,
    wrong,
)

_CAPTIONS = 25_014  # all of COCO val2017


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--show", action="store_true", help="list what was wrongly rejected or let through")
    show = parser.parse_args().show
    console = Console(width=140, highlight=False)
    folder = os.environ.get("PCCLIP_TEST_DATA")
    if folder:
        rejections(console, human_texts(Path(folder)), show)
    else:
        console.print("PCCLIP_TEST_DATA is unset: no human-written texts to measure on")
    let_through(console, labelled("bad_answers"), show)
    good = labelled("good_answers")
    spoilt = [a for a in good if not a.right()]
    console.print(f"good chat answers rejected or changed: {len(spoilt)} of {len(good)}")
    start = time.process_time()
    for answer in good:
        answer.outcome()
    console.print(
        f"{(time.process_time() - start) / len(good) * 1e6:.0f} us of processor time for a good answer"
    )


def human_texts(data: Path) -> dict[str, list[str]]:
    """The sets of texts that must pass as they are."""
    differences = human_differences(data)
    return {
        **differences,
        "both": [line for lines in differences.values() for line in lines],
        "COCO captions": human_captions(data, _CAPTIONS),
        "rule-written": rule_written(),
    }


def rejections(console: Console, sets: Mapping[str, Sequence[str]], show: bool) -> None:
    """Wrong rejections of human-written texts by reason, apart from length."""
    found = {name: wrong(texts) for name, texts in sets.items()}
    counts = {name: Counter(map(reason, faults)) for name, faults in found.items()}
    table = Table("rejected for", title="Human-written texts wrongly rejected, apart from length")
    for name in sets:
        table.add_column(name, justify="right")
    table.add_row("texts", *(f"{len(texts):,}" for texts in sets.values()), end_section=True)
    for why in sorted({why for counted in counts.values() for why in counted}):
        table.add_row(why, *(str(counts[name][why] or "") for name in sets))
    table.add_section()
    table.add_row(
        "all", *(f"{len(found[name])} ({len(found[name]) / len(texts):.2%})" for name, texts in sets.items())
    )
    console.print(table)
    if show:
        for name, faults in found.items():
            for fault in faults if name != "both" else []:
                console.print(name, reason(fault), repr(fault), markup=False, soft_wrap=True)


def reason(fault: Rejected | tuple[str, str]) -> str:
    """The name of what is wrong."""
    return fault.reason.value if isinstance(fault, Rejected) else "changed"


def let_through(console: Console, answers: Sequence[Labelled], show: bool) -> None:
    """Bad answers that are accepted with something bad in them, by kind."""
    table = Table(
        title="Bad answers let through: with the paper's 60 characters | without the rule of length"
    )
    table.add_column("kind", no_wrap=True)
    for split in ("dev", "test", "both"):
        table.add_column(f"{split}: answers", justify="right")
        table.add_column("60 chars", justify="right", no_wrap=True)
        table.add_column("any length", justify="right", no_wrap=True)
    kinds = sorted({answer.kind for answer in answers})
    for kind in [*kinds, "all"]:
        row = [kind]
        for split in ("dev", "test", "both"):
            chosen = [a for a in answers if kind in (a.kind, "all") and split in (a.split, "both")]
            passed = [sum(a.let_through(limits) for a in chosen) for limits in (Limits(), ANY_LENGTH)]
            row += [str(len(chosen)), *(f"{n} ({n / len(chosen):.1%})" if n else "0" for n in passed)]
        table.add_row(*row, end_section=kind == kinds[-1])
    console.print(table)
    salvaged = [a for a in answers if a.keeps]
    kept = sum(not isinstance(a.outcome(), Rejected) and not a.let_through() for a in salvaged)
    console.print(f"good part kept of bad answers that have one: {kept} of {len(salvaged)}")
    if show:
        for answer in answers:
            if answer.let_through():
                console.print(answer.kind, answer.split, repr(answer.answer), markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
