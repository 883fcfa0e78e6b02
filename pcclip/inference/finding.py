"""Which weights are meant: a run, a folder, a tag, a hub's name. Nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pcclip.checksums import check_seal
from pcclip.errors import PcclipError
from pcclip.evaluation.encoding.named import Named
from pcclip.evaluation.finished import finished_runs
from pcclip.untrusted import parse_json

Stage = Literal["base", "tuned", "interpolated"]
STAGES: dict[Stage, str] = {"tuned": "model", "interpolated": "interpolated"}
"""The folder of a run that holds the weights of a stage."""

_CONFIG, _META, _LOCAL = "open_clip_config.json", "pcclip.json", "local-dir:"
_TRANSFORMERS = "config.json"


@dataclass(frozen=True)
class Found:
    """Weights that were found.

    Attributes:
        named: How they are loaded.
        title: For people.
        finetuned: Whether the folder says that they continue from other weights, which its `base` names.
    """

    named: Named
    title: str
    finetuned: bool


def find(model: str | Path, pretrained: str | None = None, stage: Stage = "tuned") -> Found:
    """Finds the weights; `pcclip.inference.model.load` says what may be named.

    Raises:
        PcclipError: There is no such folder, the run has not finished or does not have the stage, or a stage
            is asked of something that has none.
    """
    if stage not in ("base", *STAGES):
        raise PcclipError(f"stage={stage!r}: there are base, tuned and interpolated")
    text = str(model)
    folder = Path(text.removeprefix(_LOCAL)).expanduser()
    if folder.is_dir():
        if pretrained is not None:
            raise PcclipError(
                f"{folder}: brings its own weights: leave pretrained={pretrained!r} out, or give an "
                "architecture's name"
            )
        holds_model = any((folder / config).is_file() for config in (_CONFIG, _TRANSFORMERS))
        return _model_folder(folder, stage) if holds_model else _run(folder, stage)
    if folder.is_file():
        raise PcclipError(
            f"{folder}: is a file. Name the folder that it lies in, or its run (runs/EXPERIMENT/VERSION)."
        )
    if text.startswith(_LOCAL) or (isinstance(model, Path) or text.startswith(("/", "./", "../", "~"))):
        raise PcclipError(
            f"{folder}: there is no such folder. Name a run (runs/EXPERIMENT/VERSION), a folder that holds "
            f"{_CONFIG}, or an open_clip tag with 'pretrained'."
        )
    if pretrained is None and not text.startswith("hf-hub:"):
        raise PcclipError(
            f"{text!r}: there is no such folder, and a tag needs 'pretrained' (as ViT-L-14 with "
            "datacomp_xl_s13b_b90k). A model of a hub is named hf-hub:ORG/NAME."
        )
    if stage != "tuned":
        raise PcclipError(f"{text!r}: only runs and the folders that they made have a stage {stage!r}")
    if pretrained is not None and Path(pretrained).expanduser().is_file():
        pretrained = str(Path(pretrained).expanduser().absolute())
    named = Named(text, pretrained)
    return Found(named, " ".join(filter(None, (text, pretrained))), finetuned=False)


def _model_folder(folder: Path, stage: Stage) -> Found:
    meta = _meta(folder)
    if stage == "interpolated":
        raise PcclipError(f"{folder}: is a model's folder; name its run to choose {stage!r}")
    if stage == "base":
        if meta is None:
            raise PcclipError(f"{folder}: does not say what it was finetuned from (no {_META})")
        return _base(folder, meta.get("base"), _title(folder))
    return Found(_local(folder), _title(folder), _continues(meta))


def _run(folder: Path, stage: Stage) -> Found:
    if (folder / "config.yaml").is_file() and not (folder / "summary.json").is_file():
        raise PcclipError(f"{folder}: this run has not finished. `pcclip resume {folder}` goes on with it.")
    if not (folder / "summary.json").is_file() and not any(folder.glob("*/config.yaml")):
        raise PcclipError(
            f"{folder}: is neither a run (no config.yaml) nor a model that open_clip loads (no {_CONFIG})."
        )
    runs = finished_runs([folder])
    if len(runs) > 1:
        raise PcclipError(
            f"{folder}: holds {len(runs)} finished runs. Name one: "
            + ", ".join(str(run.folder) for run in runs)
        )
    (run,) = runs
    title = _title(run.folder)
    if stage == "base":
        return _base(run.folder, run.summary["base_model"]["base"], title)
    weights = run.folder / STAGES[stage]
    if not (weights / _CONFIG).is_file():
        raise PcclipError(f"{weights}: this run has no {stage} weights ({_CONFIG} is not there).")
    return Found(_local(weights), f"{title} {stage}", _continues(_meta(weights)))


def _base(folder: Path, base: Mapping[str, Any] | None, title: str) -> Found:
    if not base or base["random_init"]:
        raise PcclipError(f"{folder}: was trained from random weights, which are not kept; it has no base.")
    name, pretrained = base["name"], base["pretrained"]
    if name.startswith(_LOCAL):
        return Found(_local(_from(folder, name.removeprefix(_LOCAL))), f"{title} base", finetuned=False)
    if pretrained is not None and Path(pretrained).suffix:
        pretrained = str(_from(folder, pretrained).absolute())
    return Found(Named(name, pretrained), f"{title} base", finetuned=False)


def _local(folder: Path) -> Named:
    # Absolute: weights are loaded when they are needed, wherever the process has gone by then.
    return Named(f"{_LOCAL}{folder.absolute()}")


def _from(folder: Path, path: str) -> Path:
    """A path that a run names: as it stands, or as seen from a folder above the run."""
    given = Path(path).expanduser()
    places = [given, *(above / given for above in folder.resolve().parents)]
    return next((place for place in places if place.exists()), given)


def _title(folder: Path) -> str:
    return "/".join(folder.resolve().parts[-2:])


def _meta(folder: Path) -> Mapping[str, Any] | None:

    try:
        meta = parse_json((folder / _META).read_bytes())
        check_seal(meta)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise PcclipError(f"{folder / _META}: damaged ({error}); save or copy the model again") from error
    return meta if isinstance(meta, dict) else None


def _continues(meta: Mapping[str, Any] | None) -> bool:
    base = (meta or {}).get("base") or {"random_init": True}
    return not base["random_init"]
