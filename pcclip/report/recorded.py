"""What a run was, as a report tells it: command, data, machine, versions, settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pcclip.evaluation.finished import Finished
from pcclip.report.machine import without_home
from pcclip.report.provenance import GitState, Provenance, Start, read_provenance
from pcclip.report.tables import Table, escaped, folded

_MAIN = ("pcclip", "torch", "lightning", "open_clip_torch")
_GIB = 2**30


def recorded_part(run: Finished) -> tuple[str, str]:
    """A table of facts with the settings and the data's cards folded below it, and the table in Markdown.

    Raises:
        PcclipError: The run's record of its starts is damaged.
    """
    known = read_provenance(run.folder)
    table = Table(f"What {run.folder.parent.name}/{run.folder.name} was", ("", ""),
                  (("", tuple(_facts(run, known))),), numbers=False)  # fmt: skip
    page = [table.html(), folded("All settings (config.yaml)", _settings(run))]
    if known is None:
        page.append(
            '<p class="note">An earlier version made this run: it recorded no command, git state, machine '
            "or data card.</p>\n"
        )
    else:
        for digest, text in known.cards.items():
            page.append(folded(f"Data card (CARD.md, sha256 {digest[:12]})", _pre(text)))
    return "".join(page), table.markdown()


def _facts(run: Finished, known: Provenance | None) -> Iterator[tuple[str, str]]:
    summary = run.summary
    yield "steps", f"{summary['steps']:,}" if "steps" in summary else "not recorded"
    yield "seed", str(summary["seed"])
    if trainable := summary.get("trainable"):
        yield "trained", f"{trainable['part']}, {trainable['parameters']:,} parameters"
    if base := (summary.get("base_model") or {}).get("base"):
        yield "base weights", without_home(_base(base))
    if known is None or not known.starts:
        yield "precision", str(summary.get("precision", "not recorded"))
        yield "versions", _versions(summary.get("versions") or {})
        return
    first, last = known.starts[0], known.starts[-1]
    yield "precision", last.precision
    yield "started", _starts(known.starts)
    yield "command", without_home(first.command)
    yield "git", _git(known.starts)
    yield "machine", _machine(last)
    yield "versions", f"python {last.python}, {_versions(last.packages)}"
    for one in last.sets:
        count = "" if one.records is None else f" ({one.records:,} {one.kind or 'records'})"
        yield f"data: {one.setting.replace('_', ' ')}", f"{without_home(one.path)}{count}"


def _starts(starts: Sequence[Start]) -> str:
    if len(starts) == 1:
        return starts[0].started
    return f"{starts[0].started}, and again {', '.join(one.started for one in starts[1:])} (resumed)"


def _git(starts: Sequence[Start]) -> str:
    told = list(dict.fromkeys(_state(one.git) for one in starts))
    return told[0] if len(told) == 1 else "; then ".join(told)


def _state(git: GitState | None) -> str:
    if git is None:
        return "the working directory was no git repository"
    marks = [f"{count} files {kind}" for kind in ("changed", "untracked") if (count := getattr(git, kind))]
    return f"commit {git.commit[:12]}, {' and '.join(marks) or 'nothing changed'}"


def _machine(start: Start) -> str:
    of = start.machine
    told = f"{of.processor}, {of.cores} cores, {of.memory_bytes / _GIB:.0f} GiB, {of.system}"
    if of.gpu:
        about = [f"{of.gpu_memory_bytes / _GIB:.0f} GiB each"] if of.gpu_memory_bytes else []
        about += [
            f"{name} {value}" for name, value in (("driver", of.gpu_driver), ("CUDA", of.cuda)) if value
        ]
        told = f"{of.processes} x {of.gpu}" + f" ({', '.join(about)})" * bool(about) + f"; {told}"
    elif of.processes > 1:
        told += f"; {of.processes} processes"
    return told + (f"; {of.nodes} nodes" if of.nodes > 1 else "")


def _versions(versions: Mapping[str, str]) -> str:
    first = [name for name in ("python", *_MAIN) if name in versions]
    return ", ".join(
        f"{name} {versions[name]}" for name in (*first, *(n for n in versions if n not in first))
    )


def _base(base: Mapping[str, Any]) -> str:
    if base.get("random_init"):
        return f"{base['name']}, random weights"
    return str(base["name"]) + (f" {base['pretrained']}" if base.get("pretrained") else "")


def _settings(run: Finished) -> str:
    file = run.folder / "config.yaml"
    if not file.is_file():
        return '<p class="note">The run has no config.yaml.</p>\n'
    return _pre(without_home(file.read_text(encoding="utf-8", errors="replace")))


def _pre(text: str) -> str:
    return f"<pre>{escaped(text)}</pre>\n"


def title_of(run: Finished) -> str:
    """A run's name in headings."""
    return f"Run {run.folder.parent.name}/{run.folder.name}"
