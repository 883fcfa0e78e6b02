"""Files of the formats, and the folder that they are written into."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pcclip.errors import PcclipError, writing
from pcclip.folders import whole_folder

if TYPE_CHECKING:
    from pcclip.model.towers import Towers


@contextmanager
def whole_export(folder: Path) -> Iterator[Path]:
    """A folder to write into, which gets its name when all is there, and goes if something fails.

    Raises:
        PcclipError: The name is taken, or cannot be made.
    """
    refuse_export(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PcclipError(
            f"{folder.parent}: cannot be made ({error.strerror}); name another --out"
        ) from error
    with writing(folder), whole_folder(folder) as partial:
        yield partial


def refuse_export(folder: Path) -> None:
    """Refuses a name that is taken.

    Raises:
        PcclipError: It is.
    """
    if folder.exists() or folder.is_symlink():
        raise PcclipError(
            f"{folder}: exists already, and nothing is overwritten; name another by --out FOLDER"
        )


def write_open_clip(towers: Towers, folder: Path, meta: Mapping[str, Any]) -> None:
    """open_clip's files, and `pcclip.json`, into a folder that exists.

    Args:
        towers: What is exported.
        folder: Empty.
        meta: What `pcclip.json` says of base weights and training.
    """
    from pcclip.model.checkpoint import write_files

    write_files(towers, folder, dict(meta))


def write_tokenizer(towers: Towers, folder: Path) -> None:
    """The tokenizer's files for transformers, into a folder that exists.

    Raises:
        ModelError: transformers has no such tokenizer.
    """
    from pcclip.model.conversion.tokenizers import save_tokenizer

    save_tokenizer(towers, folder)


def write_transformers(towers: Towers, folder: Path) -> None:
    """A `CLIPModel` with processor and tokenizer, into a folder that exists.

    Raises:
        ModelError: transformers does not compute such towers; nothing is written then.
    """
    from pcclip.model.conversion import to_transformers
    from pcclip.model.conversion.preprocessing import image_processor

    model, processor = to_transformers(towers), image_processor(towers.preprocess_config())
    write_tokenizer(towers, folder)
    processor.save_pretrained(str(folder))
    _save(model, folder)


def write_text(towers: Towers, folder: Path) -> None:
    """A `CLIPTextModelWithProjection` with its tokenizer, into a folder that exists.

    Raises:
        ModelError: transformers does not compute such a text tower; nothing is written then.
    """
    from pcclip.model.conversion import text_model

    model = text_model(towers)
    write_tokenizer(towers, folder)
    _save(model, folder)


def _save(model: Any, folder: Path) -> None:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # one for each file, of a moment
    try:
        model.save_pretrained(str(folder))
    finally:
        if shown:
            logging.enable_progress_bar()
