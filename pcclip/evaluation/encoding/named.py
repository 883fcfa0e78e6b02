"""How a configuration names a model. Imports nothing heavy: the model itself may not be needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_LOCAL = "local-dir:"


@dataclass
class Named:
    """A model to evaluate.

    Attributes:
        name: open_clip tag, `hf-hub:ORG/NAME`, `local-dir:FOLDER` or one of pcclip's small configs.
        pretrained: open_clip's pretrained tag or a checkpoint file; null for folders and hubs.
        label: what its results are called; from the name if null.
    """

    name: str
    pretrained: str | None = None
    label: str | None = None

    def title(self) -> str:
        """The label, fit for a folder's name."""
        return self.label or "-".join(filter(None, (self.name, self.pretrained))).replace("/", "-")

    def files(self) -> list[Path]:
        """The files that decide its embeddings; none where that is for open_clip or a hub to say."""
        if self.name.startswith(_LOCAL):
            folder = Path(self.name.removeprefix(_LOCAL)).expanduser()
            return sorted(file for file in folder.rglob("*") if file.is_file())
        file = Path(self.pretrained or "").expanduser()
        return [file] if file.is_absolute() and file.is_file() else []
