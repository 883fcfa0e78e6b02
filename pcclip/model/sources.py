"""Where towers come from: tags, hubs, folders and checkpoint files, checked before open_clip is asked."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
from open_clip.factory import parse_model_name
from open_clip.pretrained import download_pretrained_from_hf

from pcclip.model.custom_code import refuse_code, refuse_code_in
from pcclip.model.errors import ModelError
from pcclip.untrusted import parse_json
from pcclip.whence import whence

CONFIG = "open_clip_config.json"
TRANSFORMERS_CONFIG = "config.json"
WEIGHTS = "open_clip_model.safetensors"
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")

open_clip.add_model_config(Path(__file__).parent / "configs")


@dataclass(frozen=True)
class Source:
    """What to ask open_clip for.

    Attributes:
        name: as open_clip reads it.
        model_config: open_clip's `model_cfg`.
        pretrained: pretrained tag or file path; None for hubs and folders.
        weights: checkpoint file if it is known to be a local one.
        preprocess: preprocessing that a config beside a checkpoint file asks for.
        transformers: folder of a `CLIPModel` that is to be converted; `model_config` is empty then.
    """

    name: str
    model_config: dict[str, Any]
    pretrained: str | None = None
    weights: Path | None = None
    preprocess: dict[str, Any] | None = None
    transformers: Path | None = None

    @property
    def label(self) -> str:
        """The last part of the name: what follows `hf-hub:`, or the folder without those above it."""
        schema, identifier = parse_model_name(self.name)
        return Path(identifier).name if schema == "local-dir" else identifier


def find_source(name: str, pretrained: str | None, random_init: bool, cache_dir: str | None) -> Source:
    """Check a model name and its weights.

    Args:
        name: open_clip tag, `hf-hub:ORG/NAME`, `local-dir:FOLDER` or one of pcclip's configs. Hubs and
            folders may hold open_clip's files, or those of transformers' CLIPModel.
        pretrained: open_clip's pretrained tag, or the path of a checkpoint file; None for hubs and folders.
        random_init: no weights are wanted.
        cache_dir: where downloads go; None for the hub's default.

    Raises:
        ModelError: nothing is there by this name; says what is near.
    """
    schema, identifier = parse_model_name(name)
    if schema is not None and (pretrained or random_init):
        option = f"pretrained={pretrained!r}" if pretrained else "random_init=True"
        raise ModelError(
            f"'{name}' brings its own weights: leave {option} out, or give an architecture's name"
        )
    if schema == "local-dir":
        return _folder(Path(identifier).expanduser())
    if schema == "hf-hub":
        return _hub(name, identifier, cache_dir)
    return _tag(name, pretrained, random_init)


def _folder(folder: Path) -> Source:
    if not folder.is_dir():
        remedy = whence(folder) or f" Give one that holds {CONFIG} and {WEIGHTS}."
        raise ModelError(f"local-dir:{folder}: no such folder.{remedy}")
    refuse_code_in(folder)
    if not (folder / CONFIG).is_file() and (folder / TRANSFORMERS_CONFIG).is_file():
        return _transformers(f"local-dir:{folder}", folder)
    config = read_config(folder / CONFIG)
    files = sorted(f for f in folder.iterdir() if f.suffix in (".safetensors", ".bin", ".pth"))
    if not files:
        raise ModelError(
            f"local-dir:{folder}: has {CONFIG} but no weights ({WEIGHTS}); save or copy it again"
        )
    # With several files open_clip has an order of its own, this name being the first.
    chosen = folder / WEIGHTS if folder / WEIGHTS in files else files[0] if len(files) == 1 else None
    return Source(f"local-dir:{folder}", config["model_cfg"], weights=chosen)


def _hub(name: str, identifier: str, cache_dir: str | None) -> Source:
    try:
        path = download_pretrained_from_hf(identifier, filename=CONFIG, cache_dir=cache_dir)
    except Exception as error:  # the hub client raises many kinds
        if folder := _hub_transformers(identifier, cache_dir):
            return _transformers(name, folder)
        raise ModelError(
            f"'{name}': cannot read {CONFIG} from the hub ({error}); check the name and the network, or "
            "download the repository elsewhere and give it as local-dir:FOLDER"
        ) from error
    return Source(name, read_config(Path(path))["model_cfg"])


def _hub_transformers(identifier: str, cache_dir: str | None) -> Path | None:
    """Download a repository in transformers' layout; None if it has no config.json, or cannot be reached."""
    from huggingface_hub import hf_hub_download, snapshot_download

    try:
        hf_hub_download(identifier, TRANSFORMERS_CONFIG, cache_dir=cache_dir)
        small = ["*.json", "merges.txt"]
        for weights in ("model*.safetensors", "pytorch_model*.bin"):
            folder = Path(
                snapshot_download(identifier, cache_dir=cache_dir, allow_patterns=[*small, weights])
            )
            if any(folder.glob(weights)):
                break
    except Exception:  # the hub client raises many kinds; what the caller tried first is the error to show
        return None
    return folder


