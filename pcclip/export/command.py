"""`pcclip export`: a model for open_clip, for transformers, or as a folder to upload to the hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pcclip.errors import PcclipError
from pcclip.export.files import (
    refuse_export,
    whole_export,
    write_open_clip,
    write_text,
    write_tokenizer,
    write_transformers,
)
from pcclip.export.subject import Subject, find_subject, public_base

if TYPE_CHECKING:
    from pcclip.model.towers import Towers

To = Literal["open_clip", "transformers", "hub-folder"]
Part = Literal["both", "text"]


def export(
    run: str,
    to: To = "hub-folder",
    out: str | None = None,
    stage: Literal["tuned", "interpolated", "base"] = "tuned",
    part: Part = "both",
    pretrained: str | None = None,
) -> None:
    """Write a model so that it is used without pcclip, with a model card. Weights are safetensors in fp32.

    Args:
        run: runs/EXPERIMENT/VERSION, a model's folder, an open_clip tag, or hf-hub:ORG/NAME.
        to: open_clip: for `open_clip.create_model_and_transforms('local-dir:FOLDER')`. transformers: for
            `CLIPModel`, `CLIPProcessor` and `CLIPTokenizer`. hub-folder: both, where transformers can
            compute the model, to be uploaded to the Hugging Face hub as it is.
        out: Folder to write, which must not exist; RUN/exported/TO if it is not given.
        stage: Which weights of a run.
        part: both towers, or the text tower alone, as transformers' `CLIPTextModelWithProjection`.
        pretrained: Of a tag: open_clip's pretrained tag, or a checkpoint file.

    Raises:
        PcclipError: There is no such model, the format cannot hold it, or the folder exists.
    """
    if part == "text" and to == "open_clip":
        raise PcclipError(
            "open_clip has no text towers by themselves: leave out --part text, or --to transformers"
        )
    subject = find_subject(run, pretrained, stage)
    folder = Path(out).expanduser() if out else subject.default_folder(to, part)
    refuse_export(folder)  # before anything takes long

    from pcclip.model.towers import load_towers

    towers = load_towers(subject.named.name, subject.named.pretrained)
    write_export(towers, subject, folder, to, part)
    print(f"{folder}: {subject.title}")
    for file in sorted(folder.iterdir()):
        print(f"  {file.name} {file.stat().st_size:,} bytes")


def write_export(towers: Towers, subject: Subject, folder: Path, to: To, part: Part) -> None:
    """Writes the files of a format and the model card.

    Args:
        towers: The loaded weights.
        subject: What they are.
        folder: Must not exist; appears whole or not at all.
        to: The format.
        part: Both towers, or the text tower alone.

    Raises:
        PcclipError: As `export`.
    """
    from pcclip.export.card import licence_note, model_card

    meta = _meta(towers, subject)
    with whole_export(folder) as partial:
        refused = _write(towers, partial, meta, to, part)
        (partial / "README.md").write_text(
            model_card(towers, subject, meta, to, part, folder.name, refused), encoding="utf-8"
        )
        (partial / "LICENSE").write_text(licence_note(subject, meta), encoding="utf-8")


def _write(towers: Towers, partial: Path, meta: Mapping[str, Any], to: To, part: Part) -> str | None:
    """Writes the weights; says why there are none for transformers, where only those for open_clip fit."""
    from pcclip.model.errors import ModelError

    if part == "text":
        write_text(towers, partial)
    elif to == "transformers":
        write_transformers(towers, partial)
    else:
        write_open_clip(towers, partial, meta)
        if to == "hub-folder":
            try:
                write_tokenizer(towers, partial)
                write_transformers(towers, partial)
            except ModelError as error:
                return str(error)
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
