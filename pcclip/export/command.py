"""`pcclip export`: a model for open_clip, for transformers, or as a folder to upload to the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pcclip.data.progress import progress_bar
from pcclip.errors import PcclipError
from pcclip.export.files import refuse_export
from pcclip.export.subject import find_subject
from pcclip.export.writing import Part, To, steps, write_export


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

    with progress_bar(transient=True) as bar:
        task = bar.add_task(f"exporting {subject.title}", total=1 + steps(to, part))
        towers = load_towers(subject.named.name, subject.named.pretrained)
        bar.advance(task)
        write_export(towers, subject, folder, to, part, lambda: bar.advance(task))
    print(f"{folder}: {subject.title}")
    for file in sorted(folder.iterdir()):
        print(f"  {file.name} {file.stat().st_size:,} bytes")
