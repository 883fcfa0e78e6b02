"""What is exported: weights, the run that they come from, and their names fit for strangers' eyes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcclip.errors import PcclipError
from pcclip.evaluation.encoding.named import Named
from pcclip.evaluation.finished import Finished, finished_runs
from pcclip.inference.finding import Stage, find
from pcclip.untrusted import parse_yaml

_LOCAL = "local-dir:"


@dataclass(frozen=True)
class Subject:
    """What is exported.

    Attributes:
        named: How the weights are loaded.
        title: For people.
        stage: Which weights of a run; `tuned` for a model that no run has made.
        run: The run; None for other models.
        settings: The run's config.yaml; empty for other models.
    """

    named: Named
    title: str
    stage: Stage
    run: Finished | None
    settings: Mapping[str, Any]

    def default_folder(self, to: str, part: str) -> Path:
        """Where it goes if nobody says: into the run.

        Raises:
            PcclipError: It comes from no run.
        """
        if self.run is None:
            raise PcclipError(
                f"{self.title}: is no run that could hold the export; say where by --out FOLDER"
            )
        words = [to, *([] if self.stage == "tuned" else [self.stage]), *([] if part == "both" else [part])]
        return self.run.folder / "exported" / "-".join(words)


def find_subject(model: str, pretrained: str | None, stage: Stage) -> Subject:
    """Finds what is to be exported.

    Args:
        model: Run folder, model folder (open_clip's or transformers'), tag, or hf-hub:ORG/NAME.
        pretrained: Of a tag.
        stage: Which weights of a run.

    Raises:
        PcclipError: There is none of this name, the run has not finished, or lacks the stage.
    """
    found = find(model, pretrained, stage)
    folder = Path(model.removeprefix(_LOCAL)).expanduser()
    if not folder.is_dir() or not ((folder / "summary.json").is_file() or any(folder.glob("*/summary.json"))):
        return Subject(found.named, found.title, stage, None, {})
    (run,) = finished_runs([folder])
    file = run.folder / "config.yaml"
    try:
        settings = parse_yaml(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PcclipError(f"{file}: the run's settings cannot be read ({error}); restore the file") from error
    return Subject(found.named, found.title, stage, run, settings)


def public_name(name: str) -> str:
    """A model's name without the folders of who made it: of a local folder the last three parts."""
    if not name.startswith(_LOCAL):
        return name
    return _LOCAL + "/".join(Path(name.removeprefix(_LOCAL)).parts[-3:])


def public_base(base: Mapping[str, Any]) -> dict[str, Any]:
    """`BaseWeights` as a dict, with public names."""
    pretrained = base["pretrained"]
    if pretrained is not None and Path(pretrained).suffix:
        pretrained = Path(pretrained).name
    return {**base, "name": public_name(base["name"]), "pretrained": pretrained}