def _transformers(name: str, folder: Path) -> Source:
    path = folder / TRANSFORMERS_CONFIG
    refuse_code_in(folder)
    try:
        kind = parse_json(path.read_bytes())["model_type"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path}: says no model_type ({error!r}), so it is no model of transformers; an open_clip folder "
            f"holds {CONFIG}"
        ) from error
    if kind != "clip":
        raise ModelError(
            f"{path}: model_type is '{kind}'; of transformers' models only whole CLIPs ('clip') can be "
            f"loaded. Give a folder with {CONFIG}, or a CLIPModel's"
        )
    return Source(name, {}, transformers=folder)


def _tag(name: str, pretrained: str | None, random_init: bool) -> Source:
    config = open_clip.get_model_config(name.replace("/", "-"))
    if config is None:
        if (folder := Path(name).expanduser()).is_dir():
            inside = folder / "model"
            named = inside if (inside / CONFIG).is_file() else name
            raise ModelError(f"'{name}' is a folder: give it as local-dir:{named}")
        near = difflib.get_close_matches(name, open_clip.list_models(), n=5, cutoff=0.4)
        hint = f"near names: {', '.join(near)}" if near else "open_clip.list_models() lists them"
        raise ModelError(f"no architecture is called '{name}'; {hint}")
    if pretrained is None:
        if not random_init:
            raise ModelError(
                f"'{name}' is an architecture without weights: set pretrained to a tag "
                f"({_tags(name)}) or to a checkpoint file, or random_init=True to start from random weights"
            )
        return Source(name, config)
    if random_init:
        raise ModelError(f"pretrained={pretrained!r} and random_init=True contradict each other: drop one")
    tag = open_clip.get_pretrained_cfg(name, pretrained)
    if tag:
        if bool(tag.get("quick_gelu")) != bool(config.get("quick_gelu")):
            raise ModelError(_activation_mismatch(name, pretrained, bool(tag.get("quick_gelu"))))
        return Source(name, config, pretrained)
    path = Path(pretrained).expanduser()
    if path.is_file():
        return _file(name, config, path)
    if path.suffix in WEIGHT_SUFFIXES or path.is_absolute():
        raise ModelError(f"pretrained='{pretrained}': no such checkpoint file")
    near = difflib.get_close_matches(
        pretrained, open_clip.list_pretrained_tags_by_model(name), n=3, cutoff=0.3
    )
    hint = f"near: {', '.join(near)}; all: {_tags(name)}" if near else f"there are: {_tags(name)}"
    raise ModelError(f"'{name}' has no pretrained weights called '{pretrained}', nor is it a file; {hint}")


def _file(name: str, config: dict[str, Any], path: Path) -> Source:
    if path.suffix not in WEIGHT_SUFFIXES:
        raise ModelError(f"{path}: weights are read from {', '.join(WEIGHT_SUFFIXES)} files only")
    preprocess = None
    if (path.parent / CONFIG).is_file():
        beside = read_config(path.parent / CONFIG)
        if differing := differences(beside["model_cfg"], config):
            raise ModelError(
                f"{path} is not a '{name}': {CONFIG} beside it differs in {'; '.join(differing)} "
                f"(file, then '{name}'). Load it as local-dir:{path.parent}"
            )
        preprocess = beside.get("preprocess_cfg")
    return Source(name, config, str(path), path, preprocess)


def _activation_mismatch(name: str, pretrained: str, quick: bool) -> str:
    other = f"{name}-quickgelu" if quick else name.removesuffix("-quickgelu")
    activations = ("QuickGELU", "GELU") if quick else ("GELU", "QuickGELU")
    return (
        f"the weights '{pretrained}' were trained with {activations[0]} but '{name}' computes "
        f"{activations[1]}: use '{other}'"
    )


def _tags(name: str) -> str:
    return ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none is published"


def read_config(path: Path) -> dict[str, Any]:
    """Read `open_clip_config.json`: `model_cfg` and, maybe, `preprocess_cfg`.

    Raises:
        ModelError: the file is missing, no JSON, or has no model in it.
    """
    try:
        config = parse_json(path.read_bytes())
        complete = {"embed_dim", "vision_cfg", "text_cfg"} <= config["model_cfg"].keys()
    except FileNotFoundError:
        inside = path.parent / "model"
        ask = f". Is local-dir:{inside} meant?" if (inside / CONFIG).is_file() else ""
        raise ModelError(
            f"{path}: no such file; an open_clip folder holds {CONFIG} and {WEIGHTS}{ask}"
        ) from None
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(
            f"{path}: not an open_clip config ({error!r}); it needs the key model_cfg"
        ) from error
    refuse_code(config, path)
    if not complete:
        raise ModelError(f"{path}: model_cfg needs the keys embed_dim, vision_cfg and text_cfg")
    return config


def differences(first: Any, second: Any, prefix: str = "") -> list[str]:
    """Where two nested configs differ, as `key: a != b`, absent keys counting as None, False as absent."""
    if isinstance(first, dict) and isinstance(second, dict):
        found = []
        for key in sorted(first.keys() | second.keys()):
            found += differences(first.get(key), second.get(key), f"{prefix}{key}.")
        return found
    a, b = ((list(v) if isinstance(v, tuple) else v) for v in (first, second))
    if a == b or (not a and not b):
        return []
    return [f"{prefix.removesuffix('.')}: {a} != {b}"]
