"""`pcclip.json` in the folders of models that pcclip saved: what they are, and whether they still are it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pcclip.checksums import check_seal
from pcclip.model.errors import ModelError
from pcclip.untrusted import parse_json

META = "pcclip.json"


def read_meta(folder: Path | str) -> dict[str, Any]:
    """What `pcclip.json` in a saved folder says.

    Raises:
        ModelError: there is none, or it cannot be read.
    """
    path = Path(folder) / META
    try:
        meta = parse_json(path.read_text())
        check_seal(meta)
        if meta["schema"] != 1:
            raise ModelError(f"{path}: schema {meta['schema']} is unknown here (1 is known): update pcclip")
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file; only folders that pcclip saved have one") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: damaged ({error!r}); save the model again") from error
    return meta


def check_as_saved(folder: Path, image_fingerprint: str, text_fingerprint: str) -> None:
    """Compares a loaded folder with the fingerprints that were noted when it was saved.

    Args:
        folder: Of the model; of one that pcclip did not save nothing is known.
        image_fingerprint: Of the image tower as loaded.
        text_fingerprint: Of the text tower as loaded.

    Raises:
        ModelError: The weights or the preprocessing are not those that were saved.
    """
    if not (folder / META).is_file():
        return
    noted = read_meta(folder).get("fingerprints", {})
    for tower, found in (("image", image_fingerprint), ("text", text_fingerprint)):
        if noted.get(tower, found) != found:
            raise ModelError(
                f"{folder}: damaged: weights or preprocessing of its {tower} tower are not those that were "
                f"saved. Copy or make it again; if it was changed on purpose, delete {META} there"
            )
