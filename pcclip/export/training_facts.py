"""What a run trained, on what, and how: from its settings and the sets that they name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pcclip.data.sets import ShardSet
from pcclip.errors import PcclipError
from pcclip.export.subject import Subject

_TOLD = ("source", "split", "writer", "model", "prompt", "prompt_version", "noise", "licence")


def training_section(subject: Subject, meta: Mapping[str, Any]) -> list[str]:
    """Which part trained, by which objective, for how long."""
    assert subject.run is not None
    summary = subject.run.summary
    model = subject.settings["model"]["init_args"]
    trainable = summary["trainable"]
    lines = [
        f"- trained: `{trainable['part']}` ({trainable['parameters']:,} parameters), {summary['steps']:,} "
        f"steps, precision {summary['precision']}, seed {summary['seed']}",
    ]
    if model.get("objective"):
        lines.append(f"- objective: {_setting(model['objective'])}")
    if model.get("caption_objective"):
        weight = model.get("caption_weight", 1.0)
        lines.append(f"- objective on captions: {_setting(model['caption_objective'])}, weight {weight:g}")
    lines.append(
        f"- optimizer: {_setting(model.get('optimizer'))}; schedule: {_setting(model.get('lr_scheduler'))}"
    )
    if meta.get("alpha") is not None:
        lines.append(
            f"- interpolated: {meta['alpha']:g} of the tuned weights, the rest the base's; chosen on "
            "validation data"
        )
    versions = ", ".join(f"{name} {number}" for name, number in summary["versions"].items())
    return [*lines, f"- made with: {versions}"]


def data_section(subject: Subject) -> list[str]:
    """The sets that it was trained on, as their `set.json` describes them."""
    data = subject.settings["data"]["init_args"]
    lines = []
    for key, kind, batch in (
        ("triples", "differences", "batch_size"),
        ("captions", "captioned pictures, for their captions", "caption_batch_size"),
    ):
        for shards in _listed(data.get(key)):
            lines.append(f"- {_described(shards, kind)}; {data[batch]} in a batch")
    return lines or ["- no training set is named in the run's settings"]


def licences(subject: Subject) -> list[str]:
    """Licences that the training sets name."""
    data = subject.settings["data"]["init_args"]
    shards = [one for key in ("triples", "captions", "pictures") for one in _listed(data.get(key))]
    found = {str(card["licence"]): None for one in shards if (card := _card(one)) and card.get("licence")}
    return list(found)


def _described(shards: str, kind: str) -> str:
    # Where others keep their data is nobody's business.
    place = f"`{'/'.join(Path(shards).parts[-2:]) if Path(shards).is_absolute() else shards}`"
    found = _load(shards)
    if found is None:
        return f"{kind} of {place}, which was not there any more when this card was written"
    told = [f"{key.replace('_', ' ')} {found.card[key]}" for key in _TOLD if found.card.get(key)]
    pictures = f" of {found.card['pictures']:,} pictures" if found.card.get("pictures") else ""
    rejected = sum((found.card.get("rejected") or {}).values())
    if rejected:
        told.append(f"{rejected:,} pairs rejected")
    return f"{found.records:,} {kind}{pictures} ({place}{''.join(f'; {one}' for one in told)})"


def _load(shards: str) -> ShardSet | None:
    try:
        return ShardSet.load(Path(shards))
    except (PcclipError, OSError):
        return None  # moved since, or no set of ours: shards by a pattern


def _card(shards: str) -> Mapping[str, Any] | None:
    found = _load(shards)
    return None if found is None else found.card


def _listed(value: Any) -> Iterator[str]:
    yield from [] if value is None else map(str, value) if isinstance(value, list) else [str(value)]


def _setting(node: Mapping[str, Any] | None) -> str:
    if not node:
        return "none"
    options = ", ".join(
        f"{name} {value}" for name, value in (node.get("init_args") or {}).items() if value is not None
    )
    return f"`{node['class_path'].rsplit('.', 1)[-1]}`" + (f" ({options})" if options else "")
