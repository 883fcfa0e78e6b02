"""The files of an export, with its card, in one folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pcclip.export.files import (
    whole_export,
    write_open_clip,
    write_text,
    write_tokenizer,
    write_transformers,
)
from pcclip.export.subject import Subject, public_base

if TYPE_CHECKING:
    from pcclip.model.towers import Towers

To = Literal["open_clip", "transformers", "hub-folder"]
Part = Literal["both", "text"]


def steps(to: To, part: Part) -> int:
    """How often `write_export` says that it has got on."""
    return 3 if to == "hub-folder" and part == "both" else 2


def write_export(
    towers: Towers,
    subject: Subject,
    folder: Path,
    to: To,
    part: Part,
    got_on: Callable[[], object] = lambda: None,
) -> None:
    """Writes the files of a format and the model card.

    Args:
        towers: The loaded weights.
        subject: What they are.
        folder: Must not exist; appears whole or not at all.
        to: The format.
        part: Both towers, or the text tower alone.
        got_on: Called after each format, and when all is on the disk.

    Raises:
        PcclipError: As `pcclip export`.
    """
    from pcclip.export.card import licence_note, model_card

    meta = _meta(towers, subject)
    with whole_export(folder) as partial:
        refused = _write(towers, partial, meta, to, part, got_on)
        (partial / "README.md").write_text(
            model_card(towers, subject, meta, to, part, folder.name, refused), encoding="utf-8"
        )
        (partial / "LICENSE").write_text(licence_note(subject, meta), encoding="utf-8")
    got_on()


def _write(
    towers: Towers,
    partial: Path,
    meta: Mapping[str, Any],
    to: To,
    part: Part,
    got_on: Callable[[], object],
) -> str | None:
    """Writes the weights; says why there are none for transformers, where only those for open_clip fit."""
    from pcclip.model.errors import ModelError

    if part == "text":
        write_text(towers, partial)
        got_on()
        return None
    if to != "transformers":
        write_open_clip(towers, partial, meta)
        got_on()
    if to == "open_clip":
        return None
    try:
        write_tokenizer(towers, partial)
        write_transformers(towers, partial)
    except ModelError as error:
        if to == "transformers":
            raise
        return str(error)
    finally:
        got_on()
    return None


def _meta(towers: Towers, subject: Subject) -> dict[str, Any]:
    """What `pcclip.json` says: base weights, what trained, the share of an interpolation."""
    from pcclip.model.checkpoint import META, read_meta

    own = Path(subject.named.name.removeprefix("local-dir:")).expanduser()
    told: dict[str, Any] = {}
    if (own / META).is_file():
        read = read_meta(own)
        told = {key: read[key] for key in ("base", "trained", "alpha") if read.get(key) is not None}
    if told.get("base") is None and towers.base is not None:
        told["base"] = asdict(towers.base)
    if told.get("base") is not None:
        told["base"] = public_base(told["base"])
    return told
