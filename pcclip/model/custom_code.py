"""Models that bring code of their own: refused, wherever they come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pcclip.model.errors import ModelError
from pcclip.untrusted import parse_json

_REMEDY = "code of a model is never run here; convert the model on a machine where that is no harm"
_ASKS = ("trust_remote_code", "auto_map", "custom_pipelines")
_FILES = ("config.json", "tokenizer_config.json", "processor_config.json", "preprocessor_config.json")


def refuse_code(config: Any, place: object) -> None:
    """Refuses a model's configuration that asks for code of the model's own.

    open_clip hands `text_cfg.tokenizer_kwargs` on to transformers, `trust_remote_code` included.

    Raises:
        ModelError: It does.
    """
    waiting = [config]
    while waiting:
        at = waiting.pop()
        if isinstance(at, dict):
            if asked := [key for key in _ASKS if at.get(key)]:
                raise ModelError(f"{place}: has {asked[0]!r}, which runs code that came with it; {_REMEDY}")
            waiting += at.values()
        elif isinstance(at, list):
            waiting += at


def refuse_code_in(folder: Path) -> None:
    """The same for all of transformers' configurations in a folder.

    Raises:
        ModelError: One asks for code, or cannot be read.
    """
    for name in _FILES:
        if (folder / name).is_file():
            try:
                refuse_code(parse_json((folder / name).read_bytes()), folder / name)
            except ValueError as error:
                raise ModelError(f"{folder / name}: is no JSON ({error}); save the model again") from error


def refuse_code_of(text_config: dict[str, Any], cache_dir: str | None) -> None:
    """Refuses a text tower of transformers that needs code of its own; open_clip would ask the user.

    Raises:
        ModelError: It does.
    """
    if name := text_config.get("hf_model_name"):
        from transformers import AutoConfig

        try:
            AutoConfig.from_pretrained(name, cache_dir=cache_dir, trust_remote_code=False)
        except ValueError as error:
            raise ModelError(
                f"'{name}': cannot be read without code of its own ({error}); {_REMEDY}"
            ) from error
        except OSError:
            return  # not to be reached, or no such model: open_clip says so
