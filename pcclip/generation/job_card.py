"""CARD.md of a writing job: what was made, by whom, from what, and what was rejected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pcclip.data.files import write_atomically

CARD = "CARD.md"
_LONG = 300


def write_card(
    folder: Path,
    what: str,
    about: str,
    count: int,
    card: Mapping[str, Any],
    counts: Counter[str],
    samples: Sequence[str],
) -> None:
    """Writes `folder/CARD.md`.

    Args:
        folder: Of the job.
        what: Of what it has made many.
        about: What that is, in a few words.
        count: How many.
        card: The notes beside them: origin, licence, `rejected` (rows by reason), and `noise`, `captions` and
            `classes` (counts by name) where there are such.
        counts: Of all rows, as `Manifest.totals` gives them.
        samples: Texts, a line each.
    """
    rejected = Counter[str](card["rejected"])
    rows = counts["rows"]
    lines = [
        f"# {folder.name}",
        "",
        f"{about}, made by `pcclip write`; the settings are in `job.json`, every answer is in `answers/`.",
        "",
        f"- writer: {card['writer']}",
        f"- model: {card.get('model', 'none')}",
        f"- prompt: {_prompt_name(card)}",
        f"- sampling: {_sampling_words(card)}",
        f"- licence of the sources: {card['licence']}",
        "",
        f"| rows | {what} | rejected | went wrong | prompt tokens | answer tokens |",
        "|---|---|---|---|---|---|",
        f"| {rows} | {count} | {sum(rejected.values())} | {counts['errors']} | "
        f"{counts['prompt_tokens']} | {counts['answer_tokens']} |",
        "",
    ]
    lines += _table(("rejected because", "rows"), rejected, rows) or ["No row was rejected."]
    if noise := card.get("noise"):
        lines += ["", "Spoilt on purpose; rejected answers that were let through do not count as rejected:"]
        lines += ["", *_table(("noise", what), noise, count)]
    for name in ("captions", "classes"):
        if told := card.get(name):
            lines += ["", *_table((name, "how many"), told)]
    changes = {k.removeprefix("captions: "): v for k, v in counts.items() if k.startswith("captions: ")}
    if changes:
        lines += ["", *_table(("texts in prompts", "prompts"), dict(sorted(changes.items())))]
    lines += ["", "## Samples", "", *(f"- {_line(sample)}" for sample in samples)]
    write_atomically(folder / CARD, ("\n".join(lines) + "\n").encode("utf-8", "replace"))


def _table(head: tuple[str, str], counts: Mapping[str, int], of: int = 0) -> list[str]:
    """Counts as a table, the largest first where they are shares of `of`; nothing where there are none."""
    if not counts:
        return []
    if not of:
        return [_row(head), _row(("---",) * 2), *(_row((_cell(k), str(v))) for k, v in counts.items())]
    ordered = Counter(counts).most_common()
    return [
        _row((*head, "share")),
        _row(("---",) * 3),
        *(_row((_cell(name), str(count), f"{count / of:.2%}")) for name, count in ordered),
    ]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |" if cells[0] != "---" else f"|{'|'.join(cells)}|"


def _prompt_name(card: Mapping[str, Any]) -> str:
    return f"{card['prompt']}, version {card['prompt_version']}" if "prompt" in card else "none"


def _sampling_words(card: Mapping[str, Any]) -> str:
    sampling = card.get("sampling")
    return ", ".join(f"{k} {v}" for k, v in sampling.items()) if sampling else "none"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _line(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONG else text[: _LONG - 3] + "..."
