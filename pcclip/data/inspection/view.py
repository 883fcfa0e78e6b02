"""How an inspection looks in a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pcclip.data.inspection.report import InspectReport

_BAR = 40


def show(report: InspectReport, console: Console | None = None) -> None:
    """Prints a report: counts, lengths of texts, repeats, samples, faults."""
    console = console or Console()
    title = f"{report.kind}, payload {report.payload}" if report.payload else report.kind
    console.print(f"[bold]{escape(report.spec)}[/] ({title})")
    console.print(_counts(report))
    if report.histogram:
        console.print("\n[bold]Words per text[/]")
        most = max(count for _, _, count in report.histogram)
        for first, last, count in report.histogram:
            name = str(first) if first == last else f"{first}-{last}"
            console.print(f"{name:>9}  {'█' * round(_BAR * count / most):{_BAR}}  {count:,}", highlight=False)
    if report.repeated_texts:
        console.print("\n[bold]Most frequent texts[/]")
        for text, count in report.repeated_texts:
            console.print(f"{count:>9,}  {_plain(text)}", highlight=False)
    if report.samples:
        console.print("\n[bold]Samples[/]")
        for sample in report.samples:
            console.print(_sample(sample))
    if report.faults:
        console.print(f"\n[bold red]{report.fault_count:,} fault(s)[/], the first {len(report.faults)}:")
        for fault in report.faults:
            console.print(f"  [red]-[/] {_plain(fault, 2000)}", highlight=False, soft_wrap=True)
    else:
        console.print("\n[green]No fault found.[/]")


def _counts(report: InspectReport) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    rows: list[tuple[str, Any]] = [
        ("records", f"{report.records:,} in {report.shards:,} shard(s), {report.bytes / 1e6:,.1f} MB"),
        ("texts", f"{report.texts:,}, {report.distinct_texts:,} distinct"),
    ]
    if report.words:
        order = ("min", "median", "mean", "p95", "max")
        rows.append(("words", ", ".join(f"{name} {report.words[name]:g}" for name in order)))
    if report.kind == "triples":
        rows.append(("pictures named", f"{report.pictures:,}"))
        rows.append(("pairs that come again", f"{report.repeated_pairs:,}"))
        if report.missing_pictures is not None:
            rows.append(("pictures missing", f"{report.missing_pictures:,}"))
    if report.skipped:
        rows.append(("files of no record", f"{report.skipped:,}"))
    for name, counts in (
        ("writers", report.writers),
        ("classes", report.classes),
        ("attributes", report.attributes),
    ):
        if counts:
            listed = ", ".join(f"{label} {count:,}" for label, count in list(counts.items())[:10])
            rows.append((name, listed + (f", ... ({len(counts)} in all)" if len(counts) > 10 else "")))
    told = {k: v for k, v in report.origin.items() if k != "writer" or not report.writers}
    rows += [(name.replace("_", " "), _told(value)) for name, value in told.items()]
    for name, value in rows:
        table.add_row(f"[dim]{_plain(name)}[/]", _plain(value, 2000))
    return table


def _told(value: Any) -> str:
    return ", ".join(f"{k} {n}" for k, n in value.items()) if isinstance(value, dict) else str(value)


def _plain(value: Any, limit: int = 500) -> str:
    """A text for rich, shortened, with spaces for what a terminal would obey."""
    text = str(value)
    text = text if len(text) <= limit else f"{text[:limit]} ... ({len(text):,} characters)"
    return escape("".join(c if c.isprintable() or c == "\n" else " " for c in text))


def _sample(sample: dict[str, Any]) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 1, 0, 1))
    for name, value in sample.items():
        table.add_row(f"[dim]{_plain(name)}[/]", _plain(value))
    table.add_row("", "")
    return table
